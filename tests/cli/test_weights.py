from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien.cli.main import main


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "home"))


def test_list_tells_what_is_there_and_verify_what_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", "--json"]) == 0
    states = {item["name"]: item["state"] for item in json.loads(capsys.readouterr().out)}
    fetched = dict.fromkeys(
        ("face_landmarker", "smollm2", "sface", "clip_words", "onnxruntime_web"), "missing"
    )
    assert states == {"yunet": "ok", "expression": "ok", **fetched}
    assert main(["weights", "verify"]) == 1
    assert "face_landmarker  fetched  missing  Apache-2.0" in capsys.readouterr().out
    assert main(["weights", "verify", "yunet"]) == 0


def test_bundle_writes_and_fetch_from_it_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = str(tmp_path / "all.zip")
    assert main(["weights", "bundle", packed]) == 0
    assert "2 files" in capsys.readouterr().out
    assert main(["weights", "fetch", "--from", packed]) == 2
    assert (
        "mien: expected clip_words, face_landmarker, onnxruntime_web, sface, smollm2 at"
        in capsys.readouterr().err
    )


def test_an_unknown_file_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "fetch", "face_landmark"]) == 2
    assert "Did you mean 'face_landmarker'" in capsys.readouterr().err
