# `make check` is what the gate runs, in the same order.
.PHONY: check test lint format bench

check: test lint

test:
	python -m pytest -n auto --dist worksteal

lint:
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format:
	ruff check --fix .
	ruff format .

bench:
	python benchmarks/bench_argmax.py
	python benchmarks/bench_elastic.py
	python benchmarks/bench_throughput.py
	python benchmarks/bench_tiled.py --size 4096
