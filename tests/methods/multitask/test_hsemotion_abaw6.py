from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import LabelError, ShapeError  # noqa: E402
from mien.methods.multitask import hsemotion_abaw6 as abaw6  # noqa: E402
from mien.methods.multitask.hsemotion import HSEMOTION_LABELS, affect_loss  # noqa: E402


def test_the_map_to_abaws_order_is_a_permutation_by_name() -> None:
    assert sorted(abaw6.TO_ABAW) == list(range(8))
    moved = [HSEMOTION_LABELS[index] for index in abaw6.TO_ABAW]
    assert moved[:7] == list(abaw6.ABAW_ORDER[:7])
    assert (moved[7], abaw6.ABAW_ORDER[7]) == ("contempt", "other")


def test_compound_pairs_as_the_notebook_numbers_them() -> None:
    pairs = [[HSEMOTION_LABELS.index(name) for name in pair] for pair in abaw6.COMPOUND.values()]
    assert pairs == [[3, 7], [4, 7], [6, 7], [2, 7], [0, 7], [6, 3], [6, 0]]


def test_compound_scores_are_means_and_do_not_depend_on_the_order() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(8), 5)
    found = abaw6.compound_scores(probabilities, HSEMOTION_LABELS)
    assert found.shape == (5, 7)
    np.testing.assert_allclose(found[:, 1], (probabilities[:, 4] + probabilities[:, 7]) / 2)
    other = tuple(reversed(HSEMOTION_LABELS))
    np.testing.assert_allclose(abaw6.compound_scores(probabilities[:, ::-1], other), found)
    with pytest.raises(LabelError, match="expected classes with fear, got"):
        abaw6.compound_scores(probabilities[:, :2], ("happy", "surprise", "sad", "disgust", "angry"))


def test_smoothing_is_a_mean_over_the_frames_that_exist() -> None:
    values = np.random.default_rng(1).normal(size=(9, 3))
    assert np.array_equal(abaw6.smooth_frames(values, 0), values)
    for delta in (1, 2, 100):
        expected = [values[max(t - delta, 0) : t + delta + 1].mean(0) for t in range(9)]
        np.testing.assert_allclose(abaw6.smooth_frames(values, delta), expected)
    with pytest.raises(ShapeError, match="delta of at least 0"):
        abaw6.smooth_frames(values, -1)


def test_gaps_lie_on_the_line_between_their_neighbours() -> None:
    nan = np.nan
    values = np.array([[nan, nan], [0.0, 1.0], [nan, nan], [nan, nan], [0.9, 0.4], [nan, nan]])
    expected = [[0, 1], [0, 1], [0.3, 0.8], [0.6, 0.6], [0.9, 0.4], [0.9, 0.4]]
    np.testing.assert_allclose(abaw6.fill_frames(values), expected)
    with pytest.raises(ShapeError, match="at least one known frame"):
        abaw6.fill_frames(np.full((3, 2), nan))


def test_class_weights_have_1_for_the_most_frequent() -> None:
    np.testing.assert_allclose(abaw6.class_weights(np.array([100, 50, 10])), [1, 2, 10])
    with pytest.raises(ShapeError, match="positive"):
        abaw6.class_weights(np.array([3, 0]))


def test_heads_give_what_they_say_and_learn() -> None:
    torch.manual_seed(0)
    features, scores = torch.randn(64, 32), torch.randn(64, 10)
    assert abaw6.expression_head(32)(features).shape == (64, 8)
    assert abaw6.action_unit_head(32)(features).shape == (64, 12)
    head, true = abaw6.affect_head(), torch.tanh(scores[:, :2] - scores[:, 2:4])
    assert head(scores).abs().max() < 1
    before = affect_loss(head(scores), true).item()
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(40):
        loss = affect_loss(head(scores), true)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.3 * before
