from __future__ import annotations

from pathlib import Path

import pytest

from mien.datasets import kdef
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.errors import DataError, DataNotFoundError

DATA = DATASETS["kdef"]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name[:4]).mkdir(exist_ok=True)
        (root / name[:4] / name).write_bytes(b"")
    return root


def test_names_give_session_person_class_and_view(tmp_path: Path) -> None:
    names = (
        "AF01AFFL.JPG",
        "AF01ANHL.JPG",
        "AF01DIS.JPG",
        "AM02HAHR.JPG",
        "BF01NEFR.JPG",
        "BF01SAS.JPG",
        "BM02SUS.JPG",
    )
    rows = DATA.rows(touch(tmp_path, *names))
    assert [row.label for row in rows] == ["fear", "angry", "disgust", "happy", "neutral", "sad", "surprise"]
    assert [row.extras["view_deg"] for row in rows] == [-90, -45, 0, 45, 90, 0, 0]
    assert [row.extras["session"] for row in rows] == [1, 1, 1, 1, 2, 2, 2]
    assert [row.subject for row in rows] == ["F01", "F01", "F01", "M02", "F01", "F01", "M02"]
    assert rows[0].id == "AF01/AF01AFFL.JPG"


def test_the_two_damaged_names_are_read(tmp_path: Path) -> None:
    rows = DATA.rows(touch(tmp_path, "AF31V.JPG", "AM31H.JPG"))
    assert [(row.subject, row.label, row.extras["view_deg"]) for row in rows] == [
        ("F31", "sad", -45),
        ("M31", "surprise", 45),
    ]


def test_the_frontal_protocol_takes_straight_views_of_both_sessions(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path, per_class=1)
    assert len(DATA.rows(tmp_path)) == 210
    samples = DATA.samples(tmp_path, "kdef_frontal", "test", check=False)
    assert set(samples.subjects) == {"F01"}
    assert samples.counts == dict.fromkeys(samples.labels, 2)
    assert set(samples.extras["view_deg"].tolist()) == {0}
    assert sorted(set(samples.extras["session"].tolist())) == [1, 2]
    assert samples.read(0).shape == (190, 140, 3)
    assert samples.framing == "photo"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("AF01FES.JPG", r"expected one of the codes AF \(fear\).*got 'FE'"),
        ("AF01ANX.JPG", r"expected a name such as 'AF01ANFL\.JPG' .*got 'AF01ANX\.JPG'"),
        ("CF01ANS.JPG", "expected a name such as"),
    ],
)
def test_a_bad_name_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        DATA.rows(touch(tmp_path, name))


@pytest.mark.parametrize("below", ["", "nowhere"])
def test_missing_data_says_what_is_expected_and_where_to_apply(below: str, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        DATA.rows(tmp_path / below)
    for part in (str(tmp_path), "ROOT/AF01/AF01ANFL.JPG", "kdef.se", "by request"):
        assert part in str(caught.value)


def test_published_sums() -> None:
    assert sum(kdef.WHOLE.values()) == 4900 == 70 * 7 * 5 * 2
    assert load_protocol("kdef_frontal").splits["all"].pictures == 980
