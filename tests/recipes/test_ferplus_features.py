from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="recipes need onnx: pip install 'mien[train]'")

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.engine.cues import load_points, with_cues
from mien.engine.pictures import prepare
from mien.errors import DataError
from mien.methods.runner import ExpressionRunner
from mien.recipes.ferplus_features import MapRunner, drawn_rows, load_units, seen, write_units
from mien.types.mesh import BLENDSHAPES, MESH_POINTS, Mesh
from mien.weights.store import load_weights


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ferplus")
    DATASETS["ferplus"].look_alike(folder, per_class=2)
    return folder


def test_the_maps_mean_gives_the_shipped_logits_through_its_last_layer() -> None:
    import onnx
    from onnx import numpy_helper

    weights = load_weights("expression")
    size = weights.preprocess.size_px
    crops = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    logits, maps = MapRunner(weights, 1).maps(crops)
    np.testing.assert_allclose(logits, ExpressionRunner(weights, 1).logits(crops), atol=1e-5)
    assert maps.shape == (3, (size // 16) ** 2, 1024)
    stored = {
        tensor.name.removesuffix("_half"): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in onnx.load_from_string(weights.content).graph.initializer
    }
    expected = maps.mean(1) @ stored["network.head.weight"].T + stored["network.head.bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_pictures_are_drawn_with_equal_classes_as_far_as_there_are() -> None:
    truth = np.array([0] * 50 + [1] * 20 + [2] * 3 + [-1] * 5)
    rows = drawn_rows(truth, 23, seed=1)
    assert np.bincount(truth[rows]).tolist() == [10, 10, 3]
    assert np.array_equal(rows, np.unique(rows))
    assert np.array_equal(rows, drawn_rows(truth, 23, seed=1))
    assert not np.array_equal(rows, drawn_rows(truth, 23, seed=2))
    assert drawn_rows(truth, None, seed=0).tolist() == list(range(73))
    with pytest.raises(DataError, match="expected from 1 to 73 pictures, got 74"):
        drawn_rows(truth, 74, seed=0)


def test_features_are_cut_once_and_kept(root: Path, tmp_path: Path) -> None:
    first = seen(root, "train", tmp_path, count=6, quiet=True)
    assert first.tokens.shape == (6, 16, 1024) and first.tokens.dtype == np.float16
    (stored,) = tmp_path.glob("train-*.npz")
    written = stored.stat().st_mtime_ns
    again = seen(root, "train", tmp_path, count=6, quiet=True)
    assert stored.stat().st_mtime_ns == written
    assert np.array_equal(first.tokens, again.tokens) and np.array_equal(first.answers, again.answers)
    pooled = seen(root, "train", tmp_path, count=6, pooled=True, quiet=True)
    np.testing.assert_allclose(pooled.tokens[:, 0], first.tokens.astype(np.float32).mean(1), atol=2e-2)
    other = seen(root, "train", tmp_path, count=6, balanced=False, quiet=True)
    assert len(other) == 6 and (other.truth >= 0).all()


def test_units_go_with_the_splits_rows(tmp_path: Path) -> None:
    path = tmp_path / "units.npz"
    values = np.array([[0, 1], [2, np.nan], [4, 5]], np.float32)
    np.savez(path, units=[4, 12], train=values)
    found = load_units(path, "train", np.array([2, 1]), 3)
    assert found.units == (4, 12) and found.scale == "intensity"
    np.testing.assert_array_equal(found.values, values[[2, 1]])
    with pytest.raises(DataError, match=r"expected train of shape \(4, 2\)"):
        load_units(path, "train", np.array([0]), 4)
    with pytest.raises(DataError, match="expected an npz file with `units` and `public_test`"):
        load_units(path, "public_test", np.array([0]), 3)


class EveryOther:
    """A mesh reader that reads every other picture: its points lie around the middle of the face's own."""

    def __init__(self, threads: int = 0) -> None:
        pass

    def read_each(self, images: np.ndarray, landmarks_xy_px: np.ndarray, quiet: bool = True) -> Mesh:
        count = len(images)
        spread = np.random.default_rng(0).normal(0, 8, (1, MESH_POINTS, 3))
        middle = np.concatenate([landmarks_xy_px.mean(1), np.zeros((count, 1))], 1)[:, None]
        points = (middle + spread).astype(np.float32)
        points[1::2] = np.nan
        return Mesh(
            points,
            np.ones(count, np.float32),
            np.zeros((count, len(BLENDSHAPES)), np.float32),
            np.zeros((count, 3), np.float32),
            np.zeros((count, 3), np.float32),
            tuple("too small" if place % 2 else "" for place in range(count)),
        )


def test_measured_units_and_points_are_read_back(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.recipes.ferplus_features.FaceMesh", EveryOther)
    write_units(root, tmp_path / "units.npz", tmp_path / "points.npz")
    protocol = load_protocol("ferplus_majority_8")
    for split in (protocol.train, protocol.test):
        samples = DATASETS["ferplus"].samples(root, protocol, split, check=False)
        with np.load(root / f"{split}.npz") as stored:
            count = len(stored["images"])
        assert len(load_units(tmp_path / "units.npz", split, range(count), count).values) == count
        pictures = prepare(samples, "mien_face_v1", 64)
        points = load_points(tmp_path / "points.npz")
        cues = with_cues(pictures, protocol.labels, points).cues
        assert cues is not None
        cued = {name for name, row in zip(pictures.ids, cues.rows.tolist(), strict=True) if row >= 0}
        assert cued and cued <= set(points) and not set(pictures.ids) <= set(points)
