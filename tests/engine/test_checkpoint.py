from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mien.engine import checkpoint


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
