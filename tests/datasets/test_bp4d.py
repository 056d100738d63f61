from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.errors import DataError, DataNotFoundError, ProtocolError

DATA, PLUS = DATASETS["bp4d"], DATASETS["bp4d_plus"]
HEAD = "0,1,2,3,4,5,6,7,10,12,14,15,17,23,24"


def table(root: Path, name: str, *lines: str, head: str = HEAD) -> None:
    folder = root / "AUCoding" / "AU_OCC"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join([head, *lines]) + "\n")


def test_columns_are_read_by_name_and_nine_is_unknown(tmp_path: Path) -> None:
    table(tmp_path, "F001_T1.csv", "20,1,0,9,0,9,1,0,1,1,0,0,0,0,9", "21,0,0,9,0,9,0,0,0,0,0,0,0,0,0")
    rows = DATA.rows(tmp_path)
    assert [(row.id, row.subject, row.label) for row in rows] == [
        ("F001/T1/20", "F001", None),
        ("F001/T1/21", "F001", None),
    ]
    assert rows[0].extras["action_units"] == (1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, -1)


def test_unknown_units_are_nan_and_a_frame_without_any_is_dropped(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    table(tmp_path, "F006_T1.csv", "20" + ",9" * 14)
    samples = DATA.samples(tmp_path, "bp4d_12", "all", check=False)
    units = samples.extras["action_units"]
    assert units.dtype == np.float32 and units.shape == (len(samples), 12)
    assert np.isnan(units[:, -1]).any() and np.isfinite(units[:, 0]).all()
    assert "F006/T1/20" not in samples.ids and len(DATA.rows(tmp_path)) == len(samples) + 1
    assert samples.labels[5] == "AU10" and samples.counts["AU10"] == int((units[:, 5] == 1).sum()) > 0
    assert (samples.target == -1).all()


def test_frames_are_found_by_number(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    rows = DATA.rows(tmp_path)
    assert rows[0].id == "F001/T1/20" and (tmp_path / "img" / "F001" / "T1" / "0020.jpg").is_file()
    assert DATA.reader(tmp_path, rows)(0).shape == (122, 160, 3)
    (tmp_path / "img" / "F001" / "T1" / "0020.jpg").unlink()
    with pytest.raises(DataError, match=r"expected the frame 20 in .*T1, got none"):
        DATA.reader(tmp_path, rows)(0)


@pytest.mark.parametrize(
    ("name", "head", "line", "said"),
    [
        ("F1_T1.csv", HEAD, "20" + ",0" * 14, "expected a name such as F001_T1.csv, got 'F1_T1.csv'"),
        ("F001_T9.csv", HEAD, "20" + ",0" * 14, "expected a name such as"),
        ("F001_T1.csv", "0,1,2", "20,0,0", "line 1: expected columns for the units"),
        ("F001_T1.csv", HEAD, "20,0,0", "line 2: expected a frame's number and 14 codes"),
        ("F001_T1.csv", HEAD, "20" + ",5" * 14, "line 2: expected codes 0, 1 or 9"),
    ],
)
def test_a_bad_table_is_named(name: str, head: str, line: str, said: str, tmp_path: Path) -> None:
    table(tmp_path, name, line, head=head)
    with pytest.raises(DataError, match=said):
        DATA.rows(tmp_path)


def test_the_plus_set_has_its_own_tasks(tmp_path: Path) -> None:
    table(tmp_path, "F001_T6.csv", "20" + ",0" * 14)
    assert PLUS.rows(tmp_path)[0].id == "F001/T6/20"
    table(tmp_path, "F001_T2.csv", "20" + ",0" * 14)
    with pytest.raises(DataError, match=r"got 'F001_T2\.csv'"):
        PLUS.rows(tmp_path)


def test_without_a_table_it_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "AUCoding" / "AU_OCC").mkdir(parents=True)
    with pytest.raises(DataNotFoundError, match="binghamton"):
        DATA.rows(tmp_path)


def test_verify_says_how_often_units_are_there(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    found = DATA.verify(tmp_path, counts=False)
    units = np.array([row.extras["action_units"] for row in DATA.rows(tmp_path)])
    assert found.counts == {"all": {"coded": len(units)}}
    assert f"AU1 {(units[:, 0] == 1).sum()} of {len(units)}, AU2" in found.notes[-1]
    assert f"AU24 {(units[:, -1] == 1).sum()} of {(units[:, -1] >= 0).sum()}" in found.notes[-1]


def test_a_protocol_with_units_that_the_set_lacks_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    DATA.look_alike(tmp_path)
    protocol = replace(load_protocol("bp4d_12"), labels=("AU1", "AU25"))
    with pytest.raises(ProtocolError, match=r"expected units that 'bp4d' codes .* got AU25"):
        DATA.samples(tmp_path, protocol, "all", check=False)
