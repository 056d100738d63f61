from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.errors import LabelError, ShapeError
from mien.explain.human_likeness import (
    EXPECTED_UNITS,
    class_maps,
    distances,
    draw_dendrogram,
    expected_mask,
    highest,
    joined,
    likeness,
    ncc,
    to_dicts,
    to_markdown,
    to_mean_face,
)
from mien.transforms.shape68 import MEAN_FACE

RANDOM = np.random.default_rng(0)


def test_iou_is_1_on_equal_and_0_on_disjoint() -> None:
    mask = expected_mask("happy", 64)
    equal, disjoint = (likeness("net", {"happy": (one.astype(float), 3)})[0] for one in (mask, ~mask))
    assert (equal.iou, equal.precision, equal.recall, equal.f1) == (1, 1, 1, 1)
    assert equal.ncc == pytest.approx(1)
    assert (disjoint.iou, disjoint.f1) == (0, 0)
    assert disjoint.ncc == pytest.approx(-1)


def test_keeping_as_many_pixels_as_the_mask_makes_precision_recall_and_f1_equal() -> None:
    maps = {name: (RANDOM.random((48, 48)), 1) for name in EXPECTED_UNITS}
    for row in likeness("net", maps):
        assert row.precision == pytest.approx(row.recall) == pytest.approx(row.f1)
        assert row.iou == pytest.approx(row.f1 / (2 - row.f1))
    ties = np.ones((6, 6))
    assert highest(ties, 7).sum() == 7


def test_a_map_that_is_the_same_everywhere_has_no_figures() -> None:
    maps = {"happy": (np.zeros((48, 48)), 2), "sad": (expected_mask("sad", 48).astype(float), 1)}
    flat, told = rows = likeness("net", maps)
    figures = ("iou", "precision", "recall", "f1", "ncc")
    assert np.isnan([getattr(flat, name) for name in figures]).all() and told.iou == 1
    assert "| net | **mean** | 3 | **1.000** | **1.000** | **1.000** |" in to_markdown(rows)
    assert "**nan**" in to_markdown([flat])
    stored = json.loads(json.dumps(to_dicts(rows), allow_nan=False))
    assert all(stored[0][name] is None for name in figures) and stored[1]["iou"] == 1


def test_ncc_is_1_and_minus_1_and_knows_no_scale() -> None:
    one = RANDOM.random((8, 9))
    assert ncc(one, one) == pytest.approx(1)
    assert ncc(one, -one) == pytest.approx(-1)
    assert ncc(one, 5 * one + 3) == pytest.approx(1)
    assert np.isnan(ncc(one, np.ones((8, 9))))
    with pytest.raises(ShapeError, match="two maps of one shape"):
        ncc(one, one[1:])


def test_landmarks_go_to_the_mean_face() -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'mien[explain]'")
    side = 96
    face = (
        MEAN_FACE * 150 @ np.array([[0.97, 0.15], [-0.15, 0.97]]) + [60, 30] + RANDOM.normal(0, 0.8, (68, 2))
    )
    for point in (8, 19, 30, 37, 48, 57):
        y, x = np.mgrid[:260, :260] + 0.5
        heat = np.exp(-((x - face[point, 0]) ** 2 + (y - face[point, 1]) ** 2) / (2 * 2.0**2))
        moved = to_mean_face(heat, face, side)
        weight = np.where(moved > 0.7 * moved.max(), moved, 0)
        rows, columns = np.mgrid[:side, :side] + 0.5
        centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert np.abs(centre - MEAN_FACE[point] * side).max() < 1


def test_the_mean_face_itself_does_not_move() -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'mien[explain]'")
    heat = RANDOM.random((64, 64)).astype(np.float32)
    assert to_mean_face(heat, MEAN_FACE * 64, 64) == pytest.approx(heat, abs=1e-4)


def test_class_maps_are_means_of_what_was_right() -> None:
    heats = np.zeros((4, 8, 8), np.float32)
    heats[0, 0, 0], heats[1, 0, 0], heats[1, 7, 7], heats[2, 4, 4], heats[3] = 1, 1, 1, 1, 1
    found = class_maps(heats, ["happy", "happy", "happy", "sad"], ["happy", "happy", "sad", "sad"], side_px=8)
    heat, count = found["happy"]
    assert count == 2
    assert (heat[0, 0], heat[7, 7], heat[4, 4]) == (1, 0.5, 0)
    assert found["sad"][0].max() == 0
    assert set(found) == {"happy", "sad"}
    everything = class_maps(heats, ["happy"] * 3 + ["sad"], None, side_px=8)
    assert everything["happy"][1] == 3


def test_classes_without_a_mask_are_refused() -> None:
    with pytest.raises(LabelError, match="expected an expression of angry"):
        expected_mask("neutral", 64)


def networks() -> dict[str, dict[str, tuple[np.ndarray, int]]]:
    base = {name: (RANDOM.random((16, 16)), 5) for name in ("happy", "sad")}
    near = {name: (heat + 0.2 * RANDOM.random((16, 16)), 5) for name, (heat, _) in base.items()}
    far = {name: (RANDOM.random((16, 16)), 5) for name in ("happy", "surprise")}
    return {"far": far, "one": base, "near": near, "twin": base}


def test_duplicate_networks_are_joined_first(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'mien[explain]'")
    distance = distances(networks())
    assert np.array_equal(distance, distance.T)
    assert distance[1, 3] == pytest.approx(0)
    tree = joined(distance)
    assert set(tree[0, :2]) == {1, 3}
    assert tree[0, 2] == pytest.approx(0, abs=1e-9)
    assert set(tree[1, :2]) == {2, 4}
    assert tree[1, 2] == pytest.approx((distance[2, 1] + distance[2, 3]) / 2)  # average linkage
    pytest.importorskip("matplotlib")
    draw_dendrogram(distance, list(networks()), tmp_path / "tree.png")
    assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ShapeError, match="at least 2 networks"):
        joined(np.zeros((1, 1)))


def test_networks_without_a_common_class_cannot_be_compared() -> None:
    apart = {"a": {"happy": (RANDOM.random((4, 4)), 1)}, "b": {"sad": (RANDOM.random((4, 4)), 1)}}
    with pytest.raises(ShapeError, match="'b' and 'a' both have a map for, got none"):
        distances(apart)


def test_the_table_has_each_class_and_the_mean() -> None:
    rows = likeness("net", {name: (RANDOM.random((32, 32)), 2) for name in ("happy", "sad")})
    text = to_markdown(rows)
    assert "| net | happy | 2 |" in text
    assert f"**{np.mean([row.iou for row in rows]):.3f}**" in text
