from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.datasets import expw
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.errors import DataError, DataNotFoundError

DATA = DATASETS["expw"]


def test_numbers_are_classes_by_name(tmp_path: Path) -> None:
    (tmp_path / "label.lst").write_text(
        "".join(f"a_{code}.jpg {code} 1 2 30 40 60.5 {code}\n" for code in range(7))
    )
    rows = DATA.rows(tmp_path)
    assert [row.label for row in rows] == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert rows[3].id == "a_3.jpg#3"
    assert rows[3].extras == {"face_box_xyxy_px": (2, 1, 30, 40), "face_confidence": 60.5}


def test_the_face_is_cut_at_its_box_with_a_margin(tmp_path: Path) -> None:
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[30:50, 60:100] = 255
    (tmp_path / "origin").mkdir()
    Image.fromarray(photo).save(tmp_path / "origin" / "a.png")
    (tmp_path / "label").mkdir()
    (tmp_path / "label" / "label.lst").write_text("a.png 0 30 60 100 50 70 3\n")
    face = DATA.reader(tmp_path, DATA.rows(tmp_path))(0)
    assert face.shape == (20 + 2 * 3, 40 + 2 * 6, 3)
    assert (face[3:-3, 6:-6] == 255).all()
    assert face.sum() == 3 * 255 * 20 * 40


def test_a_look_alike_reads_and_every_split_holds_every_class(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    protocol = load_protocol("expw_7")
    parts = [DATA.samples(tmp_path, protocol, split, check=False) for split in DATA.splits]
    assert (protocol.train, protocol.select, protocol.test) == DATA.splits
    for part in parts:
        assert part.counts == dict.fromkeys(protocol.labels, 2)
        assert part.read(0).shape == (104, 102, 3)
    photos = [{id.rpartition("#")[0] for id in part.ids} for part in parts]
    assert len(set.union(*photos)) == sum(len(names) for names in photos)
    assert max(sum(id.startswith(f"{name}#") for id in parts[0].ids) for name in photos[0]) == 2


def test_the_split_is_stable_and_has_its_shares() -> None:
    found = defaultdict(int)
    for number in range(5000):
        found[expw.split_of(f"happy_{number}.jpg")] += 1
    assert found["test"] / 5000 == pytest.approx(0.17, abs=0.02)
    assert found["val"] / 5000 == pytest.approx(0.08, abs=0.02)
    # Frozen: a change here makes another split of the same name.
    assert " ".join(expw.split_of(f"{number}.jpg") for number in range(12)) == FROZEN


FROZEN = "train val train train train train test train train train train train"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.jpg 0 1 2 30 40 60 7", r"line 2: expected one of the codes 0 \(angry\).*got '7'"),
        ("a.jpg 0 1 2 30 40 3", "line 2: expected 8 columns"),
        ("a.jpg 0 1 x 30 40 60 3", "line 2: expected numbers for the box"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "label.lst").write_text(f"b.jpg 0 1 2 30 40 60 3\n{line}\n")
    with pytest.raises(DataError, match=said):
        DATA.rows(tmp_path)


def test_a_box_outside_its_picture_is_named(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path, per_class=1)
    listed = tmp_path / "label.lst"
    name = listed.read_text().split()[0]
    listed.write_text(f"{name} 0 500 500 600 600 60 3\n")
    with pytest.raises(DataError, match=rf"expected a face box inside .*{name} \(200 x 110 pixels\)"):
        DATA.reader(tmp_path, DATA.rows(tmp_path))(0)


def test_missing_data_says_what_is_expected_and_where_to_apply(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        DATA.rows(tmp_path)
    for part in (str(tmp_path / "label.lst"), "face_id top left right bottom", "mmlab.ie.cuhk.edu.hk"):
        assert part in str(caught.value)


def test_published_sum_and_the_counts_are_compared_over_our_splits(tmp_path: Path) -> None:
    assert sum(expw.WHOLE.values()) == 91793 == load_protocol("expw_7").splits["all"].pictures
    assert dict(load_protocol("expw_7").splits["all"].per_class) == expw.WHOLE
    DATA.look_alike(tmp_path)
    with pytest.raises(DataError, match=r"expected 91793 pictures in 'all' of 'expw_7' .*got 42\. Run `mien"):
        DATA.samples(tmp_path, "expw_7", "test")
    assert any(
        problem == "expected 30537 pictures of 'happy' in 'all' (from memory), got 6"
        for problem in DATA.verify(tmp_path).problems
    )
