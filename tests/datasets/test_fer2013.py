from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import fer2013
from mien.datasets.dataset import DATASETS, Row
from mien.datasets.protocol import load_protocol
from mien.errors import DataError, DataNotFoundError, OptionError

FER2013 = DATASETS["fer2013"]
LAYOUTS = ("csv", "npz", "folders")


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


def draw(root: Path, layout: str, per_class: int = 2) -> Path:
    FER2013.look_alike(root, per_class, layout=layout)
    return root


def test_expected_counts_add_up_to_the_whole_set() -> None:
    totals = {split: sum(classes.values()) for split, classes in FER2013.expected.items()}
    assert totals == {"train": 28709, "public_test": 3589, "private_test": 3589}
    assert sum(totals.values()) == 35887


def test_each_layout_reads(layout: str, tmp_path: Path) -> None:
    root = draw(tmp_path, layout)
    rows = FER2013.rows(root)
    assert len(rows) == 2 * 3 * 7
    counts = Counter((row.split, row.label) for row in rows)
    splits = ("train", "test") if layout == "folders" else fer2013.SPLITS
    per_split = {"test": 4}
    assert counts == {(split, name): per_split.get(split, 2) for split in splits for name in fer2013.CLASSES}
    read = FER2013.reader(root, rows)
    assert {read(index).shape for index in range(len(rows))} == {(48, 48)}
    assert FER2013.verify(root, counts=False).ok


def test_csv_and_npz_give_the_same_pictures_labels_and_ids(tmp_path: Path) -> None:
    csv, npz = draw(tmp_path / "csv", "csv"), draw(tmp_path / "npz", "npz")
    assert FER2013.rows(csv) == FER2013.rows(npz)
    assert FER2013.verify(csv).sha256 == FER2013.verify(npz).sha256
    for split in fer2013.SPLITS:
        one, other = (FER2013.samples(root, "fer2013_7", split, check=False) for root in (csv, npz))
        assert one.sha256 == other.sha256
        assert all(np.array_equal(one.read(index), other.read(index)) for index in range(len(one)))


def test_targets_are_in_miens_order(tmp_path: Path) -> None:
    samples = FER2013.samples(draw(tmp_path, "csv"), "fer2013_7", "private_test", check=False)
    assert samples.labels == ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear")
    assert [samples.labels[index] for index in samples.target] == [
        label for label in fer2013.CLASSES for _ in range(2)
    ]


def test_the_duplicate_in_the_private_test_is_marked(tmp_path: Path) -> None:
    for layout in ("csv", "npz"):
        root = draw(tmp_path / layout, layout)
        private = FER2013.samples(root, "fer2013_7", "private_test", check=False)
        assert private.extras["duplicate_of_train"].tolist() == [False] * 13 + [True]
        public = FER2013.samples(root, "fer2013_7", "public_test", check=False)
        assert not public.extras["duplicate_of_train"].any()
        assert not FER2013.samples(root, "fer2013_7", "train", check=False).extras
        found = FER2013.verify(root)
        assert (found.duplicates, found.duplicates_across_splits, found.conflicting) == (1, 1, 1)
        assert found.notes[0].startswith("one picture in two splits: row_00000 (train, angry), row_00041")
        assert found.notes[1].startswith("one picture with two labels")


def test_marks_beside_the_npz_files_are_taken(tmp_path: Path) -> None:
    root = draw(tmp_path, "npz")
    np.save(root / "dup_of_train_public_test.npy", np.array([2]))
    np.save(root / "dup_of_train_private_test.npy", np.array([], np.int64))
    public = FER2013.samples(root, "fer2013_7", "public_test", check=False)
    assert np.flatnonzero(public.extras["duplicate_of_train"]).tolist() == [2]


def test_rows_of_unknown_place_come_last_under_their_own_name(tmp_path: Path) -> None:
    root = draw(tmp_path, "npz", 1)
    with np.load(root / "train.npz") as stored:
        arrays = dict(stored)
    before = FER2013.samples(root, "fer2013_7", "train", check=False)
    arrays["fer_row"][2] = -1
    np.savez(root / "train.npz", **arrays)
    after = FER2013.samples(root, "fer2013_7", "train", check=False)
    assert after.ids == (*before.ids[:2], *before.ids[3:], "train_00002")
    assert np.array_equal(after.read(6), before.read(2))
    assert after.target[6] == before.target[2]


def test_the_folder_layout_is_refused_by_the_protocol(tmp_path: Path) -> None:
    root = draw(tmp_path, "folders")
    for split in fer2013.SPLITS:
        with pytest.raises(DataError, match="test is the public and the private test together"):
            FER2013.samples(root, "fer2013_7", split, check=False)


def test_the_folder_layout_is_compared_with_both_tests_added_up(tmp_path: Path) -> None:
    found = FER2013.verify(draw(tmp_path, "folders"))
    assert "expected 958 pictures of 'angry' in 'test' (counted here), got 4" in found.problems


def test_an_unknown_folder_is_a_problem_with_the_known_names(tmp_path: Path) -> None:
    root = draw(tmp_path, "folders")
    (root / "train" / "sad").rename(root / "train" / "gloomy")
    (root / "train" / "fear").rename(root / "train" / "contempt")
    (problem,) = FER2013.verify(root).problems
    assert "got 'contempt', 'gloomy'" in problem
    assert "angry, disgust, fear, happy, sad, surprise, neutral" in problem


def test_a_missing_npz_file_is_named(tmp_path: Path) -> None:
    root = draw(tmp_path, "npz")
    (root / "private_test.npz").unlink()
    with pytest.raises(DataNotFoundError, match=r"looked for .*private_test\.npz"):
        FER2013.verify(root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("emotion,pixels,Usage", "label,pixels,Usage", "expected the columns emotion,pixels,Usage"),
        (",PrivateTest", ",Private", "got emotion '0' with usage 'Private'"),
        ("\n6,", "\n7,", r"expected emotions 0 to 6 .* got emotion '7' .* \(2 times, first in row 12\)"),
    ],
)
def test_a_wrong_csv_is_a_problem(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = draw(tmp_path, "csv") / "fer2013.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        FER2013.rows(tmp_path)
    found = FER2013.verify(tmp_path)
    (problem,) = found.problems
    assert "expected" in problem
    # What was not looked at is not told as none.
    assert found.duplicates is found.shared_subjects is None and "identical" not in found.to_text()


@pytest.mark.parametrize("spoilt", ["256", "-1", "x", "1 1", ""])
def test_a_damaged_picture_in_the_csv_is_named(spoilt: str, tmp_path: Path) -> None:
    path = draw(tmp_path, "csv") / "fer2013.csv"
    lines = path.read_text().splitlines()
    emotion, pixels, usage = lines[4].split(",")
    lines[4] = f"{emotion},{spoilt} {pixels.partition(' ')[2]},{usage}"
    path.write_text("\n".join(lines))
    (problem,) = FER2013.verify(tmp_path, counts=False).problems
    assert "in row 3 of" in problem
    samples = FER2013.samples(tmp_path, "fer2013_7", "train", check=False)
    assert samples.read(2).shape == (48, 48)
    with pytest.raises(DataError, match="expected 2304 numbers from 0 to 255 in row 3"):
        samples.read(3)


def test_quotes_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = draw(tmp_path / "a", "csv") / "fer2013.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    (tmp_path / "b").mkdir()
    text = "\r\n".join([",".join(lines[0]), *(f'{a},"{b}",{c}' for a, b, c in lines[1:])])
    (tmp_path / "b" / "fer2013.csv").write_bytes(text.encode() + b"\r\n\r\n")
    assert FER2013.verify(tmp_path / "b").sha256 == FER2013.verify(tmp_path / "a").sha256


@pytest.mark.parametrize("change", [{"images": None}, {"images": "float"}, {"fer_label": 9}])
def test_a_wrong_npz_is_a_problem(change: dict, tmp_path: Path) -> None:
    root = draw(tmp_path, "npz")
    with np.load(root / "train.npz") as stored:
        arrays = dict(stored)
    if change == {"images": None}:
        del arrays["images"]
    elif change == {"images": "float"}:
        arrays["images"] = arrays["images"] / 255
    else:
        arrays["fer_label"][0] = 9
    np.savez(root / "train.npz", **arrays)
    (problem,) = FER2013.verify(root, counts=False).problems
    assert "expected" in problem and "train.npz" in problem


def test_a_mixed_up_label_order_is_recognised() -> None:
    """As when the names of the folders' own order are given to FER2013's numbers."""
    alphabetical = dict(zip(fer2013.CLASSES, sorted(fer2013.CLASSES), strict=True))
    rows = [
        Row(f"{split} {label} {number}", split, alphabetical[label])
        for split, classes in FER2013.expected.items()
        for label, count in classes.items()
        for number in range(count)
    ]
    hint, *others = FER2013._count_problems(rows)
    read = {new: old for old, new in alphabetical.items()}
    assert hint == (
        f"the counts fit if the labels are in the order {', '.join(read[name] for name in fer2013.CLASSES)}; "
        f"they were read in the order {', '.join(fer2013.CLASSES)}"
    )
    assert others
    assert not any("the counts fit" in problem for problem in FER2013._count_problems(rows[1:]))


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got 'tar'"):
        draw(tmp_path, "tar")


@pytest.mark.data
@pytest.mark.parametrize("split", fer2013.SPLITS)
def test_the_real_pictures_pass_the_protocol(split: str, ferplus_root: Path) -> None:
    samples = FER2013.samples(ferplus_root, "fer2013_7", split)
    facts = load_protocol("fer2013_7").splits[split]
    assert samples.counts == facts.per_class
    duplicates = {"public_test": 279, "private_test": 288}
    if split in duplicates:
        assert int(samples.extras["duplicate_of_train"].sum()) == duplicates[split]


@pytest.mark.data
def test_the_real_set_is_whole_and_its_marks_are_right(ferplus_root: Path, tmp_path: Path) -> None:
    for split in fer2013.SPLITS:
        (tmp_path / f"{split}.npz").symlink_to(ferplus_root / f"{split}.npz")
    rows = fer2013.npz_rows(FER2013, tmp_path)  # without the marks beside them, so they are compared
    marked = FER2013.rows(ferplus_root)
    found = Counter(row.split for row in marked if row.extras.get("duplicate_of_train"))
    assert found == {"public_test": 279, "private_test": 288}
    # One blank picture, recovered and so not exact, is left out of the marks.
    assert [row.id for row, other in zip(rows, marked, strict=True) if row != other] == ["row_30002"]
    assert not FER2013._count_problems(rows)
