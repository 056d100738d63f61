from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import rafdb
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.errors import DataError, DataNotFoundError
from mien.labels.attributes import RAFDB_ATTRIBUTES
from mien.labels.expressions import COMPOUND_RAFDB, EXPRESSIONS

NAMES = ("rafdb", "rafdb_compound")


def write_list(root: Path, text: str) -> Path:
    path = root / "EmoLabel" / "list_patition_label.txt"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_numbers_are_classes_by_name_and_names_give_the_split(tmp_path: Path) -> None:
    write_list(
        tmp_path, "".join(f"train_0000{code}.jpg {code}\n" for code in range(1, 8)) + "test_0001.jpg 4\n"
    )
    rows = DATASETS["rafdb"].rows(tmp_path)
    assert [row.label for row in rows[:7]] == [
        "surprise",
        "fear",
        "disgust",
        "happy",
        "sad",
        "angry",
        "neutral",
    ]
    assert (rows[0].id, rows[0].split) == ("train_00001", "train")
    assert (rows[7].id, rows[7].split, rows[7].label) == ("test_0001", "test", "happy")


def test_compound_numbers_are_compound_classes(tmp_path: Path) -> None:
    write_list(tmp_path, "".join(f"test_{code:04d}.jpg {code}\n" for code in range(1, 12)))
    assert tuple(row.label for row in DATASETS["rafdb_compound"].rows(tmp_path)) == COMPOUND_RAFDB


@pytest.mark.parametrize("name", NAMES)
def test_a_look_alike_reads_from_the_whole_set_and_from_its_part(name: str, tmp_path: Path) -> None:
    data = DATASETS[name]
    data.look_alike(tmp_path)
    rows = data.rows(tmp_path)
    assert rows == data.rows(tmp_path / data.part)
    faces = [data.reader(root, rows)(3) for root in (tmp_path, tmp_path / data.part)]
    assert faces[0].shape == (100, 100, 3)
    assert np.array_equal(*faces)
    found = data.verify(tmp_path)
    assert found.duplicates == 0
    assert found.problems
    assert all("from memory" in problem for problem in found.problems if problem.startswith("expected"))


def test_manual_annotations_become_attributes(tmp_path: Path) -> None:
    data = DATASETS["rafdb"]
    data.look_alike(tmp_path)
    told = tmp_path / "basic" / "Annotation" / "manual" / "train_00002_manu_attri.txt"
    told.write_text("1.5\t2.5\n" * 5 + "1\n2\n4\n")
    (row,) = (row for row in data.rows(tmp_path) if row.id == "train_00002")
    found = {name: RAFDB_ATTRIBUTES[name][value] for name, value in row.extras.items()}
    assert found == {"gender": "female", "race": "asian", "age": "70+"}
    samples = data.samples(tmp_path, "rafdb_basic", "train", check=False)
    assert {name: values.dtype.kind for name, values in samples.extras.items()} == dict.fromkeys(found, "i")
    for text, said in (
        ("1 2\n" * 5 + "1\n2\n", "expected 5 lines of points, then gender, race, age, got '7 lines'"),
        ("1 2\n" * 5 + "1\n3\n4\n", "line 7: expected race from 0 to 2, got '3'"),
        ("1 2\n" * 5 + "female\n2\n4\n", "line 6: expected gender from 0 to 2, got 'female'"),
    ):
        told.write_text(text)
        with pytest.raises(DataError, match=said):
            data.rows(tmp_path)
    told.unlink()
    with pytest.raises(DataError, match="train_00002_manu_attri"):
        data.rows(tmp_path)
    shutil.rmtree(told.parent)
    assert all(not row.extras for row in data.rows(tmp_path))


def test_both_parts_lie_side_by_side(tmp_path: Path) -> None:
    for name in NAMES:
        DATASETS[name].look_alike(tmp_path)
    assert {row.label for row in DATASETS["rafdb"].rows(tmp_path)} == set(EXPRESSIONS[:7])
    assert {row.label for row in DATASETS["rafdb_compound"].rows(tmp_path)} == set(COMPOUND_RAFDB)


def test_published_sums() -> None:
    assert (sum(rafdb.TRAIN.values()), sum(rafdb.TEST.values())) == (12271, 3068)
    assert sum(rafdb.COMPOUND.values()) == 3954 == 3162 + 792
    assert set(rafdb.COMPOUND) == set(COMPOUND_RAFDB)
    assert load_protocol("rafdb_compound").splits["test"].pictures == 792
    assert load_protocol("rafdb_compound").labels == COMPOUND_RAFDB


def test_compound_counts_are_compared_over_both_splits(tmp_path: Path) -> None:
    lines = [
        f"{'test' if number % 5 == 0 else 'train'}_{code}{number:04d}.jpg {code}\n"
        for code, label in enumerate(COMPOUND_RAFDB, 1)
        for number in range(rafdb.COMPOUND[label])
    ]
    path = write_list(tmp_path, "".join(lines))
    data = DATASETS["rafdb_compound"]
    counted = [problem for problem in data.verify(tmp_path).problems if "pictures of" in problem]
    assert counted == []
    assert data.samples(tmp_path, "rafdb_compound", "test", check=False).labels == COMPOUND_RAFDB
    with pytest.raises(DataError, match="expected 792 pictures in 'test'"):
        data.samples(tmp_path, "rafdb_compound", "test")
    assert (
        sum(len(data.samples(tmp_path, "rafdb_compound", part)) for part in ("train", "train_held_out"))
        > 3000
    )
    path.write_text("".join(lines[1:]))
    with pytest.raises(DataError, match="expected 3954 pictures in 'all' of 'rafdb_compound'"):
        data.samples(tmp_path, "rafdb_compound", "train")
    counted = [problem for problem in data.verify(tmp_path).problems if "pictures of" in problem]
    assert len(counted) == 1
    assert "expected 697 pictures of 'happily_surprised' in 'all'" in counted[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train_00002.jpg 8", r"line 2: expected one of the codes 1 \(surprise\).*got '8'"),
        ("train_00002.jpg", r"line 2: expected a name and a class, such as 'train_00001\.jpg 5', got"),
        ("train_00002.jpg 3 4", "line 2: expected a name and a class"),
        ("valid_00002.jpg 3", "line 2: expected a name and a class"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    write_list(tmp_path, f"train_00001.jpg 1\n{line}\n")
    with pytest.raises(DataError, match=said):
        DATASETS["rafdb"].rows(tmp_path)


def test_missing_data_says_what_is_expected_and_where_to_apply(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        DATASETS["rafdb"].rows(tmp_path)
    for part in (
        str(tmp_path / "EmoLabel" / "list_patition_label.txt"),
        "Image/aligned",
        "whdeng.cn",
        "Licence",
    ):
        assert part in str(caught.value)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    data = DATASETS["rafdb"]
    data.look_alike(tmp_path)
    gone = tmp_path / "basic" / "Image" / "aligned" / "test_0003_aligned.jpg"
    gone.unlink()
    assert any(str(gone) in problem for problem in data.verify(tmp_path).problems)


def test_frozen_counts_are_checked(tmp_path: Path) -> None:
    DATASETS["rafdb"].look_alike(tmp_path)
    with pytest.raises(DataError, match="expected 3068 pictures in 'test'"):
        DATASETS["rafdb"].samples(tmp_path, "rafdb_basic", "test")
