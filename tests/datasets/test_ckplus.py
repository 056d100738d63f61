from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import ckplus
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import ids_hash, load_protocol
from mien.errors import DataError, DataNotFoundError

TREE, SMALL = DATASETS["ckplus"], DATASETS["ckplus48"]
REAL = "ckplus48_au"


def sequence(root: Path, subject: str, number: str, frames: int, written: str | None) -> None:
    folder = root / "cohn-kanade-images" / subject / number
    folder.mkdir(parents=True)
    for frame in range(1, frames + 1):
        (folder / f"{subject}_{number}_{frame:08d}.png").write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"")
    place = root / "Emotion" / subject / number
    place.mkdir(parents=True)
    if written is not None:
        (place / f"{subject}_{number}_{frames:08d}_emotion.txt").write_text(written)


def test_last_three_frames_carry_the_label_and_the_first_is_neutral(tmp_path: Path) -> None:
    sequence(tmp_path, "S005", "001", 11, "   3.0000000e+00\n")
    sequence(tmp_path, "S005", "002", 9, None)
    assert [(row.id, row.label, row.subject) for row in TREE.rows(tmp_path)] == [
        ("S005_001_00000001", "neutral", "S005"),
        ("S005_001_00000009", "disgust", "S005"),
        ("S005_001_00000010", "disgust", "S005"),
        ("S005_001_00000011", "disgust", "S005"),
    ]


def test_numbers_are_classes_by_name(tmp_path: Path) -> None:
    for code in range(1, 8):
        sequence(tmp_path, "S010", f"{code:03d}", 4, f"{code}")
    rows = TREE.rows(tmp_path)
    assert [row.label for row in rows[3::4]] == [
        "angry",
        "contempt",
        "disgust",
        "fear",
        "happy",
        "sad",
        "surprise",
    ]


def test_the_look_alike_reads_with_seven_and_eight_classes(tmp_path: Path) -> None:
    TREE.look_alike(tmp_path, per_class=1)
    rows = TREE.rows(tmp_path)
    assert Counter(row.label for row in rows) == dict.fromkeys(ckplus.SEQUENCES, 30) | {"neutral": 70}
    eight = TREE.samples(tmp_path, "ckplus_8", "test", check=False)
    seven = TREE.samples(tmp_path, "ckplus_7", "test", check=False)
    assert set(eight.ids) > set(seven.ids)
    assert "neutral" not in seven.labels
    assert eight.read(0).shape == (122, 160)
    assert eight.framing == "photo"


@pytest.mark.parametrize(
    ("written", "frames", "said"),
    [
        ("9.0", 8, r"emotion\.txt, line 1: expected one of the codes 0 \(neutral\).*got '9'"),
        ("happy", 8, "line 1: expected one number from 0 to 7, got 'happy'"),
        ("", 8, "line 1: expected one number from 0 to 7, got ''"),
        ("1.0", 3, "expected more than 3 frames of a labelled sequence, got 3"),
    ],
)
def test_a_bad_sequence_is_named(written: str, frames: int, said: str, tmp_path: Path) -> None:
    sequence(tmp_path, "S005", "001", frames, written)
    with pytest.raises(DataError, match=said):
        TREE.rows(tmp_path)


def test_bad_folder_and_frame_names_are_refused(tmp_path: Path) -> None:
    sequence(tmp_path, "S005", "001", 5, "1")
    (tmp_path / "cohn-kanade-images" / "S005" / "001" / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"expected a name such as 'S005_001_00000001\.png', got 'x\.png'"):
        TREE.rows(tmp_path)
    (tmp_path / "cohn-kanade-images" / "S005" / "001" / "x.png").unlink()
    (tmp_path / "Emotion" / "S005" / "1").mkdir()
    with pytest.raises(DataError, match="expected a folder such as '001', got '1'"):
        TREE.rows(tmp_path)
    (tmp_path / "Emotion" / "Anna").mkdir()
    with pytest.raises(DataError, match="expected a folder such as 'S005', got 'Anna'"):
        TREE.rows(tmp_path)


@pytest.mark.parametrize("data", [TREE, SMALL], ids=["ckplus", "ckplus48"])
def test_missing_data_says_what_is_expected_and_where_to_apply(data, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        data.rows(tmp_path)
    for part in (str(tmp_path), data.layout, "jeffcohn.net", "signed agreement"):
        assert part in str(caught.value)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    SMALL.look_alike(tmp_path, per_class=1)
    return tmp_path


def change(root: Path, **arrays: np.ndarray | None) -> None:
    with np.load(root / "ckplus48_au.npz") as opened:
        stored = {**opened, **arrays}
    np.savez(root / "ckplus48_au.npz", **{name: array for name, array in stored.items() if array is not None})


def test_the_small_look_alike_reads_with_units(small: Path) -> None:
    rows = SMALL.rows(small)
    assert Counter(row.label for row in rows) == dict.fromkeys(ckplus.SEQUENCES, 30)
    samples = SMALL.samples(small, "ckplus48_7", "train", check=False)
    assert samples.extras["action_units"].shape == (8 * 21, 23)
    assert set(np.unique(samples.extras["action_units"])) == {0, 1}
    assert len(SMALL.action_unit_ids(small)) == 23
    with np.load(small / "ckplus48_au.npz") as stored:
        index = rows.index(next(row for row in rows if row.id == samples.ids[7]))
        assert np.array_equal(samples.read(7), stored["images"][index])


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("au", None, r"expected an array 'au' of shape \(210, 23\), got None"),
        ("images", np.zeros((210, 40, 40), np.uint8), r"expected an array 'images' of shape \(210, 48, 48\)"),
        ("subject", np.array(["S005"]), r"expected an array 'subject' of shape \(210,\), got \(1,\)"),
        ("label", np.array(["joyful"] * 210), r"row 0: expected one of the labels .*got 'joyful'"),
    ],
)
def test_a_bad_npz_is_refused(name: str, array: np.ndarray | None, said: str, small: Path) -> None:
    change(small, **{name: array})
    with pytest.raises(DataError, match=said):
        SMALL.rows(small)


@pytest.mark.parametrize("how", ["half", "changed within"])
def test_a_torn_npz_is_refused(how: str, small: Path) -> None:
    path = small / "ckplus48_au.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:3000] if how == "half" else whole[:3000] + bytes(500) + whole[3500:])
    with pytest.raises(DataError, match=r"expected an npz file, got .*ckplus48_au\.npz"):
        SMALL.rows(small)


def test_both_forms_name_a_picture_alike(small: Path, tmp_path: Path) -> None:
    TREE.look_alike(tmp_path, per_class=1)
    peaks = {row.id: (row.label, row.subject) for row in TREE.rows(tmp_path) if row.label != "neutral"}
    assert {row.id: (row.label, row.subject) for row in SMALL.rows(small)} == peaks


def test_published_sums() -> None:
    assert sum(ckplus.SEQUENCES.values()) == 327
    assert load_protocol("ckplus_7").splits["all"].pictures == 981
    assert load_protocol("ckplus_8").splits["all"].pictures == 981 + 327


@pytest.mark.data
def test_the_real_small_form_is_as_counted(data_folder: Path) -> None:
    root = data_folder / REAL
    if not (root / "ckplus48_au.npz").is_file():
        pytest.skip("CK+ at 48 x 48 is not in the data folder (MIEN_DATA)")
    rows = SMALL.rows(root)
    assert Counter(row.label for row in rows) == ckplus.PEAKS
    assert len({row.subject for row in rows}) == 118
    assert len({row.id for row in rows}) == len(rows) == 981
    assert all(row.id.startswith(row.subject) for row in rows)
    facts = load_protocol("ckplus48_7").splits["all"]
    assert ids_hash([row.id for row in rows]) == facts.ids_sha256
    assert SMALL.action_unit_ids(root)[:6] == (1, 2, 4, 5, 6, 7)
    assert SMALL.verify(root).problems == ()


@pytest.mark.data
def test_real_folds_hold_twelve_or_eleven_people_and_all_pictures_once(data_folder: Path) -> None:
    root = data_folder / REAL
    if not (root / "ckplus48_au.npz").is_file():
        pytest.skip("CK+ at 48 x 48 is not in the data folder (MIEN_DATA)")
    parts = [SMALL.samples(root, "ckplus48_7", "test", fold, check=False) for fold in range(10)]
    people = [set(part.subjects) for part in parts]
    assert [len(names) for names in people] == [12] * 8 + [11] * 2
    assert len(set.union(*people)) == 118
    assert sum(len(part) for part in parts) == 981


@pytest.mark.data
def test_real_smiles_pull_the_lip_corners_and_surprise_lifts_the_brows(data_folder: Path) -> None:
    root = data_folder / REAL
    if not (root / "ckplus48_au.npz").is_file():
        pytest.skip("CK+ at 48 x 48 is not in the data folder (MIEN_DATA)")
    rows, units = SMALL.rows(root), SMALL.action_unit_ids(root)
    for label, unit in (("happy", 12), ("surprise", 1), ("angry", 4), ("contempt", 14)):
        shown = [row.extras["action_units"][units.index(unit)] for row in rows if row.label == label]
        others = [row.extras["action_units"][units.index(unit)] for row in rows if row.label != label]
        assert np.mean(shown) > 0.8
        assert np.mean(others) < 0.6
