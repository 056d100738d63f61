"""Heads on features and the leakage of identity, on numbers that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol, people_of_split
from mien.recipes import identity_leakage as leakage
from mien.recipes import units_ckplus as units
from mien.recipes.units_ckplus import UnitFeatures
from mien.types.units import ActionUnits

LABELS = ("AU1", "AU12")


def made_up(people: int = 20, seed: int = 0, signal: float = 3.0) -> UnitFeatures:
    """Four sequences of three frames a person; the first two features say the units, the next eight the person."""
    random = np.random.default_rng(seed)
    ids, names, truth, values = [], [], [], []
    for person in range(people):
        own = random.normal(0, 3, 8)
        for sequence in range(4):
            there = random.integers(0, 2, 2)
            for frame in (7, 8, 9):
                ids.append(f"S{person:03d}_{sequence:03d}_{frame:08d}")
                names.append(f"S{person:03d}")
                truth.append(there)
                values.append(np.concatenate([signal * there + random.normal(0, 1, 2), own]))
    order = random.permutation(len(ids))
    ids, names = [ids[row] for row in order], [names[row] for row in order]
    return UnitFeatures(
        tuple(ids),
        tuple(names),
        np.array(truth, np.float32)[order],
        LABELS,
        np.array(values)[order],
        {"data": "drawn"},
    )


def test_sequences_are_means_or_last_frames() -> None:
    ids = ("S001_001_00000009", "S002_001_00000003", "S001_001_00000010")
    rows = units.sequences_of(ids)
    assert rows == [[0, 2], [1]]
    values = np.array([[1.0, np.nan], [5.0, np.nan], [3.0, 4.0]])
    np.testing.assert_array_equal(units.of_sequences(rows, values), [[2.0, 4.0], [5.0, np.nan]])
    np.testing.assert_array_equal(units.of_sequences(rows, values, "last"), [[3.0, 4.0], [5.0, np.nan]])


def test_what_can_be_learned_is_and_what_cannot_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "RIDGES", (0.1, 1.0))
    good, facts = units.measure_systems(made_up())
    assert good["learned"]["mean_auroc"] > 0.95 and good["learned"]["samples"] == 80
    assert good["learned"]["mean_f1_at_half"] > 0.85
    assert len(facts["ridges"]["learned"]) == 10
    chance, _ = units.measure_systems(made_up(signal=0.0, people=40))
    assert 0.35 < chance["learned"]["mean_auroc"] < 0.65


def test_nobody_is_learned_from_and_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol, seen = load_protocol(units.PROTOCOL), []
    monkeypatch.setattr(units, "RIDGES", (0.1,))
    plain = units.fit_units
    monkeypatch.setattr(units, "fit_units", lambda x, y, ridge: (seen.append(x[:, 0]), plain(x, y, ridge))[1])
    people = np.array([f"S{row % 20:03d}" for row in range(60)])
    number = np.array([int(name[1:]) for name in people], float)
    values = np.stack([number, np.arange(60.0) % 7], 1)
    truth = (np.arange(60) % 3 == 0).astype(float)[:, None]
    units.across_folds(protocol, people, truth, values)
    for fold in range(10):
        tested = {float(name[1:]) for name in people_of_split(protocol, set(people), "test", fold)}
        assert len(seen[4 * fold : 4 * fold + 4]) == 4  # three inner folds, and all training people
        assert all(not tested & set(rows) for rows in seen[4 * fold : 4 * fold + 4])


def test_table_learned_features_and_both_come_out_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "RIDGES", (0.1,))
    pictures = made_up()
    scores = np.where(pictures.truth[:, 1:] == 1, 4.0, 1.0)
    scores[0] = np.nan
    figures, facts = units.measure_systems(
        pictures, pictures.values[:, :1], ActionUnits((12,), scores, "intensity", "test")
    )
    assert list(figures) == ["table", "learned", "features", "both"]
    assert (
        figures["table"]["per_unit"]["AU12"]["f1"] == 1 and figures["table"]["per_unit"]["AU1"]["known"] == 0
    )
    assert figures["both"]["mean_auroc"] >= figures["learned"]["mean_auroc"] - 0.02
    page = units.write(figures, facts, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "units.json").read_text())
    assert stored["systems"]["learned"] == figures["learned"] and "| AU12 | 4" in page
    assert not list((tmp_path / "out").glob("*.part"))


def test_parts_hold_out_sequences_and_frames_of_the_same_people() -> None:
    pictures = made_up()
    parts = leakage.parts_of(pictures, 3)
    rows = np.concatenate([parts.learned, parts.frames, parts.sequences, parts.tested])
    assert sorted(rows) == list(range(len(pictures.ids)))
    person = np.array(pictures.people)
    sequence = np.array([name[:8] for name in pictures.ids])
    assert not set(person[parts.tested]) & set(person[parts.learned])
    assert set(person[parts.sequences]) == set(person[parts.frames]) == set(person[parts.learned])
    assert not set(sequence[parts.sequences]) & set(sequence[parts.learned])
    assert set(sequence[parts.frames]) == set(sequence[parts.learned])


def test_a_fold_is_measured_with_and_without_the_adversary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "STEPS", 20)
    monkeypatch.setattr(leakage, "COMPONENTS", 10)
    found = leakage.measure_fold(made_up(), 0, (0.0, 2.0))
    assert found["input"]["sequences"].mean() > 0.8  # the person is in the features, as they were made
    assert found[0.0]["own_head"] is None and 0 <= found[2.0]["own_head"].mean() <= 1
    assert found[0.0]["scores"].shape == found[0.0]["truth"].shape
    assert not np.array_equal(found[0.0]["scores"], found[2.0]["scores"])


def test_the_hidden_layer_goes_against_the_identity_head() -> None:
    """Gradient with strength s: the units' minus s times that of the identity head."""
    import torch

    x, units, people = torch.randn(6, 4), torch.eye(6)[:, :2], torch.tensor([0, 1, 2, 0, 1, -1])

    def gradient(strength: float) -> torch.Tensor:
        torch.manual_seed(0)
        network = leakage.LightUnits(4, 2, 3, strength)
        network.loss(x, units, people).backward()
        return network.hidden.weight.grad

    tiny, one, three = gradient(1e-12), gradient(1.0), gradient(3.0)
    assert (one - tiny).abs().max() > 1e-5
    torch.testing.assert_close(three - tiny, 3 * (one - tiny), rtol=1e-3, atol=1e-6)


def test_components_are_of_the_rows_that_teach() -> None:
    values = np.random.default_rng(0).normal(5, 2, (30, 4)) * [1, 10, 1, 1]
    found = leakage.components(values, np.arange(20))
    assert found.shape == (30, 4)
    np.testing.assert_allclose(found[:20].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(found[:20].std(0), 1, atol=1e-9)


@pytest.mark.slow
def test_features_of_the_shipped_network_give_its_logits(tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    from mien.evaluate.model import crops_of
    from mien.methods.runner import ExpressionRunner
    from mien.weights.store import load_weights

    data = DATASETS["ckplus48"]
    data.look_alike(tmp_path, per_class=1)
    pictures = units.read_features(tmp_path, check=False)
    assert pictures.values.shape == (210, 1024) and pictures.truth.shape == (210, 15)
    runner = ExpressionRunner(load_weights("expression"), 1)
    graph = onnx.load_from_string(runner.weights.content).graph
    stored = {
        tensor.name.removesuffix("_half"): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in graph.initializer
    }
    logits = pictures.values @ stored["network.head.weight"].T + stored["network.head.bias"]
    crops, *_ = crops_of(data.samples(tmp_path, units.PROTOCOL, "all", check=False), np.arange(9), runner)
    np.testing.assert_allclose(logits[:9], runner.logits(crops), atol=1e-3)
