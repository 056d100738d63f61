from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from mien.datasets.drawn import drawn_face, drawn_photo, save, stable_seed
from mien.errors import UnknownNameError
from mien.labels.expressions import COMPOUND_RAFDB, EXPRESSIONS


@pytest.mark.parametrize("name", (*EXPRESSIONS, *COMPOUND_RAFDB))
def test_a_face_has_the_size_and_is_the_same_for_the_same_seed(name: str) -> None:
    face = drawn_face(name, 40, seed=3)
    assert face.shape == (40, 40, 3)
    assert face.dtype == np.uint8
    assert np.array_equal(face, drawn_face(name, 40, seed=3))
    assert not np.array_equal(face, drawn_face(name, 40, seed=4))


def faces(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = [
        drawn_face(name, 32, 1000 * index + seed).mean(2).ravel() / 255
        for index, name in enumerate(EXPRESSIONS)
        for seed in range(first, last)
    ]
    return np.array(drawn), np.repeat(np.arange(len(EXPRESSIONS)), last - first)


def test_a_linear_model_learns_the_expressions_from_forty_faces_each() -> None:
    model = LogisticRegression(C=0.1, max_iter=300).fit(*faces(0, 40))
    assert model.score(*faces(40, 60)) > 0.9


def test_photos_hold_their_faces_where_they_are_said_to_be() -> None:
    plain = drawn_photo(120, 60, [], seed=1).astype(int)
    photo = drawn_photo(120, 60, [("happy", (70, 5, 40), 2)], seed=1).astype(int)
    changed = np.argwhere(np.abs(photo - plain).max(2) > 40)
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert (left >= 70, top >= 5, right < 110, bottom < 45) == (True,) * 4
    assert right - left > 20
    assert bottom - top > 30


def test_an_unknown_expression_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'happy'"):
        drawn_face("hapy", 32)


def test_seeds_differ_by_name_and_by_seed_but_not_by_run() -> None:
    assert len({stable_seed(0, "a"), stable_seed(0, "b"), stable_seed(1, "a")}) == 3
    assert stable_seed(0, "a") == 1947945454


def test_saving_makes_the_folders(tmp_path) -> None:
    save(tmp_path / "a" / "b.png", drawn_face("sad", 16))
    with Image.open(tmp_path / "a" / "b.png") as opened:
        assert opened.size == (16, 16)
