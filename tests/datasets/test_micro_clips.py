from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.datasets.dataset import DATASETS
from mien.datasets.megc2019 import casme2_clips
from mien.datasets.micro_clips import MicroClips
from mien.datasets.protocol import ids_hash, load_protocol, people_of_split
from mien.datasets.sheets import read_sheet, write_sheet
from mien.errors import DataError, ProtocolError
from mien.labels.micro import MICRO_OF, micro_canonical

PROTOCOLS = ("smic_3", "casme2_5", "samm_5", "casme3_3", "casme3_6", "mmew_6", "megc2019_3", "htnet_micro_3")
CLIPS = ("smic", "casme2", "samm", "casme3", "mmew", "megc2019")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {name: tmp_path_factory.mktemp(name) for name in CLIPS}
    for name, root in roots.items():
        DATASETS[name].look_alike(root, per_class=1)
    return roots


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_epoch_is_chosen_on_the_person_who_is_left_out(name: str) -> None:
    protocol = load_protocol(name)
    people = [f"p{number:02d}" for number in range(protocol.folds)]
    tested = []
    for fold in range(protocol.folds):
        test, select, train = (
            people_of_split(protocol, people, split, fold)
            for split in (protocol.test, protocol.select, protocol.train)
        )
        assert len(test) == 1 and select and not test & (select | train) and not select & train
        tested += sorted(test)
    assert tested == people
    with pytest.raises(ProtocolError, match="choose the epoch on another split"):
        replace(protocol, select=protocol.test)


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_has_an_onset_and_an_apex_that_differ(name: str, roots: dict[str, Path]) -> None:
    data, root = DATASETS[name], roots[name]
    assert isinstance(data, MicroClips)
    rows = data.rows(root)
    assert len({row.subject for row in rows}) >= 3
    row = rows[0]
    onset, apex = data.pair(root, row)
    assert onset.parent == apex.parent == data.folder(root, row)
    assert onset.stem.endswith("1") and apex.stem.endswith("5")
    assert len(data.frames(root, row)) == 3


def test_seven_classes_fall_into_three_and_others_into_none(roots: dict[str, Path]) -> None:
    data = DATASETS["samm"]
    protocol = replace(load_protocol("smic_3"), name="samm_3", dataset="samm")
    told = {row.label: data.labelled(row, protocol) for row in data.rows(roots["samm"])}
    assert told.pop("others") is None
    assert {label: protocol.labels[found[0]] for label, found in told.items()} == {
        **dict.fromkeys(("angry", "contempt", "disgust", "fear", "sad"), "negative"),
        "happy": "positive",
        "surprise": "surprise",
    }


def test_the_published_counts_add_up() -> None:
    """SAMM without others is 92, 26 and 15: the composite's part; the CAS(ME)^3 list is 449, 54 and 184."""
    for name, wanted in (("samm", (92, 26, 15)), ("casme3", (449, 54, 184))):
        found: Counter[str] = Counter()
        for label, count in DATASETS[name].expected["all"].items():
            found[MICRO_OF.get(label, "none")] += count
        assert tuple(found[label] for label in ("negative", "positive", "surprise")) == wanted
    assert sum(DATASETS["mmew"].expected["all"].values()) == 300
    assert sum(DATASETS["casme2"].expected["all"].values()) == 247
    assert len(set(casme2_clips())) == 145 and len({person for person, _ in casme2_clips()}) == 24


def test_names_of_classes() -> None:
    assert [micro_canonical(one) for one in ("Happiness", "Other", "others", "Repression", "Anger")] == [
        "happy", "others", "others", "repression", "angry"
    ]  # fmt: skip


def test_the_composite_leaves_out_what_is_not_in_its_list(roots: dict[str, Path], tmp_path: Path) -> None:
    data = DATASETS["megc2019"]
    rows = data.rows(roots["megc2019"])
    assert [row.id for row in rows if row.id.startswith("casme2")] == [
        "casme2/sub01_EP02_01f", "casme2/sub02_EP02_04f", "casme2/sub03_EP09_03"
    ]  # fmt: skip
    assert list(dict.fromkeys(row.id.split("/")[0] for row in rows)) == [
        "casme2",
        "smic",
        "samm",
    ]
    data.look_alike(tmp_path)
    table = tmp_path / "casme2" / "CASME2-coding-20140508.xlsx"
    lines = read_sheet(table)
    write_sheet(table, [*lines, ["01", "EP99_99", "1", "5", "9", "", "disgust"]])
    assert len(data.rows(tmp_path)) == len(DATASETS["megc2019"].rows(tmp_path))
    assert not any("EP99" in row.id for row in data.rows(tmp_path))


def test_a_stroke_for_the_apex_is_not_told_and_the_middle_stands_for_it(tmp_path: Path) -> None:
    data = DATASETS["casme2"]
    assert isinstance(data, MicroClips)
    data.look_alike(tmp_path, per_class=1)
    table = tmp_path / "CASME2-coding-20140508.xlsx"
    head, first, *others = read_sheet(table)
    write_sheet(table, [head, [*first[:3], "/", *first[4:]], *others])
    row = next(row for row in data.rows(tmp_path) if row.id.endswith(first[1]))
    assert math.isnan(row.extras["apex"])
    assert data.pair(tmp_path, row)[1].stem.endswith("5")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (6, "joyful!", r"line 2: expected one of the classes happy, .*got 'joyful!'"),
        (2, "100", r"expected frames 100 to 9, got '3 others'"),
    ],
)
def test_a_bad_line_is_named(column: int, value: str, said: str, tmp_path: Path) -> None:
    data = DATASETS["casme2"]
    data.look_alike(tmp_path, per_class=1)
    table = tmp_path / "CASME2-coding-20140508.xlsx"
    head, first, *others = read_sheet(table)
    first[column] = value
    write_sheet(table, [head, first, *others])
    with pytest.raises(DataError, match=said):
        rows = data.rows(tmp_path)
        data.reader(tmp_path, rows)(next(n for n, row in enumerate(rows) if row.id.endswith(first[1])))


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    write_sheet(tmp_path / "CASME2.xlsx", [["Subject", "Filename"], ["01", "EP02_01f"]])
    with pytest.raises(DataError, match=r"expected a line with the columns subject, filename, .*got none"):
        DATASETS["casme2"].rows(tmp_path)
    (tmp_path / "CASME2.xlsx").write_bytes(b"no book")
    with pytest.raises(DataError, match=r"expected a table \.xlsx or \.csv"):
        DATASETS["casme2"].rows(tmp_path)


def test_sheets_as_excel_writes_them(tmp_path: Path) -> None:
    """Shared strings, numbers with a point, empty cells that are left out."""
    import zipfile

    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w") as book:
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{space}"><si><t>Sub</t><t>ject</t></si></sst>')
        book.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{space}"><sheetData><row><c r="A1" t="s"><v>0</v></c><c r="C1"><v>46.0</v></c></row>'
            '<row><c r="AB2"><v>7</v></c></row></sheetData></worksheet>',
        )
    first, second = read_sheet(tmp_path / "book.xlsx")
    assert first == ["Subject", "", "46"]
    assert second == [""] * 27 + ["7"]
    (tmp_path / "table.csv").write_text("\ufeffSubject, Filename\n01,EP\n")
    assert read_sheet(tmp_path / "table.csv") == [["Subject", "Filename"], ["01", "EP"]]


def change(root: Path, **arrays: np.ndarray | None) -> None:
    with np.load(root / "flow28.npz") as opened:
        stored = {**opened, **arrays}
    np.savez(root / "flow28.npz", **{name: array for name, array in stored.items() if array is not None})


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        (
            "flow_uvos",
            np.zeros((24, 20, 20, 3), np.uint8),
            r"expected an array 'flow_uvos' of uint8 \(N, 28, 28, 3\)",
        ),
        ("label", None, r"expected an array 'label' of shape \(24,\), got None"),
        ("label", np.full(24, 3), r"row 0: expected a label 0 \(negative\), .*got 3"),
        ("dataset", np.full(24, "casme1"), r"row 0: expected a data set of casme2, smic, samm, got 'casme1'"),
    ],
)
def test_a_bad_npz_is_refused(name: str, array: np.ndarray | None, said: str, tmp_path: Path) -> None:
    data = DATASETS["htnet_micro"]
    data.look_alike(tmp_path, per_class=1)
    (tmp_path / "flow28.npz").exists()
    with np.load(tmp_path / "flow28.npz") as opened:
        count = len(opened["label"])
    assert count == 36
    with np.load(tmp_path / "flow28.npz") as opened:
        stored = {key: opened[key][:24] for key in opened.files}
    np.savez(tmp_path / "flow28.npz", **stored)
    change(tmp_path, **{name: array})
    with pytest.raises(DataError, match=said):
        data.rows(tmp_path)


@pytest.mark.data
def test_the_real_flow_pictures_are_as_counted(data_folder: Path) -> None:
    root = data_folder / "htnet_micro"
    if not (root / "flow28.npz").is_file():
        pytest.skip("HTNet's flow pictures are not in the data folder (MIEN_DATA)")
    data = DATASETS["htnet_micro"]
    found = data.verify(root)
    assert found.problems == ()
    rows = data.rows(root)
    parts = Counter((row.id.split("/")[0], row.label) for row in rows)
    wanted = {"casme2": (88, 32, 25), "smic": (70, 51, 43), "samm": (92, 26, 15)}
    for part, counts in wanted.items():
        assert tuple(parts[part, label] for label in ("negative", "positive", "surprise")) == counts
    assert len({row.subject for row in rows}) == 68
    assert ids_hash([row.id for row in rows]) == load_protocol("megc2019_3").splits["all"].ids_sha256
    listed = {
        tuple(row.id.removeprefix("casme2/").split("_", 1)) for row in rows if row.id.startswith("casme2")
    }
    assert listed == set(casme2_clips())
