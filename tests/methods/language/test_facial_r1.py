from __future__ import annotations

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.methods.language.facial_r1 import (
    FEA_20K,
    format_reward,
    group_advantages,
    label_reward,
    reward,
    unit_reward,
)

GOOD = "<think>AU1 and AU4 are there.</think>\n<answer>sadness</answer>"


def test_the_units_reward_is_f1_mapped_to_minus_one_to_one() -> None:
    assert unit_reward(GOOD, {1, 4, 12}) == pytest.approx(0.6)  # F1 0.8
    assert unit_reward(GOOD, [1, 4]) == 1
    assert unit_reward(GOOD, {9}) == -1
    assert unit_reward("no unit in sight", {1}) == -1
    assert unit_reward(GOOD, None) == unit_reward(GOOD, ()) == unit_reward("", None) == 0


def test_a_unit_counts_as_the_authors_expression_finds_it() -> None:
    assert unit_reward("The lip corner puller is there, AU 6 and au1 too.", {1, 6, 12}) == -1
    assert unit_reward("No AU4, but AU12.", {4, 12}) == 1
    assert unit_reward("AU12, and AU12 again; AU1+2", {12, 1}) == 1


def test_the_label_must_be_the_answer_to_the_letter() -> None:
    assert label_reward(GOOD, "sadness") == 1
    assert (
        label_reward(GOOD, "sad") == label_reward(GOOD, "Sadness") == label_reward("sadness", "sadness") == 0
    )
    assert label_reward(GOOD, None) == label_reward("", "") == 0.5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (GOOD, 1),
        (f"  {GOOD}\n", 1),
        ("AU1, sadness", 0),
        ("<answer>sadness</answer><think>AU1</think>", 0),
        ("<think>AU1</think>", 0),
        (f"Well: {GOOD}", 0),
        ("<think>a</think><think>b</think><answer>c</answer>", 0),
    ],
)
def test_the_format_is_thought_then_answer(text: str, value: int) -> None:
    assert format_reward(text) == value


def test_the_reward_is_the_sum() -> None:
    assert reward(GOOD, "sadness", {1, 4, 12}) == pytest.approx(2.6)
    assert reward("", "sadness", {1}) == -1


def test_advantages_stand_over_their_own_group() -> None:
    assert group_advantages(np.full(8, 0.1)).tolist() == [0] * 8
    groups = np.array([[0.0, 1, 2, 3], [5, 5, 5, 9]])
    found = group_advantages(groups)
    assert found.mean(1) == pytest.approx([0, 0]) and found.std(1) == pytest.approx([1, 1])
    assert found[1] == pytest.approx([-1 / 3**0.5] * 3 + [3**0.5])
    np.testing.assert_allclose(group_advantages(10 * groups + 3), found)
    for wrong in (np.float64(1), np.ones(1), np.array([1, np.nan])):
        with pytest.raises(ShapeError, match="expected finite rewards"):
            group_advantages(wrong)


def test_the_authors_set_has_its_size() -> None:
    assert sum(FEA_20K.values()) == 19_425
