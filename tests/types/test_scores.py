from __future__ import annotations

import numpy as np
import pytest

from mien.errors import LabelError, ShapeError
from mien.types.scores import Scores

NAMES = ("sad", "happy", "fear")


def test_scores_keep_their_order() -> None:
    scores = Scores(NAMES, np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32))
    assert len(scores) == 2
    assert scores.top == ("happy", "sad")
    assert np.allclose(scores.confidence, [0.7, 0.5])
    assert np.allclose(scores["fear"], [0.2, 0.3])


@pytest.mark.parametrize(
    "values",
    [
        [[2.0, -1.0, 0.0]],
        [[0.0, 0.0, 0.0]],
        [[0.5, 0.5, 0.5]],
        [[5.0, 3.0, 1.0]],
        [[np.nan, 0.5, 0.5]],
        [[np.inf, 0.0, 0.0]],
        [[0.2, 0.3, 0.5], [0.2, 0.3, 0.6]],
    ],
)
def test_scores_refuse_what_are_no_probabilities(values: list[list[float]]) -> None:
    with pytest.raises(ShapeError, match="logits go through a softmax first"):
        Scores(NAMES, np.array(values, np.float32))


@pytest.mark.parametrize("shape", [(3,), (1, 2), (1, 4), (1, 1, 3), (0, 2)])
def test_scores_refuse_wrong_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected values of shape \(N, 3\) for 3 names"):
        Scores(NAMES, np.full(shape, 1 / 3))


@pytest.mark.parametrize("names", [(), ("sad", "sad", "fear")])
def test_scores_refuse_no_or_repeated_names(names: tuple[str, ...]) -> None:
    with pytest.raises(LabelError, match="expected distinct class names"):
        Scores(names, np.full((1, 3), 1 / 3))


def test_scores_refuse_an_unknown_class() -> None:
    with pytest.raises(LabelError, match="no class 'joy' among sad, happy, fear"):
        Scores(NAMES, np.full((1, 3), 1 / 3))["joy"]


def test_scores_of_no_face() -> None:
    scores = Scores(NAMES, np.zeros((0, 3), np.float32))
    assert len(scores) == 0
    assert scores.top == ()
    assert scores.confidence.shape == (0,)
    assert scores["sad"].shape == (0,)


def test_scores_cannot_be_changed() -> None:
    scores = Scores(NAMES, np.full((1, 3), 1 / 3))
    with pytest.raises(AttributeError):
        scores.names = ("a", "b", "c")  # type: ignore[misc]
