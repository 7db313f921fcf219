"""Parts of a loop on several threads: each once, errors told, small ones left alone."""

from __future__ import annotations

import threading
import time

import pytest

from segmentarium.ops import share as room
from segmentarium.ops.share import share


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_cores", lambda: 3)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("least", [1, 3, 40])
def test_each_is_done_once(count: int, least: int) -> None:
    parts: list[tuple[int, int]] = []
    share(lambda start, stop: parts.append((start, stop)), count, least=least)
    assert sorted(i for part in parts for i in range(*part)) == list(range(count))
    assert all(stop - start >= min(least, count) for start, stop in parts)


def test_threads_take_part_where_it_is_worth_it() -> None:
    seen: set[int] = set()

    def work(start: int, stop: int) -> None:
        seen.add(threading.get_ident())
        time.sleep(0.02)

    share(work, 30, least=16)
    assert seen == {threading.get_ident()}
    share(work, 30)
    assert len(seen) > 1


@pytest.mark.parametrize("bad", [0, 4, 8])
def test_an_error_of_any_part_comes_out(bad: int) -> None:
    running = []

    def work(start: int, stop: int) -> None:
        running.append(start)
        time.sleep(0.005)
        running.remove(start)
        if start == bad:
            raise IndexError(f"part {start}")

    with pytest.raises(IndexError, match=f"part {bad}"):
        share(work, 9)
    assert not running


def test_may_be_called_from_a_part() -> None:
    done: list[int] = []
    share(lambda start, stop: share(lambda a, b: done.extend(range(a, b)), 5), 9)
    assert sorted(done) == sorted([*range(5)] * 9)
