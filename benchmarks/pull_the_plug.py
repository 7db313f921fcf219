"""Kill training again and again, resume, and compare with a run that nobody disturbed; fill the disk, too.

    python benchmarks/pull_the_plug.py --kills 50 --full-disk

Prints one JSON object; exit code 0 if every disturbed run ended with the same bits. A kill is SIGKILL at a
random moment: while preparing, within a step, an evaluation, or a checkpoint. After each kill, what is called
``last.safetensors`` must be whole. The disk is a small tmpfs, which needs root.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

MEASURED = ("out", "seconds", "images_s", "eta_s")
"""Keys of events that differ from run to run by their nature."""


def child(table: dict[str, Any], out: str, resume: bool, threads: int) -> None:
    """Train in a process of its own; exit code 3 if the disk is full."""
    import torch

    from segmentarium.engine.recipe import Recipe
    from segmentarium.engine.train import train
    from segmentarium.errors import CannotWrite

    torch.set_num_threads(threads)
    try:
        for _ in train(Recipe.from_dict(table), out=out, resume=resume, check_first=False):
            pass
    except CannotWrite as error:
        sys.exit(3 if "no space left" in str(error) else f"{error}")


class Trial:
    """Runs of one recipe in processes that share the cost of importing."""

    def __init__(self, folder: Path, *, steps: int, threads: int, seed: int) -> None:
        self.folder, self.threads = folder, threads
        self.random = random.Random(seed)
        self.context: ForkServerContext = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["segmentarium.engine.train"])
        self.table = {
            "model": "unet-tiny",
            "data": str(draw_data(folder / "shapes", self.context)),
            "seed": seed,
            "train": {
                "steps": steps,
                "batch": 4,
                "crop": [48, 48],
                "ema": 0.9,
                "deterministic": True,
                "checkpoint_every": 5,
                "evaluate_every": 10,
            },
        }

    def start(self, out: Path, *, resume: bool = True) -> BaseProcess:
        process = self.context.Process(target=child, args=(self.table, str(out), resume, self.threads))
        process.start()
        return process

    def undisturbed(self) -> Path:
        """A run without trouble."""
        out = self.folder / "undisturbed"
        process = self.start(out, resume=False)
        process.join()
        if process.exitcode:
            raise SystemExit(f"the undisturbed run failed with code {process.exitcode}")
        return out

    def disturbed(self, out: Path, *, kills: int) -> list[int]:
        """Kill and resume until the run is done; returns the step that was safe at each kill."""
        survived: list[int] = []
        while True:
            process = self.start(out)
            if len(survived) < kills:
                self.wait_for_a_bad_moment(process, out)
            else:
                process.join()
            if process.exitcode is not None:
                if process.exitcode:
                    raise SystemExit(f"a resumed run failed with code {process.exitcode}")
                return survived
            process.kill()
            process.join()
            survived.append(safe_step(out))

    def wait_for_a_bad_moment(self, process: BaseProcess, out: Path) -> None:
        """Wait for a random number of further events and a random part of a step, or only for the latter."""
        pause = self.random.expovariate(1 / 0.1)
        if self.random.random() > 0.15:
            log = out / "events.jsonl"
            process.join(1.0)  # a resumed run first cuts its log
            for _ in range(self.random.randint(0, 12)):
                before = log.stat().st_size if log.exists() else 0
                while process.exitcode is None and (log.stat().st_size if log.exists() else 0) == before:
                    process.join(0.005)
        process.join(pause)


def draw_data(folder: Path, context: ForkServerContext) -> Path:
    """A small data set, drawn in another process: a fork server must not inherit threads."""
    code = f"import segmentarium.data as d; d.write_data_set({str(folder)!r}, train=8, val=3, size=(64, 64))"
    subprocess.run([sys.executable, "-c", code], check=True)
    return folder


def safe_step(out: Path) -> int:
    """The step of the published weights; raises unless the file is whole. 0 if there is none yet."""
    last = out / "weights" / "last.safetensors"
    if not last.exists():
        return 0
    content = last.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    if len(content) != 8 + length + end:
        raise SystemExit(f"{last} is not whole")
    return int(json.loads(header["__metadata__"]["segmentarium"])["step"])


def traces(out: Path) -> dict[str, str]:
    """Hashes of all that must be equal in two runs."""
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    events = json.dumps([{k: v for k, v in line.items() if k not in MEASURED} for line in lines]).encode()
    files = {
        name: (out / name).read_bytes()
        for name in ("weights/last.safetensors", "weights/best.safetensors", "results.csv")
    }
    return {
        name: hashlib.sha256(content).hexdigest() for name, content in {**files, "events": events}.items()
    }


def many_kills(trial: Trial, wanted: int, expected: dict[str, str]) -> dict[str, Any]:
    """Disturb runs until there were as many kills as wanted."""
    kills: list[int] = []
    different: list[str] = []
    runs = 0
    while len(kills) < wanted:
        out = trial.folder / f"disturbed-{runs}"
        kills += trial.disturbed(out, kills=wanted - len(kills))
        found = traces(out)
        different += [f"{out.name}: {name}" for name in expected if found[name] != expected[name]]
        runs += 1
    return {"kills": len(kills), "runs": runs, "safe_step_at_kills": kills, "different": different}


def full_disk(trial: Trial, expected: dict[str, str]) -> dict[str, Any]:
    """Train on a disk with room for two checkpoints and a half, then make room and go on."""
    disk = trial.folder / "disk"
    disk.mkdir()
    checkpoint = sum(p.stat().st_size for p in (trial.folder / "undisturbed" / "weights").glob("step-*5.*"))
    size = f"size={int(2.6 * checkpoint) // 1024}k"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        return {"skipped": mounted.stderr.strip()}
    try:
        process = trial.start(disk / "run", resume=False)
        process.join()
        stopped = {"exit": process.exitcode, "safe_step": safe_step(disk / "run")}
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        process = trial.start(disk / "run")
        process.join()
        same = process.exitcode == 0 and traces(disk / "run") == expected
        return {
            "said_full": stopped["exit"] == 3,
            "safe_step": stopped["safe_step"],
            "same_after_resume": same,
        }
    finally:
        subprocess.run(["umount", disk], check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plug-") as folder:
        trial = Trial(Path(folder), steps=asked.steps, threads=asked.threads, seed=asked.seed)
        expected = traces(trial.undisturbed())
        report = many_kills(trial, asked.kills, expected)
        if asked.full_disk:
            report["full_disk"] = full_disk(trial, expected)
    report["good"] = not report["different"] and report.get("full_disk", {}).get("same_after_resume", True)
    print(json.dumps(report))
    return 0 if report["good"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
