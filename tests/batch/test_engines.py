"""Real workers, killed with -9: nothing that was finished is lost, and the bytes are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mien.batch.engines import OnRay, Processes
from mien.batch.run import batch
from mien.cli.main import main
from mien.errors import BatchError, MissingExtraError, OptionError

pytest.importorskip("pyarrow", reason="mien batch needs pyarrow: pip install 'mien[batch]'")
pytest.importorskip("fsspec", reason="mien batch needs fsspec: pip install 'mien[batch]'")


@pytest.fixture
def undisturbed(here, pictures: Path, tmp_path: Path) -> str:
    """Hash of what an undisturbed run in this process gives, one picture a part."""
    found = batch(str(pictures), str(tmp_path / "undisturbed"), shard_size=1, start=here)
    assert found.sha256 is not None
    return found.sha256


def test_a_worker_killed_in_a_shard_costs_that_shard(
    undisturbed: str, pictures: Path, tmp_path: Path
) -> None:
    killed = []

    class Dying(Processes):
        def submit(self, shard):
            super().submit(shard)
            if shard in (2, 4) and shard not in killed:
                killed.append(shard)
                process = next(process for process, own in self.busy.values() if own == shard)
                os.kill(process.pid, signal.SIGKILL)

        def wait(self):
            outcomes = super().wait()
            seen.extend(outcomes)
            return outcomes

    seen = []
    found = batch(str(pictures), str(tmp_path / "out"), shard_size=1, start=lambda job: Dying(job, 1))
    assert found.sha256 == undisturbed and not found.lost
    lost = [(shard, outcome.error) for shard, outcome in seen if not hasattr(outcome, "sha256")]
    assert lost == [(shard, "its worker died with exit code -9") for shard in (2, 4)]
    assert len(seen) == 7 + 2


def test_kill_all_in_the_middle_and_run_again(
    here, files_of, undisturbed: str, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "mien.cli", "batch", str(pictures), "--out", str(out), "--shard-size", "1"]
    process = subprocess.Popen([*words, "--workers", "1"], start_new_session=True)
    while len(list(out.glob("_done/*.json"))) < 2 and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = files_of(out)
    assert "_manifest.json" not in before
    times = {path: path.stat().st_mtime_ns for path in out.glob("_done/part-*.json")}
    engines = []

    def start(job):
        engines.append(here(job))
        return engines[-1]

    found = batch(str(pictures), str(out), shard_size=1, start=start)
    assert found.sha256 == undisturbed and found.taken_over == len(times) >= 2
    assert len(engines[0].asked) == 7 - len(times)  # nothing twice
    assert all(path.stat().st_mtime_ns == changed for path, changed in times.items())
    assert files_of(out) == files_of(tmp_path / "undisturbed")


def test_the_command(pictures: Path, tmp_path: Path, capsys) -> None:
    out, table = tmp_path / "out", tmp_path / "all.csv"
    words = ["batch", str(pictures), "--out", str(out), "--workers", "1", "--merge", str(table)]
    assert main(words) == 0
    assert "7 files, 1 of them failed; 5 faces, 7 rows in 1 parts (0 from before)" in capsys.readouterr().out
    assert len(table.read_text().splitlines()) == 8
    assert main([*words, "--min-face-px", "40"]) == 2
    assert "as in the plan that lies in" in capsys.readouterr().err
    assert main([*words[:-1], "all.txt"]) == 2
    assert "ends in .csv" in capsys.readouterr().err
    (tmp_path / "none.txt").write_text("a.jpg\nb.jpg\n")
    assert main(["batch", str(tmp_path / "none.txt"), "--out", str(tmp_path / "none"), "--quiet"]) == 3


def test_wrong_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got -1"):
        Processes(None, -1)  # type: ignore[arg-type]


def test_ray_is_an_extra_and_must_be_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"mien\[ray\]"):
        OnRay(None)  # type: ignore[arg-type]
    monkeypatch.undo()
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mien[ray]'")
    with pytest.raises(OptionError, match="got 'local'"):
        OnRay(None, address="local")  # type: ignore[arg-type]
    with pytest.raises(BatchError, match=r"expected a Ray cluster at '127\.0\.0\.1:1'"):
        OnRay(None, address="127.0.0.1:1")  # type: ignore[arg-type]


@pytest.mark.slow
def test_on_ray_with_a_worker_killed(undisturbed: str, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'mien[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=10**8, log_to_driver=False)
    killed = []

    class Dying(OnRay):
        def submit(self, shard):
            super().submit(shard)
            if shard == 3 and not killed:
                worker = next(worker for worker, own in self.busy.values() if own == shard)
                killed.append(worker)
                self.ray.kill(worker)

    try:
        found = batch(str(pictures), str(tmp_path / "out"), shard_size=1, start=lambda job: Dying(job, 2))
        assert killed and found.sha256 == undisturbed and not found.lost
    finally:
        ray.shutdown()
