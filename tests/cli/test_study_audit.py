"""The verbs `study` and `audit`: exit codes, files, and what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import main
from mien.datasets.dataset import DATASETS
from mien.pipeline.analyzer import Analyzer
from mien.weights.store import load_weights


@pytest.fixture
def folder(tmp_path: Path, portrait: np.ndarray) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    for who in (1, 2):
        for condition in ("a", "b"):
            Image.fromarray(np.roll(portrait, who, axis=1)).save(folder / f"sub-{who}_cond-{condition}.png")
    return folder


def test_a_study(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "report"
    assert main(["study", str(folder), "--out", str(out), "--test", "--threads", "1"]) == 0
    assert {path.name for path in out.iterdir()} == {
        "frames.csv", "files.csv", "participants.csv", "conditions.csv", "differences.csv", "report.html",
        "expressions.png", "conditions.png", "others.png", "differences.png",
    }  # fmt: skip
    said = capsys.readouterr()
    assert "4 files" in said.out and "4 of 4: sub-2_cond-b.png: 1 frames" in said.err
    (folder / "holiday.jpg").write_bytes(b"x")
    (folder / "sub-3_cond-a.png").write_bytes(b"x")
    again = ["study", str(folder), "--out", str(out), "--parquet", "--quiet", "--threads", "1"]
    assert main(again) == 1
    said = capsys.readouterr()
    assert "holiday.jpg: its name does not say" in said.err and "sub-3_cond-a.png: failed" in said.err
    assert not said.out and (out / "frames.parquet").is_file()


def test_a_study_that_cannot_be(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    out = str(tmp_path / "report")
    for arguments, said in (
        ([tmp_path / "none"], "expected a folder with the files of a study"),
        ([folder, "--table", tmp_path / "none.csv"], "expected a table at"),
        ([folder, "--every", "0"], "expected --every over 0"),
        ([folder, "--baseline", "soon"], "expected a baseline 'auto'"),
        ([folder, "--model", "nobody"], "no shipped network 'nobody'"),
        ([folder, "--seed", "-1"], "expected --seed of at least 0"),
    ):
        assert main(["study", *map(str, arguments), "--out", out]) == 2
        assert said in capsys.readouterr().err
    assert not Path(out).exists()

    def stopped(self: Analyzer, *_: object, **__: object):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Analyzer, "stream", stopped)
    assert main(["study", str(folder), "--out", out, "--threads", "1"]) == 130
    assert [path.name for path in Path(out).iterdir()] == ["frames.csv"]


def test_a_study_of_nothing_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "sub-1_cond-a.png").write_bytes(b"x")
    assert main(["study", str(tmp_path), "--out", str(tmp_path / "r"), "--quiet", "--threads", "1"]) == 3


@pytest.fixture
def pictures(tmp_path: Path, portrait: np.ndarray) -> Path:
    lines = ["path,label,group"]
    for index in range(4):
        Image.fromarray(np.roll(portrait, index, axis=1)).save(tmp_path / f"{index}.png")
        lines.append(f"{index}.png,happy,{'uv'[index % 2]}")
    path = tmp_path / "pictures.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_audit(pictures: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "audit"
    command = ["audit", "expression", str(pictures), "--photos", "--sample", "1", "--threads", "1"]
    assert main([*command, "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    names = {"audit.json", "audit.md", "audit.html", "groups.png", "corruptions.png"}
    assert {path.name for path in out.iterdir()} == names
    assert main([*command[:-4], "--sample", "0", "--by", "group", "--json", "--threads", "1"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["corruptions"] == [] and [
        group["name"] for group in figures["groups"]["group"]["groups"]
    ] == ["u", "v"]
    with pictures.open("a") as stored:
        stored.write("gone.png,sad,u\n")
    assert main([*command[:-4], "--sample", "0", "--threads", "1"]) == 1
    said = capsys.readouterr()
    assert "# Audit of expression on pictures.csv" in said.out and "gone.png" in said.err


def test_an_audit_that_cannot_be(pictures: Path, tmp_path: Path, capsys) -> None:
    for arguments, said in (
        (["nobody", pictures], "no shipped network 'nobody'"),
        (["expression", tmp_path / "none.csv"], "expected a table at"),
        (["expression", "ferplus_majority_8"], "expected a table, or --data ROOT"),
        (["expression", "ferplus", "--data", tmp_path], "no protocol 'ferplus'"),
        (["expression", pictures, "--by", "grup"], "Did you mean 'group'"),
        (["expression", pictures, "--sample", "-1"], "expected --sample, --seed and --threads of at least 0"),
        (["expression", pictures, "--out", pictures], "expected a folder to write the report to"),
    ):
        assert main(["audit", *map(str, arguments)]) == 2
        assert said in capsys.readouterr().err


def test_an_audit_of_people_that_the_network_learned_from_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    DATASETS["ckplus48"].look_alike(tmp_path, 1)
    weights = replace(load_weights("expression"), scores={"protocol": "ckplus48_7", "fold": 3})
    monkeypatch.setattr("mien.weights.store.load_weights", lambda name: weights)
    assert main(["audit", "expression", "ckplus48_7", "--data", str(tmp_path), "--fold", "2"]) == 2
    assert "expected fold 3 of 'ckplus48_7'" in capsys.readouterr().err
