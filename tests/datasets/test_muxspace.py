from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.datasets import muxspace
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import held_out, load_protocol
from mien.errors import DataError, DataNotFoundError, UnknownNameError

TABLE = """file,label,split,identity,annotator
b.jpg,happiness,train,Ann,x
a.jpg,Anger,val,Ben,x
c.jpg,neutral,train,Cem,y
"""
SHADES = {"a.jpg": 20, "b.jpg": 120, "c.jpg": 220}


@pytest.fixture
def look_alike(tmp_path: Path) -> Path:
    (tmp_path / "labels.csv").write_text(TABLE)
    with zipfile.ZipFile(tmp_path / "images_112.zip", "w") as archive:
        for name, shade in SHADES.items():
            stored = io.BytesIO()
            Image.new("L", (112, 112), shade).save(stored, "JPEG")
            archive.writestr(f"images/{name}", stored.getvalue())
    return tmp_path


def test_rows_in_file_order_with_miens_names(look_alike: Path) -> None:
    assert muxspace.rows(look_alike, "train") == [
        muxspace.MuxspaceRow("images/b.jpg", "happy", "Ann"),
        muxspace.MuxspaceRow("images/c.jpg", "neutral", "Cem"),
    ]
    assert muxspace.rows(look_alike, "val") == [muxspace.MuxspaceRow("images/a.jpg", "angry", "Ben")]


def test_images_follow_the_rows(look_alike: Path) -> None:
    rows = muxspace.rows(look_alike, "train")
    pictures = list(muxspace.images(look_alike, rows[::-1]))
    assert [picture.shape for picture in pictures] == [(112, 112, 3)] * 2
    assert [int(picture.mean()) for picture in pictures] == pytest.approx([220, 120], abs=2)
    assert pictures[0].dtype == np.uint8


def test_the_hash_is_that_of_the_archive(look_alike: Path) -> None:
    expected = hashlib.sha256((look_alike / "images_112.zip").read_bytes()).hexdigest()
    assert muxspace.sha256(look_alike) == expected


@pytest.mark.parametrize("lost", ["labels.csv", "images_112.zip"])
def test_missing_data_says_where_it_looked_and_what_to_do(lost: str, look_alike: Path) -> None:
    (look_alike / lost).unlink()
    with pytest.raises(DataNotFoundError, match=r"Expected labels\.csv and images_112\.zip") as caught:
        muxspace.rows(look_alike, "train")
    assert str(look_alike / lost) in str(caught.value)
    assert "github.com/muxspace/facial_expressions" in str(caught.value)


def test_an_unknown_split_is_refused(look_alike: Path) -> None:
    with pytest.raises(UnknownNameError, match="no muxspace split 'test'"):
        muxspace.rows(look_alike, "test")


@pytest.mark.data
def test_counts_of_the_real_splits_and_that_no_person_is_in_both(muxspace_root: Path) -> None:
    train, val = (muxspace.rows(muxspace_root, split) for split in muxspace.SPLITS)
    assert (len(train), len(val)) == (8224, 2713)
    assert not {row.identity for row in train} & {row.identity for row in val}
    picture = next(muxspace.images(muxspace_root, val[:1]))
    assert picture.shape == (112, 112, 3)


MUXSPACE = DATASETS["muxspace"]


def test_the_data_set_reads_the_same_table(look_alike: Path) -> None:
    rows = MUXSPACE.rows(look_alike)
    assert [(row.id, row.split, row.label, row.subject) for row in rows] == [
        ("b.jpg", "train", "happy", "Ann"),
        ("a.jpg", "val", "angry", "Ben"),
        ("c.jpg", "train", "neutral", "Cem"),
    ]
    read = MUXSPACE.reader(look_alike, rows)
    assert [int(read(index).mean()) for index in range(3)] == pytest.approx([120, 20, 220], abs=2)


def test_people_of_train_are_divided_by_the_stated_rule(tmp_path: Path) -> None:
    MUXSPACE.look_alike(tmp_path, 2)
    parts = {
        split: MUXSPACE.samples(tmp_path, "muxspace_5", split, check=False)
        for split in ("train", "select", "val")
    }
    assert [len(part) for part in parts.values()] == [10, 10, 10]
    assert all(held_out(f"muxspace:{name}", 0.15) for name in parts["select"].subjects)
    assert not any(held_out(f"muxspace:{name}", 0.15) for name in parts["train"].subjects)


def test_a_person_in_both_splits_is_counted(look_alike: Path) -> None:
    table = look_alike / "labels.csv"
    table.write_text(table.read_text().replace("Ben", "Ann"))
    assert MUXSPACE.verify(look_alike, counts=False).shared_subjects == 1


def test_a_file_that_the_archive_lacks(look_alike: Path) -> None:
    with (look_alike / "labels.csv").open("a") as table:
        table.write("d.jpg,sad,train,Dan,y\n")
    (problem,) = MUXSPACE.verify(look_alike, counts=False).problems
    assert problem == "expected 'd.jpg' in images_112.zip, got no file of that name"
    with pytest.raises(DataError, match=r"expected 'd\.jpg'"):
        muxspace.rows(look_alike, "train")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Anger", "Gloom", "got 'Gloom'"),
        ("val", "dev", "expected the splits train, val in .* got dev"),
        ("identity", "who", r"not \{'identity'\}"),
    ],
)
def test_a_wrong_table_is_a_problem(old: str, new: str, message: str, look_alike: Path) -> None:
    table = look_alike / "labels.csv"
    table.write_text(table.read_text().replace(old, new))
    assert len(MUXSPACE.verify(look_alike).problems) == 1
    with pytest.raises(DataError, match=message):
        MUXSPACE.rows(look_alike)


def test_an_archive_that_is_none_is_a_problem(look_alike: Path) -> None:
    (look_alike / "images_112.zip").write_bytes(b"no archive")
    (problem,) = MUXSPACE.verify(look_alike, counts=False).problems
    assert "expected a zip archive" in problem


@pytest.mark.data
@pytest.mark.parametrize("split", ["train", "select", "val"])
def test_the_real_pictures_pass_the_protocol(split: str, muxspace_root: Path) -> None:
    samples = MUXSPACE.samples(muxspace_root, "muxspace_5", split)
    assert samples.counts == load_protocol("muxspace_5").splits[split].per_class
    assert samples.read(0).shape[:2] == (112, 112)
    if split == "val":
        assert min(samples.counts.values()) >= 50


@pytest.mark.data
def test_the_real_counts_are_the_expected_ones(muxspace_root: Path) -> None:
    assert not MUXSPACE._count_problems(MUXSPACE.rows(muxspace_root))
