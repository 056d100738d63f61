from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from mien.engine import checkpoint
from mien.engine.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_change_anywhere_in_the_package_shows_in_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = tmp_path / "mien" / "methods" / "one.py"
    for path in (method, tmp_path / "mien" / "engine" / "checkpoint.py"):
        path.parent.mkdir(parents=True)
        path.write_text("")
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "one")):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "mien" / "engine" / "checkpoint.py"))
    clean = checkpoint.code_version.__wrapped__()
    assert len(clean) == 12
    method.write_text("changed = True\n")
    assert checkpoint.code_version.__wrapped__() == f"{clean}+changes"
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path.parent / "a" / "b" / "checkpoint.py"))
    assert checkpoint.code_version.__wrapped__() == "release", "no such folder, no checkout"


def test_two_kills_between_the_renames_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(Exception):
        """Stands for the kill of a process."""

    def save(number: int) -> None:
        save_checkpoint(tmp_path / "last", {"weight": torch.full((2,), float(number))}, {"number": number})

    plain = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "last.tmp":
            raise KilledError
        return plain(self, target)

    save(1)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        for number in (2, 3):
            with pytest.raises(KilledError):
                save(number)
            assert has_checkpoint(tmp_path / "last")
            assert load_checkpoint(tmp_path / "last")[1]["number"] == 1
    save(4)
    assert load_checkpoint(tmp_path / "last")[1]["number"] == 4
    assert not (tmp_path / "last.old").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_foreign_repository_around_the_package_is_not_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "venv" / "mien" / "engine" / "checkpoint.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    (tmp_path / "thesis.txt").write_text("")
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for arguments in (("init", "-q"), ("add", "thesis.txt"), (*who, "commit", "-qm", "one")):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(checkpoint, "__file__", str(installed))
    assert checkpoint.code_version.__wrapped__() == "release"
