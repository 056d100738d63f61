from __future__ import annotations

from pathlib import Path

import pytest

from mien.datasets import sfew
from mien.datasets.dataset import DATASETS
from mien.errors import DataError, DataNotFoundError
from mien.labels.expressions import canonical

DATA = DATASETS["sfew"]


def test_folders_are_classes_by_name(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    rows = DATA.rows(tmp_path)
    assert {row.id.split("/")[1]: row.label for row in rows if row.label} == {
        "Angry": "angry",
        "Disgust": "disgust",
        "Fear": "fear",
        "Happy": "happy",
        "Neutral": "neutral",
        "Sad": "sad",
        "Surprise": "surprise",
    }
    assert {row.id.split("/")[0] for row in rows if row.split == "val"} == {"Val"}
    assert {row.id.split("/")[0] for row in rows if row.split.startswith("train")} == {"Train"}


def test_the_look_alike_reads_and_stills_without_label_are_in_no_protocol(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    rows = DATA.rows(tmp_path)
    assert [row.label for row in rows if row.split == "test"] == [None, None]
    samples = DATA.samples(tmp_path, "sfew_7", "val", check=False)
    assert len(samples) == 14
    assert samples.framing == "photo"
    assert samples.read(0).shape == (144, 180, 3)
    assert samples.labels[samples.target[0]] == canonical(samples.ids[0].split("/")[1])


def test_the_test_folder_may_be_absent(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    with_test = DATA.rows(tmp_path)
    (tmp_path / "Test").rename(tmp_path / "elsewhere")
    assert DATA.rows(tmp_path) == [row for row in with_test if row.split != "test"]


@pytest.mark.parametrize("folder", ["Happiness", "contempt", "happy"])
def test_an_unknown_folder_is_named(folder: str, tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    (tmp_path / "Val" / folder).mkdir()
    with pytest.raises(DataError, match=rf"Val: expected the folders Angry, .*got \['{folder}'\]"):
        DATA.rows(tmp_path)


def test_missing_data_says_what_is_expected_and_where_to_apply(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        DATA.rows(tmp_path)
    for part in (str(tmp_path / "Train"), "ROOT/Val/Angry", "cs.anu.edu.au", "signed agreement"):
        assert part in str(caught.value)


def test_published_sums() -> None:
    assert (sum(sfew.TRAIN.values()), sum(sfew.VAL.values())) == (958, 436)
