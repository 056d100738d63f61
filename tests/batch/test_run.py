"""Plan, work and merge in the test's own process: what is promised about bytes."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import mien
from mien.batch.place import Place
from mien.batch.plan import Options
from mien.batch.run import MOST_LOST_IN_A_ROW, batch, merge, work
from mien.batch.shard import LASTING, Done, Lost, _is_file
from mien.errors import BatchError, InputError, OptionError

pytest.importorskip("pyarrow", reason="mien batch needs pyarrow: pip install 'mien[batch]'")
fsspec = pytest.importorskip("fsspec", reason="mien batch needs fsspec: pip install 'mien[batch]'")

Run = Callable[..., mien.batch.run.Summary]


@pytest.fixture
def run(here, pictures: Path) -> Run:
    """A batch of the pictures, three a part; the engine's `asked` are the shards that it was given."""

    def run(out: object, manifest: object = pictures, **changed):
        engines = []

        def start(job):
            engines.append(here(job))
            return engines[-1]

        found = batch(str(manifest), str(out), **{"shard_size": 3, "retries": 0, "start": start, **changed})
        run.asked = engines[-1].asked if engines else []
        return found

    return run


def test_rows_are_those_of_analyze(run: Run, pictures: Path, tmp_path: Path) -> None:
    found = run(tmp_path / "out")
    assert (found.paths, found.parts, found.rows, found.faces, found.failed) == (7, 3, 7, 5, 1)
    merge(str(tmp_path / "out"), tmp_path / "all.csv", Options())
    mien.analyze(pictures, threads=1).save(tmp_path / "plain.csv")
    batched, plain = (
        list(csv.DictReader((tmp_path / name).open(newline=""))) for name in ("all.csv", "plain.csv")
    )
    assert [row["path"] for row in batched] == [Path(row["path"]).name for row in plain]
    for one, other in zip(batched, plain, strict=True):
        assert {**one, "path": ""} == {**other, "path": ""}
    assert "breaks off" in batched[-1]["error"]


def test_the_bytes_are_the_same_wherever_and_however_often(run: Run, files_of, tmp_path: Path) -> None:
    first, second = run(tmp_path / "one"), run(tmp_path / "two")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert first == second
    before = files_of(tmp_path / "one")
    again = run(tmp_path / "one")
    assert run.asked == [] and again == replace(first, taken_over=3)  # no engine was started
    assert files_of(tmp_path / "one") == before


def test_the_folder_reads_as_one_table_and_its_hash_by_hand(run: Run, tmp_path: Path) -> None:
    import pyarrow.parquet

    found = run(tmp_path / "out")
    table = pyarrow.parquet.read_table(tmp_path / "out")
    assert table.num_rows == 7 and table["path"].to_pylist()[-1] == "broken.png"
    said = subprocess.run(
        "sha256sum part-*.parquet | sha256sum",
        shell=True,
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
    )
    assert said.stdout.split()[0] == found.sha256
    facts = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert facts["sha256"] == found.sha256 and [part["rows"] for part in facts["parts"]] == [3, 3, 1]


def test_what_is_missing_half_or_damaged_is_done_again(run: Run, files_of, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out)
    whole = files_of(out)
    part, receipt = out / "part-00001.parquet", out / "_done" / "part-00001.json"
    for damage in (
        lambda: part.write_bytes(whole["part-00001.parquet"][:-40]),
        lambda: part.write_bytes(
            bytes([whole["part-00001.parquet"][0] ^ 1]) + whole["part-00001.parquet"][1:]
        ),
        part.unlink,
        receipt.unlink,
        lambda: receipt.write_bytes(b'{"name": "part-'),
        lambda: receipt.write_bytes((out / "_done" / "part-00000.json").read_bytes()),
        lambda: (out / "_done" / ".part-00001.json.abc.part").write_bytes(b"{"),
    ):
        damage()
        found = run(out)
        # a stray half-written file is swept away, and costs nothing
        assert (found.taken_over, run.asked) in ((2, [1]), (3, []))
        assert files_of(out) == whole


def test_a_killed_plan_is_made_again(run: Run, files_of, tmp_path: Path) -> None:
    run(tmp_path / "whole")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_paths.parquet").write_bytes(b"PAR1 half")
    run(tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_another_batch_is_refused(run: Run, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    run(out)
    for changed, said in (
        ({"shard_size": 4}, "expected shard_size 3 .* got 4"),
        ({"options": Options(min_face_px=40)}, "'min_face_px': 24.0.* got {'min_face_px': 40"),
        ({"manifest": pictures.parent}, "expected root"),
    ):
        with pytest.raises(BatchError, match=said):
            run(out, **changed)
    with monkeypatch.context() as patch:
        patch.setattr("mien.batch.plan.__version__", "9.9")
        with pytest.raises(BatchError, match=r"expected versions {'mien': '.*'} .* got {'mien': '9.9'}"):
            run(out)
    with monkeypatch.context() as patch:
        patch.setattr("mien.batch.plan.networks", lambda options: {"detector": "0", "expression": "1"})
        with pytest.raises(BatchError, match="expected networks"):
            run(out)
    (pictures / "a0.png").rename(pictures / "z.png")
    with pytest.raises(BatchError, match="expected manifest_sha256"):
        run(out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(BatchError, match="expected an empty folder"):
        run(tmp_path / "full")
    for wrong in (
        {"shard_size": 0},
        {"retries": -1},
        {"options": Options(min_face_px=1)},
        {"options": Options(every_s=0)},
    ):
        with pytest.raises(OptionError):
            run(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()  # no plan with a wrong option is left behind


def test_trouble_with_a_disk_loses_the_shard_and_not_the_picture(
    run: Run, here, files_of, tmp_path: Path
) -> None:
    class Trouble(here):
        """Of shard 1 the second picture cannot be read, twice."""

        left = 2

        def wait(self):
            real = self.worker._analyzer.stream
            if self.shard == 1 and Trouble.left:
                Trouble.left -= 1
                self.worker._analyzer.stream = lambda path, **_: iter(
                    [mien.Failure(str(path), "expected a readable file, got: Input/output error", "OSError")]
                )
            outcome = super().wait()
            self.worker._analyzer.stream = real
            return outcome

    whole = run(tmp_path / "whole")
    out = tmp_path / "out"
    found = run(out, start=Trouble, retries=0)
    assert [one.shard for one in found.lost] == [1] and found.sha256 is None and found.parts == 2
    assert "Input/output error" in found.lost[0].error
    noted = [json.loads(line) for line in (out / "_failures.jsonl").read_text().splitlines()]
    assert noted == [{"shard": 1, "part": "part-00001.parquet", "error": found.lost[0].error}]
    assert not (out / "_manifest.json").exists()
    with pytest.raises(BatchError, match="expected a finished batch"):
        merge(str(out), tmp_path / "all.csv", Options())
    again = run(out, start=Trouble, retries=1)  # lost once more, and then done
    assert not again.lost and again.taken_over == 2 and again.sha256 == whole.sha256
    assert files_of(out) == files_of(tmp_path / "whole")


def test_the_folder_of_the_pictures_is_gone(run: Run, here, pictures: Path, tmp_path: Path) -> None:
    class Moved(here):
        def wait(self):
            pictures.rename(tmp_path / "moved")
            return super().wait()

    listed = pictures / "list.txt"
    listed.write_text("a0.png\ngone.png\n")
    found = run(tmp_path / "out", listed)
    assert (found.failed, found.lost) == (1, ())  # one file that is not there is a row
    found = run(tmp_path / "two", listed, start=Moved)
    assert "Is its disk there?" in found.lost[0].error  # all of them are a lost shard


def test_a_worker_with_other_versions_stops_the_run(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mien.batch.shard.versions", lambda mesh: {"onnxruntime": "0.1"})
    with pytest.raises(BatchError, match=r"got one with {'onnxruntime': '0.1'}. Install the same everywhere"):
        run(tmp_path / "out")


def test_elsewhere_in_and_out(run: Run, pictures: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in pictures.iterdir():
        memory.pipe_file(f"/batch/in/{path.name}", path.read_bytes())
    local = run(tmp_path / "out")
    found = run("memory://batch/out", "memory://batch/in")
    assert found.sha256 == local.sha256  # named from their folder, wherever that lies
    assert run("memory://batch/out", "memory://batch/in").taken_over == 3
    memory.rm_file("/batch/out/part-00002.parquet")
    assert run("memory://batch/out", "memory://batch/in").sha256 == local.sha256
    (tmp_path / "list.txt").write_text(
        "memory://batch/in/a0.png\nmemory://batch/in/gone.png\nfoo://x/a.png\n"
    )
    run(tmp_path / "listed", tmp_path / "list.txt")
    merge(str(tmp_path / "listed"), tmp_path / "all.csv", Options())
    rows = list(csv.DictReader((tmp_path / "all.csv").open(newline="")))
    assert [row["path"] for row in rows] == (tmp_path / "list.txt").read_text().split()
    assert [bool(row["error"]) for row in rows] == [False, True, True]
    memory.rm("/batch", recursive=True)


def test_clips_have_rows_a_frame(run: Run, make_clip, moving, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    make_clip(tmp_path / "clips" / "a.mp4", moving(6))
    assert run(tmp_path / "all", tmp_path / "clips").rows == 6
    assert run(tmp_path / "some", tmp_path / "clips", options=Options(every_s=0.08)).rows == 3


def test_a_part_that_a_worker_wrote_elsewhere(run: Run, here, tmp_path: Path) -> None:
    def elsewhere(job):
        there = Place(str(tmp_path / "elsewhere"))
        there.write("_paths.parquet", Place(job.out).read("_paths.parquet"))
        return here(replace(job, out=there.url))

    with pytest.raises(BatchError, match="Do all workers write to the same disk"):
        run(tmp_path / "out", start=elsewhere)


class Told:
    """An engine whose outcomes are told: shard -> outcomes, one a try."""

    def __init__(self, outcomes, workers=2):
        self.outcomes, self.workers, self.busy, self.asked = outcomes, workers, [], []

    def submit(self, shard):
        self.busy.append(shard)
        self.asked.append(shard)
        assert len(self.busy) <= self.workers

    def wait(self):
        shard = self.busy.pop(0)
        return [(shard, self.outcomes[shard].pop(0))]


DONE = Done("part", "0", 1, 1, 1, 0)


def test_a_lost_shard_is_tried_again_after_the_others() -> None:
    engine = Told({0: [Lost(0, "died"), DONE], 1: [DONE], 2: [DONE], 3: [Lost(3, "died")] * 2})
    found = list(work(engine, range(4), retries=1))
    assert [shard for shard, _ in found] == [1, 2, 0, 3]
    assert found[-1][1] == Lost(3, "died")
    assert engine.asked == [0, 1, 2, 3, 0, 3]


def test_a_run_in_which_nothing_works_stops() -> None:
    with pytest.raises(BatchError, match="the disk is full"):
        list(work(Told({0: [Lost(0, "the disk is full", hopeless=True)], 1: [DONE]}), range(2), 2))
    engine = Told({shard: [Lost(shard, "no network")] for shard in range(100)})
    with pytest.raises(BatchError, match="no network"):
        list(work(engine, range(100), retries=0))
    assert len(engine.asked) < MOST_LOST_IN_A_ROW + 5


def test_what_lies_in_the_file_itself_is_a_row_whatever_its_kind() -> None:
    assert {kind.__name__ for kind in (InputError, *InputError.__subclasses__())} <= set(LASTING)


def test_a_name_that_is_too_long_is_not_there(tmp_path: Path) -> None:
    assert not _is_file(tmp_path / ("x" * 300))
