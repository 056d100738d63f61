from __future__ import annotations

import numpy as np
import pytest

from mien.datasets.dataset import DATASETS
from mien.errors import DataError, ShapeError
from mien.methods.micro import flow_kernel
from mien.methods.micro.flow_kernel import Choice, fit, levelled, mirrored, slopes, smoothed, squares

ONE = Choice("both", 1.0, 1.0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps, labels and people of a look-alike."""
    root = tmp_path_factory.mktemp("maps")
    data = DATASETS["htnet_micro"]
    data.look_alike(root, per_class=2)
    samples = data.samples(root, "htnet_micro_3", "all", check=False)
    maps = np.stack([samples.read(row) for row in range(len(samples))])
    return maps, samples.target, np.array(samples.subjects)


def test_a_mirror_turns_sides_and_the_sign_of_u() -> None:
    maps = np.zeros((1, 28, 28, 3), np.uint8)
    maps[0, 4, 2] = (10, 20, 30)
    turned = mirrored(maps)
    assert turned[0, 4, 25].tolist() == [245, 20, 30]
    assert np.array_equal(mirrored(turned), maps)


def test_levels_do_not_depend_on_how_a_picture_was_stretched() -> None:
    random = np.random.default_rng(0)
    maps = random.integers(50, 200, (2, 28, 28, 3)).astype(np.float32)
    other = maps.copy()
    other[..., :2] = 0.5 * other[..., :2] + 17
    other[..., 2] *= 0.5
    assert levelled(other) == pytest.approx(levelled(maps), abs=1e-4)
    assert np.median(levelled(maps)[..., :2], (1, 2)) == pytest.approx(0, abs=1e-5)


def test_smoothing_keeps_what_is_even_and_spreads_what_is_not() -> None:
    assert smoothed(np.ones((1, 28, 28, 3), np.float32), 2.0) == pytest.approx(1)
    point = np.zeros((1, 28, 28, 3), np.float32)
    point[0, 14, 14] = 1
    spread = smoothed(point, 2.0)[0, ..., 0]
    assert spread.argmax() == 14 * 28 + 14
    assert spread[14, 16] / spread[14, 14] == pytest.approx(np.exp(-0.5), rel=1e-3)


def test_slopes_tell_stretching_from_turning_and_a_shift_from_neither() -> None:
    x = np.broadcast_to(np.arange(28, dtype=np.float32), (28, 28))
    waves = np.sin(x / 4)
    told = slopes(np.stack([waves, 0 * x, 0 * x], -1)[None], 0.5)[0]
    assert np.abs(told[..., 0]).max() > 1  # u_x
    assert np.abs(told[..., 1:]).max() < 1e-3  # u does not change along y, and v moves nowhere
    shifted = slopes(np.stack([waves + 5, 0 * x, 0 * x], -1)[None], 0.5)[0]
    assert shifted[4:-4, 4:-4] == pytest.approx(told[4:-4, 4:-4], abs=1e-4)


def test_a_clip_and_its_mirror_get_the_same_scores(drawn: tuple[np.ndarray, ...]) -> None:
    maps, labels, people = drawn
    model = fit(squares(maps, maps), labels, people, 3, [ONE])
    plain, turned = (model.scores(squares(some, maps)) for some in (maps[:5], mirrored(maps[:5])))
    assert turned == pytest.approx(plain, abs=1e-6)


def test_left_out_scores_are_those_of_a_fit_without_the_person(drawn: tuple[np.ndarray, ...]) -> None:
    """The closed form against taking the person out, with the same kernel, its scale and weights."""
    maps, labels, people = drawn
    apart = squares(maps, maps)
    values = flow_kernel.kernel(apart, "both", flow_kernel.median_squares(apart))
    fast = flow_kernel.left_out_scores(values, labels, people, 3, 0.3, 1.0)
    weights = flow_kernel.class_weights(labels, 3, 1.0)
    scaled = values / (np.diag(values).mean() - values.mean()) + flow_kernel.CONSTANT
    for person in np.unique(people)[:3]:
        rest, own = np.flatnonzero(people != person), np.flatnonzero(people == person)
        loaded = scaled[np.ix_(rest, rest)] + np.diag(0.3 / weights[rest])
        slow = scaled[np.ix_(own, rest)] @ np.linalg.solve(loaded, np.eye(3)[labels[rest]] - 1 / 3) + 1 / 3
        assert fast[own] == pytest.approx(slow, abs=1e-8)


def test_it_learns_the_drawn_classes_on_people_it_has_not_seen(drawn: tuple[np.ndarray, ...]) -> None:
    maps, labels, people = drawn
    apart = squares(maps, maps)
    tested = np.isin(people, np.unique(people)[:4])
    train = np.flatnonzero(~tested)
    among = {name: values[:, train][:, :, train] for name, values in apart.items()}
    model = fit(among, labels[train], people[train], 3)
    scores = model.scores({name: values[:, tested][:, :, train] for name, values in apart.items()})
    assert (scores.argmax(1) == labels[tested]).mean() > 0.9
    assert model.tried[model.choice] == max(model.tried.values())
    assert len(model.tried) == len(flow_kernel.CHOICES)


def test_shuffled_labels_teach_nothing(drawn: tuple[np.ndarray, ...]) -> None:
    maps, labels, people = drawn
    shuffled = np.random.default_rng(0).permutation(labels)
    apart = squares(maps, maps)
    values = flow_kernel.kernel(apart, "both", flow_kernel.median_squares(apart))
    scores = flow_kernel.left_out_scores(values, shuffled, people, 3, 1.0, 1.0)
    assert (scores.argmax(1) == shuffled).mean() < 0.55


def test_bad_input_is_refused(drawn: tuple[np.ndarray, ...]) -> None:
    maps, labels, _ = drawn
    with pytest.raises(ShapeError, match=r"expected flow pictures \(N, S, S, 3\), got \(2, 28, 28\)"):
        levelled(np.zeros((2, 28, 28)))
    with pytest.raises(DataError, match="at least two people"):
        fit(squares(maps[:6], maps[:6]), labels[:6], ["one"] * 6, 3)
