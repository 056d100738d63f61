from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.datasets import muxspace
from mien.errors import DataNotFoundError, UnknownNameError

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
