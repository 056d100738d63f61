"""Audits: tables and columns, groups with worked numbers, and whole ones on shipped and drawn pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.datasets.dataset import DATASETS
from mien.errors import DataError, DataNotFoundError, LabelError, OptionError, UnknownNameError
from mien.evaluate import audit_plots
from mien.evaluate.audit import LEAST, audit, by_group, says_so
from mien.evaluate.audit_data import Groups, groups_of, of_protocol, of_table
from mien.evaluate.audit_report import to_html, to_markdown, write_audit
from mien.evaluate.model import measure
from mien.evaluate.parts import Answers
from mien.labels.expressions import EXPRESSIONS
from mien.transforms.corruptions import CORRUPTIONS


def table(folder: Path, text: str) -> Path:
    path = folder / "pictures.csv"
    path.write_text(text)
    return path


# --- columns and groups


def test_a_table_with_synonyms_people_and_columns(tmp_path: Path) -> None:
    text = "path,label,subject,sex\na.png,Happiness,p1,f\nb.png,sad,,m\nc.png,sad,p1,\n"
    data = of_table(table(tmp_path, text), EXPRESSIONS)
    assert [EXPRESSIONS[truth] for truth in data.truth] == ["happy", "sad", "sad"]
    assert data.subjects is not None and data.subjects[0] == data.subjects[2] != data.subjects[1]
    assert data.columns == {"sex": ["f", "m", ""], "pictures_of_subject": ["2 to 5", "", "2 to 5"]}
    assert (
        data.framing == "crop"
        and of_table(tmp_path / "pictures.csv", EXPRESSIONS, photos=True).framing == "photo"
    )


def test_tables_that_cannot_be_used(tmp_path: Path) -> None:
    for text, error, said in (
        ("path,sex\na.png,f\n", DataError, "expected the columns path, label"),
        ("path,label\na.png,happy\na.png,sad\n", DataError, "got 'a.png' more than once"),
        ("path,label\na.png,bored\n", LabelError, r"expected labels of the network .* got 'bored'"),
        ("path,label\na.png,\n", LabelError, "got ''"),
        ("path,label\n", DataError, "expected rows in"),
    ):
        with pytest.raises(error, match=said):
            of_table(table(tmp_path, text), EXPRESSIONS)
    with pytest.raises(OptionError, match="expected --subject among path, label"):
        of_table(table(tmp_path, "path,label\na.png,sad\n"), EXPRESSIONS, subject="who")
    with pytest.raises(DataNotFoundError, match="expected a table at"):
        of_table(tmp_path / "none.csv", EXPRESSIONS)
    with pytest.raises(LabelError, match="got 'contempt'"):
        of_table(table(tmp_path, "path,label\na.png,contempt\n"), EXPRESSIONS[:7])


def test_groups_of_texts_numbers_and_spans() -> None:
    groups = groups_of(["m", "f", "", "m"])
    assert [(name, rows.tolist()) for name, rows in groups] == [
        ("f", [1]),
        ("m", [0, 3]),
    ] and groups.missing == 1
    assert [name for name, _ in groups_of(["20-29", "3-9", "100-109", "20-29"])] == [
        "3-9",
        "20-29",
        "100-109",
    ]
    ages = groups_of([str(age) for age in range(20, 60)])
    assert [(name, len(rows)) for name, rows in ages] == [
        ("20 to 29", 10), ("30 to 39", 10), ("40 to 49", 10), ("50 to 59", 10),
    ]  # fmt: skip
    assert [name for name, _ in groups_of(["3", "20", "3"])] == ["3", "20"]  # few numbers are names
    for values, said in (
        (["a", "a"], "one group"),
        (["", ""], "no value"),
        ([f"n{n}" for n in range(51)], "51 groups"),
    ):
        with pytest.raises(OptionError, match=said):
            groups_of(values)


def test_groups_with_worked_numbers() -> None:
    """40 of 50 right, 30 of 60 right, and three pictures that are too few."""
    right = np.repeat([True, False, True, False, True], [40, 10, 30, 30, 3])
    answers = Answers(
        np.where(right[:, None], [[0.9, 0.1]], [[0.4, 0.6]]), np.zeros(113, int), np.ones(113, bool), np.ones(113, bool), 0.75,
    )  # fmt: skip
    groups = Groups([("a", np.arange(50)), ("b", np.arange(50, 110)), ("c", np.arange(110, 113))])
    found = by_group(groups, answers, np.arange(113))
    a, b, c = found["groups"]
    assert (a["accuracy"], b["accuracy"], c["accuracy"]) == (0.8, 0.5, 1.0)
    assert (a["uncertain"], a["certain_accuracy"], a["flagged_of_wrong"]) == (0.2, 1.0, 1.0)
    assert a["ece_15"] == pytest.approx(0.8 * 0.1 + 0.2 * 0.6)
    assert (a["too_small"], c["too_small"]) == (False, True) and LEAST == 30
    assert (a["gap"], b["gap"], c["gap"]) == (0.0, 0.3, None)
    error = np.sqrt(0.8 * 0.2 / 50 + 0.5 * 0.5 / 60)
    assert b["gap_95"] == pytest.approx([0.3 - 1.96 * error, 0.3 + 1.96 * error], abs=0.02)
    largest = found["largest_gap"]
    assert (largest["better"], largest["worse"], largest["gap"], largest["excludes_zero"]) == (
        "a",
        "b",
        0.3,
        True,
    )


def test_a_group_of_one_person_is_too_small_however_many_pictures_there_are() -> None:
    right = np.arange(120) % 4 > 0
    there = np.ones(120, bool)
    answers = Answers(
        np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]]), np.zeros(120, int), there, there, 0.5
    )
    people = ["one"] * 40 + [f"p{row}" for row in range(80)]
    groups = Groups([("a", np.arange(40)), ("b", np.arange(40, 80)), ("c", np.arange(80, 120))])
    found = by_group(groups, answers, np.arange(120), people)
    assert [group["too_small"] for group in found["groups"]] == [True, False, False]
    assert {found["largest_gap"]["better"], found["largest_gap"]["worse"]} == {"b", "c"}


def test_pictures_that_could_not_be_read_are_in_no_group() -> None:
    answers = Answers(np.array([[0.9, 0.1]] * 2), np.zeros(2, int), np.ones(2, bool), np.ones(2, bool), 0.5)
    groups = Groups([("a", np.array([0, 1])), ("b", np.array([2])), ("c", np.array([3]))])
    found = by_group(groups, answers, np.array([0, 3]))
    assert [(group["name"], group["samples"]) for group in found["groups"]] == [("a", 1), ("c", 1)]
    assert found["largest_gap"] is None


def test_whether_a_network_says_that_it_is_unsure() -> None:
    clean = {"samples": 100, "certain": 0.6, "certain_accuracy": 0.95}
    for certain, right, told in ((0.3, 0.91, True), (0.3, 0.89, False), (0.29, 0.2, None), (0.0, None, None)):
        assert says_so({"samples": 100, "certain": certain, "certain_accuracy": right}, clean) is told
    assert says_so(clean, {**clean, "certain": 0.1}) is None


# --- whole audits


@pytest.fixture(scope="module")
def muxspace_drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("muxspace")
    DATASETS["muxspace"].look_alike(root, per_class=2)
    return root


def test_the_whole_is_what_evaluate_measures(muxspace_drawn: Path) -> None:
    data = of_protocol("muxspace_5", muxspace_drawn, check=False)
    found = audit("expression", data, sample=0, threads=1)
    wanted = measure("expression", "muxspace_5", muxspace_drawn, check=False).figures["all"]
    assert {name: found.whole[name] for name in ("samples", "accuracy", "uar", "ece_15")} == {
        name: wanted[name] for name in ("samples", "accuracy", "uar", "ece_15")
    }
    assert found.corruptions == [] and found.facts["people"] == len(data.ids)
    assert found.left_out == {"pictures_of_subject": "one group ('1') and nothing to compare it with"}


def test_more_columns_of_a_data_set(muxspace_drawn: Path, tmp_path: Path) -> None:
    with (muxspace_drawn / "labels.csv").open() as stored:
        names = [row["file"] for row in csv.DictReader(stored)]
    more = tmp_path / "more.csv"
    more.write_text(
        "file,label,side\n" + "".join(f"{name},sad,{index % 2}\n" for index, name in enumerate(names[:-1]))
    )
    data = of_protocol("muxspace_5", muxspace_drawn, more=more, check=False)
    assert set(data.columns) == {"side", "pictures_of_subject"}
    more.write_text("file,side\nx.png,1\n")
    with pytest.raises(DataError, match="expected the data set's names of pictures"):
        of_protocol("muxspace_5", muxspace_drawn, more=more, check=False)


@pytest.fixture
def faces_table(tmp_path: Path, portrait, hopper) -> Path:
    """Two people, cut out several times with some shift, one picture that is none and one that is missing."""
    lines = []
    for index in range(6):
        for name, image in (("a", portrait), ("b", np.asarray(Image.fromarray(hopper).resize((256, 300))))):
            picture = Image.fromarray(np.roll(image, index, axis=1))
            picture.save(tmp_path / f"{name}{index}.png")
            lines.append(
                f"{name}{index}.png,{'happy' if name == 'a' else 'neutral'},{name},x | <y> & $z${index % 2}"
            )
    (tmp_path / "none.png").write_bytes(b"x")
    lines += ["none.png,sad,c,x", "gone.png,sad,c,x"]
    return table(tmp_path, "path,label,subject,odd\n" + "\n".join(lines) + "\n")


def test_a_whole_audit_and_its_report(faces_table: Path, tmp_path: Path) -> None:
    data = of_table(faces_table, EXPRESSIONS, photos=True)
    found = audit("expression", data, sample=1, seed=5, threads=1)
    assert found.facts["pictures"] == 12 and len(found.failures) == 2 and "gone.png" in found.failures[1]
    assert [(line["name"], line["severity"]) for line in found.corruptions] == [
        ("none", 0), *((name, severity) for name in CORRUPTIONS for severity in (1, 2, 3)),
    ]  # fmt: skip
    assert all(line["samples"] == found.facts["corrupted_pictures"] for line in found.corruptions)
    clean, dark = found.corruptions[0], next(line for line in found.corruptions if line["level"] == 6)
    assert (
        clean["not_found"] == 0
        and dark["unreliable"] == 1
        and dark["certain"] == 0
        and dark["says_so"] is None
    )
    assert all(group["too_small"] for group in found.groups["odd"]["groups"])

    folder = tmp_path / "report"
    write_audit(found, folder)
    assert json.loads((folder / "audit.json").read_text())["whole"] == found.whole
    page, text = (folder / "audit.html").read_text(), (folder / "audit.md").read_text()
    assert "x | &lt;y&gt; &amp; $z$0" in page and "<y>" not in page and "<script" not in page
    assert "x \\| <y> & $z$0" in text and "fewer than two groups that are large enough" in text
    assert "Does the network say that it is unsure when it is wrong?" in text
    assert all(line["says_so"] is None for line in found.corruptions[1:])
    assert "too few to tell" in text and "stay as right as that" not in text
    for name in ("groups.png", "corruptions.png"):
        assert (folder / name).stat().st_size > 10_000
    assert not list(folder.glob("*.part"))
    again = audit("expression", data, sample=1, seed=5, threads=1)
    assert again.corruptions == found.corruptions


def test_axes_of_shares_end_at_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure()
    monkeypatch.setattr(audit_plots, "drawn", lambda height, draw: draw(figure))
    shares = {"accuracy": 1.0, "uncertain": 0.0, "ece_15": 0.4}
    ends = {"accuracy_95": (0.1, 1.0), "uncertain_95": (0.0, 0.9), "ece_15_95": (0.3, 0.5)}
    group = {"name": "a", "samples": 5, "too_small": False, **shares, **ends}
    audit_plots.draw_groups({"sex": {"groups": [group]}}, shares)
    limits = [axes.get_xlim() for axes in figure.axes]
    assert all(-0.02 <= low < high <= 1.02 for low, high in limits)
    assert limits[2][0] > 0.2 and limits[2][1] < 0.6  # where values are, not always the whole


def test_columns_that_were_asked_for(faces_table: Path) -> None:
    data = of_table(faces_table, EXPRESSIONS)
    with pytest.raises(UnknownNameError, match="Did you mean 'odd'"):
        audit("expression", data, by=["od"])
    path = faces_table.with_name("one.csv")
    path.write_text("path,label,where\na0.png,happy,here\n")
    with pytest.raises(
        OptionError, match=r"two to fifty groups in the column 'where', got one group \('here'\)"
    ):
        audit("expression", of_table(path, EXPRESSIONS), by=["where"])


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    data = of_table(table(tmp_path, "path,label\ngone.png,sad\n"), EXPRESSIONS)
    with pytest.raises(DataError, match="expected pictures, got none that can be read: expected a picture"):
        audit("expression", data, threads=1)


def test_no_groups_and_no_corruptions_make_a_report_too(faces_table: Path) -> None:
    found = audit("expression", of_table(faces_table, EXPRESSIONS, photos=True), by=[], sample=0, threads=1)
    assert "## Corruptions" not in to_markdown(found) and "<h2>Groups" not in to_html(found, {})


def test_protocols_that_are_no_faces_with_a_class(tmp_path: Path) -> None:
    DATASETS["ckplus48"].look_alike(tmp_path)
    with pytest.raises(OptionError, match="expected a protocol of faces with one class each"):
        of_protocol("ckplus48_au", tmp_path, check=False)
