from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import ferplus
from mien.errors import DataNotFoundError, UnknownNameError
from mien.labels.expressions import EXPRESSIONS

# neutral happiness surprise sadness anger disgust fear contempt | unknown NF
ROWS = {
    "clear": ([0, 10, 0, 0, 0, 0, 0, 0, 0, 0], 1, [0, 1, 0, 0, 0, 0, 0, 0]),
    "single votes go": ([6, 1, 1, 1, 0, 0, 0, 0, 1, 0], 0, [1, 0, 0, 0, 0, 0, 0, 0]),
    "just a majority": ([4, 0, 0, 3, 0, 0, 0, 0, 0, 0], 0, [4 / 7, 0, 0, 3 / 7, 0, 0, 0, 0]),
    "a tie": ([5, 0, 0, 5, 0, 0, 0, 0, 0, 0], -1, [0.5, 0, 0, 0.5, 0, 0, 0, 0]),
    "half is no majority": ([4, 2, 2, 0, 0, 0, 0, 0, 0, 0], -1, [0.5, 0.25, 0.25, 0, 0, 0, 0, 0]),
    "unknown": ([2, 0, 0, 0, 0, 0, 0, 0, 8, 0], -1, [0] * 8),
    "no face": ([0, 0, 0, 0, 0, 0, 0, 0, 0, 10], -1, [0] * 8),
    "half unknown": ([5, 0, 0, 0, 0, 0, 0, 0, 5, 0], -1, [0] * 8),
    "some unknown": ([0, 0, 6, 0, 0, 0, 0, 0, 3, 0], 2, [0, 0, 1, 0, 0, 0, 0, 0]),
    "all single": ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], -1, [0] * 8),
    "no row in FER+": ([-1] * 10, -1, [0] * 8),
    "contempt": ([2, 0, 0, 0, 0, 0, 0, 6, 0, 1], 7, [0.25, 0, 0, 0, 0, 0, 0, 0.75]),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("kind", [np.int8, np.int64])
def test_the_rules_on_rows_made_by_hand(name: str, kind: type) -> None:
    votes, majority, soft = ROWS[name]
    row = np.array([votes], kind)
    assert ferplus.majority_labels(row).tolist() == [majority]
    assert ferplus.soft_labels(row)[0] == pytest.approx(soft)


def test_rows_do_not_touch_each_other() -> None:
    votes = np.array([row[0] for row in ROWS.values()], np.int8)
    assert ferplus.majority_labels(votes).tolist() == [row[1] for row in ROWS.values()]
    soft = ferplus.soft_labels(votes)
    assert soft.dtype == np.float32
    assert soft == pytest.approx(np.array([row[2] for row in ROWS.values()], float))


def look_alike(folder: Path) -> None:
    random = np.random.default_rng(0)
    for number, split in enumerate(ferplus.SPLITS):
        count = 6 + number
        images = random.integers(0, 256, (count, 48, 48), np.uint8)
        votes = random.multinomial(10, [0.1] * 10, count).astype(np.int8)
        np.savez(folder / f"{split}.npz", images=images, ferplus_votes=votes)
    np.save(folder / "dup_of_train_private_test.npy", np.array([1, 4]))


@pytest.mark.parametrize("split", ferplus.SPLITS)
def test_a_drawn_look_alike_loads(split: str, tmp_path: Path) -> None:
    look_alike(tmp_path)
    data = ferplus.load(tmp_path, split)
    count = 6 + ferplus.SPLITS.index(split)
    assert data.images.shape == (count, 48, 48)
    assert data.soft.shape == (count, len(EXPRESSIONS))
    assert data.majority.shape == (count,)
    expected = [1, 4] if split == "private_test" else []
    assert np.flatnonzero(data.duplicate_of_train).tolist() == expected
    assert data.sha256 == hashlib.sha256((tmp_path / f"{split}.npz").read_bytes()).hexdigest()


def test_missing_data_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        ferplus.load(tmp_path, "train")
    assert str(tmp_path / "train.npz") in str(caught.value)
    for part in (
        "looked for",
        "Expected train.npz, public_test.npz and private_test.npz",
        "microsoft/FERPlus",
    ):
        assert part in str(caught.value)


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'private_test'"):
        ferplus.load(tmp_path, "private")


@pytest.mark.data
@pytest.mark.parametrize(("split", "kept"), [("train", 25059), ("public_test", 3199), ("private_test", 3153)])
def test_counts_of_the_real_splits(split: str, kept: int, ferplus_root: Path) -> None:
    data = ferplus.load(ferplus_root, split)
    assert int((data.majority >= 0).sum()) == kept == ferplus.MAJORITY_COUNTS[split]
    assert len(data.images) == {"train": 28709}.get(split, 3589)
    assert data.images.dtype == np.uint8
    assert int(data.duplicate_of_train.sum()) == {"public_test": 279, "private_test": 288}.get(split, 0)
    named = data.majority >= 0
    assert (data.soft[named].argmax(1) == data.majority[named]).all()


@pytest.mark.data
def test_classes_of_the_real_private_split(ferplus_root: Path) -> None:
    data = ferplus.load(ferplus_root, "private_test")
    counts = np.bincount(data.majority[data.majority >= 0], minlength=8).tolist()
    assert dict(zip(EXPRESSIONS, counts, strict=True)) == {
        "neutral": 1090,
        "happy": 893,
        "surprise": 396,
        "sad": 384,
        "angry": 273,
        "disgust": 18,
        "fear": 83,
        "contempt": 16,
    }
