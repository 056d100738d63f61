from __future__ import annotations

import numpy as np
import pytest

from mien.errors import LabelError, ShapeError
from mien.labels.action_units import ACTION_UNITS
from mien.labels.expressions import EXPRESSIONS
from mien.transforms.au_cues import CODEBOOK, REPOSITORY, expression_map, unit_map
from mien.transforms.shape68 import MEAN_FACE, MIRRORED

FACE = MEAN_FACE * 224
SIZE = (224, 224)


def test_the_codebook_has_the_authors_sizes() -> None:
    assert [len(CODEBOOK[name]) for name in ("angry", "disgust", "fear", "happy", "sad", "surprise")] == [
        9, 6, 8, 3, 5, 5,
    ]  # fmt: skip
    assert set(CODEBOOK) < set(EXPRESSIONS)


def test_the_codebook_is_the_authors_by_their_own_numbers() -> None:
    theirs = {
        "angry": (2, 3, 5, 7, 11, 13, 14, 15, 16),
        "disgust": (3, 6, 11, 15, 16, 19),
        "fear": (0, 1, 2, 3, 12, 15, 16, 18),
        "happy": (4, 8, 15),
        "sad": (0, 2, 4, 10, 11),
        "surprise": (0, 1, 3, 16, 18),
    }
    for name, numbers in theirs.items():
        assert set(CODEBOOK[name]) == {REPOSITORY[number] for number in numbers}


def test_numbers_are_facs_numbers_with_their_names() -> None:
    assert len(set(REPOSITORY)) == 20
    names = [ACTION_UNITS[number] for number in REPOSITORY]
    assert names[:4] == ["inner brow raiser", "outer brow raiser", "brow lowerer", "upper lid raiser"]
    assert (names[8], names[15], names[17], names[19]) == (
        "lip corner puller", "lips part", "eyes closed", "lower lip depressor",
    )  # fmt: skip


@pytest.mark.parametrize("unit", REPOSITORY)
def test_each_unit_has_a_map_that_is_the_same_on_both_sides(unit: int) -> None:
    heat = unit_map(unit, FACE, SIZE)
    assert heat is not None
    assert set(np.unique(heat)) == {0, 1}
    assert 0.001 < heat.mean() < 0.15
    other = FACE * [1.05, 0.95] + [4, 9]
    other[:, 0] += 0.02 * other[:, 1]  # a face that is not symmetric
    mirrored = (other * [-1, 1] + [224, 0])[MIRRORED]
    away = unit_map(unit, mirrored, SIZE) != unit_map(unit, other, SIZE)[:, ::-1]
    assert away.mean() < 1e-4  # a pixel on an ellipse may fall to either side


def test_units_lie_where_they_show() -> None:
    def centre(unit: int) -> float:
        return float(np.average(np.arange(224) + 0.5, weights=unit_map(unit, FACE, SIZE).sum(1)))

    assert centre(1) < centre(5) < centre(9) < centre(12) < centre(17)
    assert centre(6) == pytest.approx(FACE[41, 1] + 224 / 6, abs=5)
    smile = unit_map(12, FACE, SIZE)
    for point in (48, 54):
        assert smile[int(FACE[point, 1]), int(FACE[point, 0])] == 1
    assert smile[int(FACE[57, 1]), int(FACE[57, 0])] == 0


def test_a_map_follows_the_face_and_not_the_picture() -> None:
    """Half the face, half the map; the picture around it does not matter."""
    whole = unit_map(12, FACE, SIZE)
    half = unit_map(12, FACE / 2, (112, 112))
    assert half.sum() == pytest.approx(whole.sum() / 4, rel=0.03)
    wide = unit_map(12, FACE + np.array([100, 50]), (300, 400))
    assert np.array_equal(wide[50:274, 100:324], whole)


@pytest.mark.parametrize("name", CODEBOOK)
def test_the_map_of_an_expression_ends_at_1(name: str) -> None:
    heat = expression_map(name, FACE, SIZE)
    assert heat.max() == 1
    assert heat.min() == 0
    assert heat.dtype == np.float32
    for unit in CODEBOOK[name]:
        assert heat[unit_map(unit, FACE, SIZE) > 0].min() > 0
    small = expression_map(name, MEAN_FACE * 28, (28, 28))
    assert small.max() == 1


def test_each_units_map_is_softened_before_the_largest_is_taken() -> None:
    """As the repository does; two units side by side keep the dip between them."""
    heat = expression_map("angry", FACE, SIZE)
    softened = []
    for unit in CODEBOOK["angry"]:
        padded = np.pad(unit_map(unit, FACE, SIZE).astype(float), 1, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        softened.append(windows.mean((2, 3)))
    expected = np.maximum.reduce(softened)
    np.testing.assert_allclose(heat, expected / expected.max(), atol=1e-6)


def test_without_units_or_without_a_pixel_there_is_no_map() -> None:
    assert expression_map("neutral", FACE, SIZE) is None
    assert expression_map("contempt", FACE, SIZE) is None
    assert unit_map(12, FACE + 1000, SIZE) is None
    assert expression_map("happy", FACE + 1000, SIZE) is None


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(LabelError, match=r"a unit with a place, AU1, .* got AU45"):
        unit_map("AU45", FACE, SIZE)
    with pytest.raises(LabelError, match=r"an expression of neutral, .* got 'joy'"):
        expression_map("joy", FACE, SIZE)
    with pytest.raises(ShapeError, match="68 finite points"):
        unit_map(12, FACE[:5], SIZE)
