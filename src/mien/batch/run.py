"""A batch from end to end: plan, take over what is done, do the rest, and say what stands."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from mien.batch.engines import Engine, Outcome, Processes
from mien.batch.place import Place
from mien.batch.plan import DONE, FAILURES, MANIFEST, Options, Plan, make_plan
from mien.batch.shard import Done, Job, Lost, analyzer_for
from mien.errors import BatchError, OptionError
from mien.pipeline.table import open_writer

READERS = 16
"""Threads that check parts: object stores answer late, but many at once."""
MOST_LOST_IN_A_ROW = 20
"""When more than so many shards fail at their first try, with none done between them, it is not they: the run stops."""

Progress = Callable[[int, int], None]
"""Called with the paths that are done and all there are: once at the start, and then after each shard."""


@dataclass(frozen=True)
class Summary:
    """What a run leaves.

    Attributes:
        paths: in the plan. parts: that are whole. taken_over: of these, by runs before.
        rows, faces, failed: in these parts; `failed` counts files with a row in `error`.
        lost: shards without a part; run again to try them.
        sha256: over the parts' hashes, see `total_sha256`; `None` while parts are missing.
    """

    paths: int
    parts: int
    taken_over: int
    rows: int
    faces: int
    failed: int
    lost: tuple[Lost, ...]
    sha256: str | None


def batch(
    manifest: str,
    out: str,
    options: Options | None = None,
    *,
    shard_size: int = 1000,
    retries: int = 2,
    start: Callable[[Job], Engine] = Processes,
    progress: Progress = lambda done, all_: None,
) -> Summary:
    """Analyse many files into a folder of Parquet parts; run it again after whatever stopped it.

    Args:
        manifest: see `mien.batch.manifest.Manifest`.
        out: the folder, or an address for fsspec; one run at a time.
        options: how each file is analysed.
        shard_size: files a part.
        retries: how often a lost shard is tried again before it is left for the next run.
        start: makes the workers.
        progress: called as it goes on.

    Raises:
        BatchError: the folder belongs to another batch, or no worker can work.
        OptionError, WeightsError, InputNotFoundError, DataError, MissingExtraError: something cannot be used.
    """
    if retries < 0:
        raise OptionError(f"expected 0 or more retries, got {retries}")
    options = (options or Options()).absolute()
    analyzer_for(options)  # what cannot be used is said before a plan is written
    place = Place(out)
    place.sweep()
    plan = make_plan(manifest, place, options, shard_size)
    done = taken_over(place, plan)
    before, left, lost = len(done), [shard for shard in range(plan.shards) if shard not in done], []
    files = sum(plan.count(shard) for shard in done)
    progress(files, plan.paths)
    place.remove(FAILURES)
    if left:
        engine = start(Job(plan, out if not place.local else place.folder, options))
        try:
            for shard, outcome in work(engine, left, retries):
                if isinstance(outcome, Done):
                    done[shard] = outcome
                    files += plan.count(shard)
                    progress(files, plan.paths)
                    continue
                lost.append(outcome)
                place.write(FAILURES, _failures(plan, lost))
        finally:
            engine.close()
    finished = [done[shard] for shard in sorted(done)]
    total = None if len(done) < plan.shards else write_manifest(place, plan, finished)
    rows, faces, failed = (
        sum(getattr(part, name) for part in finished) for name in ("rows", "faces", "failed")
    )
    return Summary(plan.paths, len(done), before, rows, faces, failed, tuple(lost), total)


def work(engine: Engine, shards: Sequence[int], retries: int) -> Iterator[Outcome]:
    """Each shard's part, as they are finished, or why it is given up. A lost one is tried again after all others.

    Raises:
        BatchError: no shard can be done.
    """
    waiting, attempts, running, in_a_row = deque(shards), Counter[int](), 0, 0
    while waiting or running:
        while waiting and running < engine.workers:
            engine.submit(waiting.popleft())
            running += 1
        for shard, outcome in engine.wait():
            running -= 1
            if isinstance(outcome, Done) or not attempts[shard]:
                in_a_row = 0 if isinstance(outcome, Done) else in_a_row + 1
            if isinstance(outcome, Lost) and (outcome.hopeless or in_a_row > MOST_LOST_IN_A_ROW):
                raise BatchError(f"stopped: shard {shard} was lost as all others would be. {outcome.error}")
            attempts[shard] += 1
            if isinstance(outcome, Done) or attempts[shard] > retries:
                yield shard, outcome
            else:
                waiting.append(shard)


def taken_over(place: Place, plan: Plan) -> dict[int, Done]:
    """Shard -> part, of those whose bytes are as their receipt says."""
    receipts = place.sizes(DONE)
    shards = [shard for shard in range(plan.shards) if f"{plan.name(shard)}.json" in receipts]
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda shard: (shard, _checked(place, plan, shard)), shards)
        return {shard: part for shard, part in found if part is not None}


def _checked(place: Place, plan: Plan, shard: int) -> Done | None:
    """A part with its receipt; `None` if one is missing, half-written or not of the other."""
    try:
        done = Done(**json.loads(place.read(plan.receipt(shard))))
        content = place.read(plan.part(shard))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return done if hashlib.sha256(content).hexdigest() == done.sha256 else None


def _failures(plan: Plan, lost: Sequence[Lost]) -> bytes:
    """A line a lost shard."""
    lines = [{"shard": one.shard, "part": plan.part(one.shard), "error": one.error} for one in lost]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def total_sha256(parts: Sequence[Done]) -> str:
    """What `sha256sum part-*.parquet | sha256sum` says."""
    return hashlib.sha256("".join(f"{part.sha256}  {part.name}\n" for part in parts).encode()).hexdigest()


def write_manifest(place: Place, plan: Plan, parts: Sequence[Done]) -> str:
    """Say in the folder that all parts are there, and what they are; returns their total hash.

    Raises:
        BatchError: a part is not there: some worker wrote elsewhere.
    """
    there = place.sizes()
    for part in parts:
        if there.get(part.name) != part.size:
            raise BatchError(
                f"expected {part.name} with {part.size} bytes in {place.url}, got {there.get(part.name, 'none')}. Do all "
                "workers write to the same disk?"
            )
    total = total_sha256(parts)
    facts = {
        "plan_sha256": hashlib.sha256(plan.to_json()).hexdigest(),
        "paths": plan.paths,
        **{name: sum(getattr(part, name) for part in parts) for name in ("rows", "faces", "failed", "size")},
        "sha256": total,
        "parts": [asdict(part) for part in parts],
    }
    place.write(MANIFEST, (json.dumps(facts, indent=1) + "\n").encode())
    return total


def merge(out: str, file: Path, options: Options) -> None:
    """All parts of a finished batch as one table, in their order; the ending chooses the format.

    Raises:
        OptionError: the ending is none of `mien analyze --out`.
        BatchError: the batch is not finished.
    """
    from pyarrow.parquet import ParquetFile

    place = Place(out)
    try:
        parts = json.loads(place.read(MANIFEST))["parts"]
    except FileNotFoundError:
        raise BatchError(
            f"expected a finished batch in {out}, got one without {MANIFEST}. Run it again."
        ) from None
    with open_writer(file, options.columns) as writer:
        for part in parts:
            with place.open(part["name"]) as stream:
                for rows in ParquetFile(stream).iter_batches(10_000):
                    writer.write(rows.to_pylist())
