"""The verbs around training, through the command, on drawn faces in class folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import main
from mien.engine.checkpoint import load_facts
from mien.engine.journal import read_log


@pytest.fixture(scope="session")
def own_folder(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray) -> Path:
    """Two classes of one portrait: bright above, or bright below; 12 pictures each."""
    root = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for label in ("happy", "sad"):
        (root / label).mkdir()
        for number in range(12):
            picture = portrait.astype(float) + random.normal(0, 8, portrait.shape)
            half = slice(0, 128) if label == "happy" else slice(128, 256)
            picture[half] *= 0.5
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / label / f"{number:02}.png")
    return root


@pytest.mark.slow
def test_a_folder_is_trained_exported_analysed_and_measured(
    own_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], portrait_file: Path
) -> None:
    run, model = tmp_path / "run", tmp_path / "model.onnx"
    settings = ["--set", "epochs=2", "--set", "batch_size=8", "--set", "size_px=32", "--quiet"]
    assert main(["train", str(own_folder), "--out", str(run), *settings]) == 0
    assert len(read_log(run)) == 2
    assert main(["export", str(run), "--out", str(model), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["bytes"] == model.stat().st_size
    assert main(["analyze", str(portrait_file), "--model", str(model), "--json", "--quiet"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["expression"] in ("happy", "sad")
    assert row["p_happy"] + row["p_sad"] == pytest.approx(1, abs=1e-4) and row["p_neutral"] is None
    report = tmp_path / "report"
    assert main(["evaluate", str(model), str(own_folder), "--out", str(report), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["split"] == "test" and 0 <= figures["all"]["accuracy"] <= 1
    assert {path.name for path in report.iterdir()} == {"report.json", "report.md", "report.png"}


@pytest.mark.slow
def test_photographs_are_told_from_cut_outs(
    tmp_path: Path, portrait: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a photograph the largest face counts, and without one it teaches nothing; a cut-out is taken as it is."""
    random = np.random.default_rng(0)
    for label in ("happy", "sad"):
        (tmp_path / "own" / label).mkdir(parents=True)
        for number in range(12):
            picture = np.full((600, 900, 3), 90, np.uint8)
            if number % 4:
                picture[300:556, 20:276] = (portrait + random.normal(0, 4, portrait.shape)).clip(0, 255)
            Image.fromarray(picture).save(tmp_path / "own" / label / f"{number:02}.png")
    settings = ["--set", "epochs=1", "--set", "steps=1", "--set", "batch_size=8", "--set", "size_px=32"]
    command = ["train", str(tmp_path / "own"), *settings, "--out"]
    assert main([*command, str(tmp_path / "photos"), "--photos"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"left out\. First: \w+/\d\d\.png: no face found", said) and "say --photos" not in said
    assert main([*command, str(tmp_path / "crops")]) == 0
    assert re.search(
        r"no face found in \d+ of \d+ pictures, .* Of photographs, say --photos", capsys.readouterr().out
    )
    for framing, name in (("photo", "photos"), ("crop", "crops")):
        assert load_facts(tmp_path / name / "last")["framing"] == framing
    assert main([*command, str(tmp_path / "crops"), "--photos"]) == 2
    assert "whose framing is 'crop', got 'photo'" in capsys.readouterr().err


def test_a_registered_name_is_not_read_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as the run's folder of a first `mien train NAME --data ROOT --out NAME`."""
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["train", "fer2013_vgg_ferplus", "--out", "fer2013_vgg_ferplus"],
        ["evaluate", "expression", "rafdb_basic"],
    ):
        (tmp_path / arguments[-1]).mkdir()
        assert main([*arguments, "--data", "nowhere"]) == 2
        assert "looked for nowhere" in capsys.readouterr().err
        assert main(arguments) == 2
        assert f"A folder of your own of that name is ./{arguments[-1]}." in capsys.readouterr().err


def test_options_that_a_folder_cannot_take_are_refused(
    own_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in (
        ["train", str(own_folder), "--out", str(tmp_path / "x")],
        ["evaluate", "expression", str(own_folder)],
    ):
        for name, value in (("--data", "elsewhere"), ("--fold", "2")):
            assert main([*verb, name, value]) == 2
            assert f"expected no {name} for {own_folder}" in capsys.readouterr().err
    for inside in (own_folder, own_folder / "run"):
        assert main(["train", str(own_folder), "--out", str(inside)]) == 2
        assert "expected a folder for the run outside of the pictures" in capsys.readouterr().err
    assert {path.name for path in own_folder.iterdir()} == {"happy", "sad"}
    (tmp_path / "labels.csv").write_text("path,label\n")  # beside a table a run is no class
    assert main(["train", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "outside of the pictures" not in capsys.readouterr().err
    assert main(["train", str(own_folder), "--out", str(tmp_path / "x"), "--points", "points.npz"]) == 2
    assert "expected no points for 'folder'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["train", "export"])
def test_ctrl_c_says_what_the_same_command_does(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"mien.cli.training._{verb}", stop)
    assert main([verb, "x", "--out", "y"]) == 130
    said = capsys.readouterr().err
    assert ("to go on" if verb == "train" else "to start over") in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["train", "fer2013_vgg_ferplus", "--data", "x", "--out", "y", "--own-classes"],
            "expected no --own-classes",
        ),
        (["train", "fer2013_vgg_ferplus", "--data", "x", "--out", "y", "--photos"], "expected no --photos"),
        (["train", "gimefive_rafd", "--out", "x"], "which is neither. Did you mean gimefive_rafdb"),
        (
            ["train", "photos", "--out", "x"],
            "a folder or table of your own, got 'photos', which is neither. `mien recipes`",
        ),
        (["evaluate", "expression", "ferplus_majority_8"], "expected --data ROOT"),
        (["train", "folder", "--out", "x"], "Say `mien train FOLDER --out x`"),
        (["train", "folder", "--data", "faces", "--out", "x"], "Say `mien train faces --out x`"),
        (
            ["evaluate", "expression", "ferplus_majority"],
            "Did you mean ferplus_majority_8 or ferplus_majority_7",
        ),
        (["export", "nothing", "--out", "x.onnx"], "expected a run with a finished epoch"),
        (["export", "nothing", "--out", "models"], "expected a file that ends in .onnx, got models"),
        (["methods", "mobile_expresion"], "Did you mean 'mobile_expression'"),
        (["datasets", "verify"], "expected `mien datasets verify NAME ROOT`"),
        (["datasets", "verify", "ferplus", "nowhere"], "looked for"),
        (["evaluate", "expression", "ferplus_majority_8", "--data", "nowhere"], "looked for"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert text in capsys.readouterr().err


def test_lists_are_for_people_and_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, key in (("methods", "method"), ("recipes", "recipe"), ("datasets", "dataset")):
        assert main([verb]) == 0
        table = capsys.readouterr().out.splitlines()
        assert main([verb, *(["list"] if verb == "datasets" else []), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert len(table) == len(rows) + 1
        assert [line.split()[0] for line in table[1:]] == [row[key] for row in rows]


def test_one_method_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "mobile_expression"]) == 0
    assert "parameters" in capsys.readouterr().out
    assert main(["datasets", "list", "ferplus"]) == 0
    said = capsys.readouterr().out
    assert "apply_at" in said and "layout" in said and "rafdb" not in said


def test_an_unknown_class_folder_is_said(
    own_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "wrong"
    (root / "grumpy").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(root / "grumpy" / "a.png")
    assert main(["train", str(root), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "grumpy" in said and "own" in said
