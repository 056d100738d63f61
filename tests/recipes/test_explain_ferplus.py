"""The commands that measure explanations, on the data set's drawn look-alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from safetensors.torch import save_file  # noqa: E402

from mien.datasets.dataset import DATASETS  # noqa: E402
from mien.datasets.protocol import load_protocol  # noqa: E402
from mien.datasets.samples import Samples  # noqa: E402
from mien.engine.recipe import RECIPES, override  # noqa: E402
from mien.errors import OptionError  # noqa: E402
from mien.methods.method import create  # noqa: E402
from mien.methods.runner import ExpressionRunner  # noqa: E402
from mien.recipes import au_cue_compare, explain_ferplus  # noqa: E402
from mien.weights.store import load_weights  # noqa: E402


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ferplus")
    DATASETS["ferplus"].look_alike(folder, per_class=3)
    return folder


@pytest.fixture(scope="module")
def samples(root: Path) -> Samples:
    return DATASETS["ferplus"].samples(root, load_protocol("ferplus_majority_8"), "private_test", check=False)


def test_rows_are_drawn_evenly_over_classes_by_the_seed(samples: Samples) -> None:
    rows = explain_ferplus.chosen_rows(samples, 16, 0)
    assert np.bincount(samples.target[rows], minlength=8).tolist() == [2] * 8
    assert rows == explain_ferplus.chosen_rows(samples, 16, 0)
    assert rows != explain_ferplus.chosen_rows(samples, 16, 1)
    assert len(explain_ferplus.chosen_rows(samples, 10_000, 0)) == len(samples)


def test_the_shipped_network_answers_as_its_file_does() -> None:
    model = explain_ferplus.load_model("shipped")
    crops = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    with torch.no_grad():
        found = model.task.network((torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128)
    expected = ExpressionRunner(load_weights("expression"), 1).logits(crops)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_models_are_told_in_three_ways(tmp_path: Path) -> None:
    one, same, other = (
        explain_ferplus.load_model(f"random:multitask_cnn{seed}") for seed in ("", ":0", ":1")
    )
    first, second, third = (model.task.network.head.weight for model in (one, same, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert (one.random, same.random, other.random) == (0, 0, 1)
    path = tmp_path / "weights.safetensors"
    save_file(create("multitask_cnn", 8).state_dict(), path, metadata={"size": "48"})
    stored = explain_ferplus.load_model(f"multitask_cnn={path}")
    assert stored.preprocess.size_px == 48
    assert stored.random is None
    with pytest.raises(
        OptionError, match=r"a run's folder, shipped, METHOD=FILE\.safetensors or random:METHOD"
    ):
        explain_ferplus.load_model(str(tmp_path))


def test_the_table_of_likeness(samples: Samples, tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'mien[explain]'")
    models = [explain_ferplus.load_model(f"random:multitask_cnn:{seed}") for seed in (0, 1)]
    found, text = explain_ferplus.measure_likeness(models, samples, 6, 0, "grad_cam", tmp_path)
    assert found["pictures"] == 6
    assert {row["network"] for row in found["classes"]} == {
        "random:multitask_cnn:0",
        "random:multitask_cnn:1",
        "centre",
    }
    assert "random:multitask_cnn:1 | **mean** | 6" in text
    assert (tmp_path / "tree.png").is_file()


@pytest.mark.slow
def test_two_runs_are_compared(root: Path, tmp_path: Path) -> None:
    settings = ["epochs=1", "steps=1", "batch_size=8", "size_px=32"]
    recipe = override(RECIPES["au_cue_ferplus_small"], settings)
    found = au_cue_compare.compare(recipe, root, tmp_path, check=False, quiet=True)
    for kind in ("with", "without"):
        assert 0 <= found[kind]["accuracy"] <= 1
        assert 0 <= found[kind]["cam_cos"] <= 1
        assert -1 <= found[kind]["attention_cos"] <= 1
        assert found[kind]["pictures"] == 18
        assert found[kind]["map"] == "cam"
    assert (tmp_path / "compared.json").is_file()
    text = au_cue_compare.to_markdown(found)
    assert text.count("%") == 2
    with pytest.raises(OptionError, match="a recipe with a rule"):
        au_cue_compare.compare(RECIPES["vtff_base_ferplus"], root, tmp_path)
