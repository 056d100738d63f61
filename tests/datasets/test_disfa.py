from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.datasets.dataset import DATASETS
from mien.datasets.disfa import INTENSITIES
from mien.datasets.protocol import load_protocol
from mien.errors import DataError, DataNotFoundError

DATA = DATASETS["disfa"]


def labels(root: Path, person: str = "SN001", **lines: str) -> Path:
    folder = root / "ActionUnit_Labels" / person
    folder.mkdir(parents=True)
    for unit in INTENSITIES:
        (folder / f"{person}_au{unit}.txt").write_text(lines.get(f"au{unit}", "1,0\n2,0\n"))
    return folder


def test_a_unit_is_there_from_an_intensity_of_two_on(tmp_path: Path) -> None:
    labels(tmp_path, au12="1,1\n2,5\n", au5="1,3\n2,0\n", au26="1,2\n2,1\n")
    first, second = DATA.rows(tmp_path)
    assert (first.id, second.id, first.subject) == ("SN001/0", "SN001/1", "SN001")
    assert first.extras["action_units"] == (0, 0, 0, 0, 0, 0, 0, 1)
    assert second.extras["action_units"] == (0, 0, 0, 0, 0, 1, 0, 0)
    assert first.extras["action_unit_intensity"] == (0, 0, 0, 3, 0, 0, 1, 0, 0, 0, 0, 2)


def test_intensities_stay_beside_what_is_detected(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    samples = DATA.samples(tmp_path, "disfa_8", "test", check=False)
    strength = samples.extras["action_unit_intensity"]
    assert strength.shape == (len(samples), 12) and strength.max() == 5
    places = [INTENSITIES.index(unit) for unit in DATA.units]
    assert np.array_equal(strength[:, places] >= 2, samples.extras["action_units"] == 1)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            {"au4": "1,0\n2,6\n"},
            r"au4\.txt, line 2: expected 'frame,intensity' with an intensity from 0 to 5",
        ),
        ({"au4": "1 0\n"}, "line 1: expected 'frame,intensity'"),
        ({"au4": "1,0\n"}, "expected the same frames for every unit, got 'others for AU4'"),
    ],
)
def test_bad_labels_are_named(lines: dict[str, str], said: str, tmp_path: Path) -> None:
    labels(tmp_path, **lines)
    with pytest.raises(DataError, match=said):
        DATA.rows(tmp_path)


def test_a_missing_unit_or_a_bad_folder_is_said(tmp_path: Path) -> None:
    (labels(tmp_path) / "SN001_au20.txt").unlink()
    with pytest.raises(DataNotFoundError, match=r"looked for .*SN001_au20\.txt"):
        DATA.rows(tmp_path)
    (tmp_path / "ActionUnit_Labels" / "SN001").rename(tmp_path / "ActionUnit_Labels" / "left")
    with pytest.raises(DataError, match="expected a folder such as 'SN001', got 'left'"):
        DATA.rows(tmp_path)


def test_published_counts() -> None:
    assert load_protocol("disfa_8").splits["all"].pictures == 27 * 4845 == 130_815
