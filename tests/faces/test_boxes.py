from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces.boxes import iou, non_maximum_suppression

whole_box = st.tuples(*[st.integers(0, 12)] * 4)


def pixels(box: tuple[int, ...]) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}


@given(st.lists(whole_box, min_size=1, max_size=5), st.lists(whole_box, min_size=1, max_size=5))
def test_iou_counts_pixels(first: list, second: list) -> None:
    found = iou(np.array(first), np.array(second))
    assert found.shape == (len(first), len(second))
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            both = pixels(one) | pixels(other)
            expected = len(pixels(one) & pixels(other)) / len(both) if both else 0
            assert found[row, column] == pytest.approx(expected)


def test_iou_worked_values() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
    assert iou(boxes[:1], boxes)[0] == pytest.approx([1, 1 / 3, 0, 1])


def test_iou_of_no_boxes() -> None:
    assert iou(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)


def suppressed_by_hand(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(iou(boxes[[index]], boxes[[other]])[0, 0] <= threshold for other in kept):
            kept.append(index)
    return kept


@given(st.integers(0, 40), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_suppression_against_brute_force(count: int, threshold: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 40, (count, 2))], 1)
    scores = random.integers(0, 12, count) / 12  # with ties
    kept = non_maximum_suppression(boxes, scores, threshold)
    assert kept.tolist() == suppressed_by_hand(boxes, scores, threshold)


def test_a_box_at_the_threshold_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10]])
    scores = np.array([0.5, 0.9])
    assert non_maximum_suppression(boxes, scores, 1 / 3).tolist() == [1, 0]
    assert non_maximum_suppression(boxes, scores, 0.333).tolist() == [1]


def test_suppression_of_nothing() -> None:
    kept = non_maximum_suppression(np.zeros((0, 4)), np.zeros(0), 0.3)
    assert kept.shape == (0,)
    assert kept.dtype.kind == "i"
