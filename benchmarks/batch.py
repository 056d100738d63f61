"""`mien batch`: undisturbed, killed half way and resumed, with a worker killed; and what its own steps cost.

    python benchmarks/batch.py FOLDER [--engines processes ray] [--workers 2] [--shard-size 100] [--quick]

FOLDER holds pictures (all below it are used). For `ray` a cluster must be running, see docs/batch.md. `mien` must be
importable by new processes too: installed, or with `src` in PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from machine import arguments, facts, save, table
from PIL import Image

import mien
from mien.batch.engines import OnRay, Processes
from mien.batch.place import Place
from mien.batch.plan import DONE, PATHS, Options, make_plan
from mien.batch.run import batch, merge, taken_over, write_manifest
from mien.batch.shard import Done
from mien.demo import PICTURES

MARKS = {"processes": (b"spawn_main", b"mien"), "ray": (b"ray::ShardWorker",)}
"""Engine -> what the command line of one of its workers holds, one of these."""
PLAN = (
    "import resource, sys, time; from mien.batch.place import Place; from mien.batch.plan import Options, make_plan;"
    "start = time.perf_counter(); make_plan(sys.argv[1], Place(sys.argv[2]), Options(), 1000);"
    "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
)


class Run:
    """One start of the command, in a process group of its own."""

    def __init__(self, words: list[str], out: Path) -> None:
        self.out, self.start = out, time.perf_counter()
        self.cpu_s = _children_s()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mien.cli", "batch", *words, "--out", str(out), "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def wait_for(self, parts: int) -> None:
        """Until so many parts are there."""
        while len(receipts(self.out)) < parts:
            if self.process.poll() is not None:
                raise SystemExit(f"expected to be in time to kill it, got: {self.process.communicate()}")
            time.sleep(0.02)

    def end(self) -> dict[str, Any]:
        """What it said, and seconds."""
        said, trouble = self.process.communicate()
        if self.process.returncode:
            raise SystemExit(f"expected exit code 0, got {self.process.returncode}: {trouble.decode()}")
        seconds = time.perf_counter() - self.start
        return {"seconds": seconds, "cpu_s": _children_s() - self.cpu_s, **json.loads(said)}

    def kill(self) -> float:
        """Kill -9, the whole group; returns the seconds until then."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return time.perf_counter() - self.start


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def receipts(out: Path) -> dict[str, int]:
    """Receipt -> time of its last change."""
    return {path.name: path.stat().st_mtime_ns for path in (out / DONE).glob("*.json")}


def workers_of(engine: str, driver: int) -> Iterator[int]:
    """Process ids of an engine's workers; of processes only the driver's own."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, fields = (folder / "cmdline").read_bytes(), (folder / "stat").read_text().rsplit(")", 1)[1]
        except OSError:
            continue
        own = engine != "processes" or int(fields.split()[1]) == driver
        if own and MARKS[engine][0] in line:
            yield int(folder.name)


def disturbed(engine: str, words: list[str], parts: int, folder: Path) -> list[dict[str, Any]]:
    """The three runs of one engine."""
    rows = []
    whole = Run(words, folder / f"{engine}_whole").end()
    rows.append({"engine": engine, "run": "undisturbed", **whole})

    out = folder / f"{engine}_killed"
    first = Run(words, out)
    first.wait_for(parts // 2)
    seconds = first.kill()
    before = receipts(out)
    second = Run(words, out).end()
    kept = _untouched(before, receipts(out))
    rows.append(
        {"engine": engine, "run": "killed and resumed", "until_killed_s": seconds, "kept": kept, **second}
    )

    out = folder / f"{engine}_worker"
    run = Run(words, out)
    run.wait_for(parts // 4)
    before, victims = receipts(out), sorted(workers_of(engine, run.process.pid))
    os.kill(victims[0], signal.SIGKILL)
    done = run.end()
    kept = _untouched(before, receipts(out))
    rows.append(
        {"engine": engine, "run": "a worker killed", "workers_seen": len(victims), "kept": kept, **done}
    )
    return rows


def _untouched(before: dict[str, int], after: dict[str, int]) -> str:
    """Of the parts that were there at the kill, how many were not written again."""
    return f"{sum(after[name] == changed for name, changed in before.items())} of {len(before)}"


def plans(counts: list[int], folder: Path) -> list[dict[str, Any]]:
    """Seconds and peak memory of planning lists of made-up paths, 1,000 a shard; reading one shard back."""
    import pyarrow.parquet

    rows = []
    for count in counts:
        listed, out = folder / f"{count}.txt", folder / f"plan_{count}"
        with listed.open("w") as stream:
            stream.writelines(f"photos/{index % 4096:04d}/{index:010d}.jpg\n" for index in range(count))
        done = subprocess.run(
            [sys.executable, "-c", PLAN, str(listed), str(out)], check=True, capture_output=True, text=True
        )
        seconds, peak = map(float, done.stdout.split())
        start = time.perf_counter()
        opened = pyarrow.parquet.ParquetFile(out / PATHS)
        opened.read_row_group(opened.num_row_groups - 1)
        first = time.perf_counter() - start
        sizes = {"list_mb": listed.stat().st_size / 1e6, "plan_mb": (out / PATHS).stat().st_size / 1e6}
        rows.append({"paths": count, "seconds": seconds, "peak_mib": peak, **sizes, "first_shard_s": first})
        listed.unlink()
    return rows


def resumes(parts: int, size: int, folder: Path) -> dict[str, Any]:
    """Seconds of checking so many finished parts and of writing the manifest of all."""
    import hashlib

    listed, place = folder / "parts.txt", Place(str(folder / "parts"))
    listed.write_text("".join(f"{index}.jpg\n" for index in range(parts)))
    plan = make_plan(str(listed), place, Options(), 1)
    content = os.urandom(size)
    for shard in range(parts):
        done = Done(plan.part(shard), hashlib.sha256(content).hexdigest(), size, 1, 1, 0)
        Path(place.path(done.name)).write_bytes(content)
        receipt = Path(place.path(plan.receipt(shard)))
        receipt.parent.mkdir(exist_ok=True)
        receipt.write_bytes(done.to_json())
    start = time.perf_counter()
    found = taken_over(place, plan)
    checked = time.perf_counter()
    write_manifest(place, plan, [found[shard] for shard in range(parts)])
    end = time.perf_counter()
    return {"parts": parts, "bytes_each": size, "check_s": checked - start, "manifest_s": end - checked}


def overhead(start: Callable[..., Any], shards: int, folder: Path) -> float:
    """Milliseconds a shard beyond the pictures, one worker: shards of one path that is not there."""
    marks: list[float] = []
    listed = folder / "none.txt"
    listed.write_text("".join(f"{index}.jpg\n" for index in range(shards)))
    batch(
        str(listed), tempfile.mkdtemp(dir=folder), shard_size=1, start=start,
        progress=lambda done, paths: marks.append(time.perf_counter()),
    )  # fmt: skip
    return (marks[-1] - marks[1]) / (len(marks) - 2) * 1000  # without the start of the worker


def costs(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """CPU milliseconds a picture of one thread, from the file to the rows."""
    analyzer = mien.Analyzer(threads=1)
    big = folder / "big.jpg"
    Image.open(PICTURES / "grace_hopper.jpg").resize((3413, 4000)).save(big, quality=90)
    rows = []
    for path in (PICTURES / "grace_hopper.jpg", big):
        list(analyzer.stream(path))
        start, count = time.process_time(), 0
        while time.process_time() - start < seconds:
            faces = sum(len(result.faces) for result in analyzer.stream(path))
            count += 1
        with Image.open(path) as picture:
            rows.append(
                {
                    "picture": "x".join(map(str, picture.size)),
                    "faces": faces,
                    "cpu_ms": (time.process_time() - start) / count * 1000,
                }
            )
    return rows


def main() -> None:
    """The command in the module's text."""
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engines", nargs="*", default=["processes"], choices=list(MARKS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=100)
    options = parser.parse_args()
    common = [str(options.folder), "--workers", str(options.workers), "--shard-size", str(options.shard_size)]
    starts = {"processes": partial(Processes, workers=1), "ray": partial(OnRay, workers=1)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for engine in options.engines:
            parts = -(-sum(1 for path in options.folder.rglob("*") if path.is_file()) // options.shard_size)
            rows += disturbed(engine, [*common, "--engine", engine], parts, folder)
            print(json.dumps(rows[-3:], indent=1), flush=True)
        if len({row["sha256"] for row in rows}) != 1:
            raise SystemExit("expected equal bytes from every run, got different ones")
        one = folder / "one.parquet"
        merge(str(folder / f"{options.engines[0]}_whole"), one, Options())
        stored = sum(path.stat().st_size for path in (folder / f"{options.engines[0]}_whole").glob("part-*"))
        figures = {
            "quick": options.quick,
            "workers": options.workers,
            "shard_size": options.shard_size,
            "runs": rows,
            "bytes_a_row": {
                "parts": stored / rows[0]["rows"],
                "one_file": one.stat().st_size / rows[0]["rows"],
            },
            "plans": plans([10_000] if options.quick else [1_000_000, 10_000_000], folder),
            "resume": resumes(100 if options.quick else 5_000, 80_000, folder),
            "overhead_ms": {
                name: overhead(starts[name], 20 if options.quick else 300, folder) for name in options.engines
            },
            "costs": costs(folder, 1.0 if options.quick else 10.0),
        }
    print(report(figures))
    print("written:", save(options.results, "batch", figures).name)


def report(figures: dict[str, Any]) -> str:
    """All figures as Markdown."""
    machine = facts()
    head = ("engine", "run", "until_killed_s", "seconds", "cpu_s", "taken_over", "kept", "sha256")
    parts = [
        "; ".join(f"{key}: {value}" for key, value in machine.items() if key != "networks_sha256"),
        "",
        table(head, [[row.get(key) for key in head] for row in figures["runs"]]),
    ]
    for name in ("plans", "costs"):
        keys = tuple(figures[name][0])
        parts.append(table(keys, [[row[key] for key in keys] for row in figures[name]]))
    return "\n".join(
        [*parts, *(f"{name}: {figures[name]}" for name in ("bytes_a_row", "resume", "overhead_ms"))]
    )


if __name__ == "__main__":
    main()
