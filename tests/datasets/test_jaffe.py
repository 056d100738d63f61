from __future__ import annotations

from pathlib import Path

import pytest

from mien.datasets import jaffe
from mien.datasets.dataset import DATASETS
from mien.errors import DataError, DataNotFoundError

DATA = DATASETS["jaffe"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("jaffe")
    DATA.look_alike(root, per_class=1)
    return root


def test_names_give_woman_and_class(root: Path) -> None:
    rows = DATA.rows(root)
    assert len(rows) == 70
    seen = {row.id.split(".")[1][:2]: row.label for row in rows}
    assert seen == {
        "AN": "angry",
        "DI": "disgust",
        "FE": "fear",
        "HA": "happy",
        "NE": "neutral",
        "SA": "sad",
        "SU": "surprise",
    }
    assert all(row.subject == row.id[:2] for row in rows)
    assert len({row.subject for row in rows}) == 10


def test_portraits_are_grey(root: Path) -> None:
    assert DATA.reader(root, DATA.rows(root))(0).shape == (256, 256)


def test_each_fold_leaves_one_woman_out(root: Path) -> None:
    tested = [DATA.samples(root, "jaffe_loso", "test", fold, check=False) for fold in range(10)]
    assert tuple(set(part.subjects) for part in tested) == tuple({woman} for woman in jaffe.WOMEN)
    assert len(set(DATA.samples(root, "jaffe_loso", "train", 0, check=False).subjects)) == 8


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("KA.XX1.39.tiff", r"KA\.XX1\.39\.tiff: expected one of the codes AN \(angry\).*got 'XX'"),
        ("KA-AN1.tiff", r"expected a name such as 'KA\.AN1\.39\.tiff', got 'KA-AN1\.tiff'"),
        ("QQ.AN1.39.tiff", r"expected one of the women KA, KL, .*got 'QQ'"),
    ],
)
def test_a_bad_name_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "KA.AN1.39.tiff").write_bytes(b"")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=said):
        DATA.rows(tmp_path)


def test_other_files_are_no_portraits_and_the_folder_may_lie_deeper(root: Path, tmp_path: Path) -> None:
    (tmp_path / "jaffe").mkdir()
    (tmp_path / "jaffe" / "README.txt").write_text("")
    name = "KA.AN1.1.tiff"
    (tmp_path / "jaffe" / name).write_bytes((root / name).read_bytes())
    rows = DATA.rows(tmp_path)
    assert [row.id for row in rows] == [name]
    assert DATA.reader(tmp_path, rows)(0).shape == (256, 256)


def test_missing_data_says_what_is_expected_and_where_to_apply(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        DATA.rows(tmp_path)
    for part in (str(tmp_path), "KA.AN1.39.tiff", "zenodo.org/record/3451524", "no redistribution"):
        assert part in str(caught.value)


def test_published_sum() -> None:
    assert sum(jaffe.WHOLE.values()) == 213
