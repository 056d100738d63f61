from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import ferplus
from mien.datasets.dataset import DATASETS, Row
from mien.datasets.protocol import load_protocol
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


def test_duplicates_are_found_where_no_file_names_them(tmp_path: Path) -> None:
    look_alike(tmp_path)
    train = ferplus.load(tmp_path, "train").images
    with np.load(tmp_path / "public_test.npz") as stored:
        images, votes = stored["images"].copy(), stored["ferplus_votes"]
    images[[0, 3]] = train[[5, 2]]
    np.savez(tmp_path / "public_test.npz", images=images, ferplus_votes=votes)
    assert np.flatnonzero(ferplus.load(tmp_path, "public_test").duplicate_of_train).tolist() == [0, 3]
    (tmp_path / "train.npz").unlink()
    with pytest.raises(DataNotFoundError, match=r"looked for .*train\.npz"):
        ferplus.load(tmp_path, "public_test")


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
    assert int((data.majority >= 0).sum()) == kept
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


FERPLUS = DATASETS["ferplus"]
PROTOCOLS = ("ferplus_majority_8", "ferplus_majority_7")


def test_expected_counts_are_those_of_the_majority_rule() -> None:
    kept = {"train": 25059, "public_test": 3199, "private_test": 3153}
    assert {split: sum(counts.values()) for split, counts in FERPLUS.expected.items()} == kept


def test_both_layouts_give_the_same_ids_labels_and_votes(tmp_path: Path) -> None:
    FERPLUS.look_alike(tmp_path / "npz", 2)
    FERPLUS.look_alike(tmp_path / "csv", 2, layout="csv")
    assert FERPLUS.rows(tmp_path / "npz") == FERPLUS.rows(tmp_path / "csv")
    assert FERPLUS.verify(tmp_path / "npz").sha256 == FERPLUS.verify(tmp_path / "csv").sha256
    for split in ferplus.SPLITS:
        one, other = (
            FERPLUS.samples(tmp_path / layout, "ferplus_majority_8", split, check=False)
            for layout in ("npz", "csv")
        )
        assert one.sha256 == other.sha256


@pytest.mark.parametrize("name", PROTOCOLS)
def test_training_keeps_pictures_without_a_majority(name: str, tmp_path: Path) -> None:
    FERPLUS.look_alike(tmp_path, 2)
    protocol = load_protocol(name)
    train = FERPLUS.samples(tmp_path, protocol, "train", check=False)
    assert (train.target[:2] == -1).all()
    tie = np.zeros(len(protocol.labels))
    tie[[0, 3]] = 0.5
    assert train.soft[0] == pytest.approx(tie)
    assert train.soft.dtype == np.float32
    assert (train.target[2:] >= 0).all()
    assert len(train) == 2 + 2 * len(protocol.labels)
    assert train.extras["votes"].shape == (len(train), 10)
    private = FERPLUS.samples(tmp_path, protocol, "private_test", check=False)
    assert private.counts == dict.fromkeys(protocol.labels, 2)
    assert private.extras["duplicate_of_train"].sum() == (1 if "contempt" in protocol.labels else 0)


def labelled(votes: list[int], protocol: str, split: str = "train") -> tuple[int, list[float]] | None:
    label = ferplus.majority_labels(np.array([votes]))[0]
    row = Row("x", split, EXPRESSIONS[label] if label >= 0 else None, extras={"votes": tuple(votes)})
    found = FERPLUS.labelled(row, load_protocol(protocol))
    return None if found is None else (found[0], found[1].tolist())


def test_targets_and_shares_of_rows_made_by_hand() -> None:
    eight, seven = PROTOCOLS
    mixed = [6, 0, 0, 0, 0, 0, 0, 2, 2, 0]
    assert labelled(mixed, eight) == (0, [0.75, 0, 0, 0, 0, 0, 0, 0.25])
    assert labelled(mixed, seven) == (0, [1, 0, 0, 0, 0, 0, 0])
    contempt = [2, 0, 0, 0, 0, 0, 0, 8, 0, 0]
    assert labelled(contempt, eight)[0] == 7
    assert labelled(contempt, seven) is None
    half_contempt = [5, 0, 0, 0, 0, 0, 0, 5, 0, 0]
    assert labelled(half_contempt, eight) == (-1, [0.5, 0, 0, 0, 0, 0, 0, 0.5])
    assert labelled(half_contempt, seven) == (-1, [1, 0, 0, 0, 0, 0, 0])
    assert labelled(half_contempt, eight, "private_test") is None
    assert labelled([2, 0, 0, 0, 0, 0, 0, 0, 8, 0], eight) is None
    assert labelled([-1] * 10, eight) is None


def test_files_that_do_not_go_together_are_a_problem(tmp_path: Path) -> None:
    FERPLUS.look_alike(tmp_path, 2, layout="csv")
    path = tmp_path / "fer2013new.csv"
    whole = path.read_text()
    path.write_text(whole.rsplit("\n", 2)[0] + "\n")
    (problem,) = FERPLUS.verify(tmp_path).problems
    assert "to go with fer2013.csv row by row, got 49 rows for 50" in problem
    path.write_text(whole.replace("PublicTest", "PrivateTest"))
    (problem,) = FERPLUS.verify(tmp_path).problems
    assert "another Usage" in problem
    path.write_text(whole.replace("happiness", "joy"))
    (problem,) = FERPLUS.verify(tmp_path).problems
    assert "not ['happiness']" in problem
    path.write_text(whole.replace(",8,", ",many,", 1))
    (problem,) = FERPLUS.verify(tmp_path).problems
    assert "expected whole numbers of votes" in problem
    path.unlink()
    with pytest.raises(DataNotFoundError, match=r"looked for .*fer2013new\.csv"):
        FERPLUS.verify(tmp_path)


def test_folders_of_fer2013_have_no_votes(tmp_path: Path) -> None:
    DATASETS["fer2013"].look_alike(tmp_path, 1, layout="folders")
    with pytest.raises(DataNotFoundError, match=r"fer2013new\.csv"):
        FERPLUS.rows(tmp_path)


@pytest.mark.data
@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("split", ferplus.SPLITS)
def test_the_real_pictures_pass_the_protocols(name: str, split: str, ferplus_root: Path) -> None:
    samples = FERPLUS.samples(ferplus_root, name, split)
    assert samples.soft.sum(1) == pytest.approx(1, abs=1e-5)
    named = samples.target >= 0
    assert (samples.soft[named].argmax(1) == samples.target[named]).all()
    if split == "private_test":
        assert len(samples) == {"ferplus_majority_8": 3153, "ferplus_majority_7": 3137}[name]


@pytest.mark.data
def test_the_data_set_gives_what_load_gives(ferplus_root: Path) -> None:
    loaded = ferplus.load(ferplus_root, "private_test")
    samples = FERPLUS.samples(ferplus_root, "ferplus_majority_8", "private_test")
    kept = np.flatnonzero(loaded.majority >= 0)
    # `load` keeps the order of the file, in which the recovered pictures stand at the end.
    by_picture = {loaded.images[index].tobytes(): index for index in kept}
    places = [by_picture[samples.read(index).tobytes()] for index in range(len(samples))]
    assert np.mean(samples.target == loaded.majority[places]) > 0.99  # duplicates in the test have own votes
    assert int(samples.extras["duplicate_of_train"].sum()) == int(loaded.duplicate_of_train[kept].sum())
