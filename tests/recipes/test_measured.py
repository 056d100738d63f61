"""Figures of our runs: how they are kept, and how the page shows them."""

from __future__ import annotations

import dataclasses
import json

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.engine.recipe import RECIPES, override
from mien.recipes import measured, results, timed

RESULT = measured.Measured(
    recipe="gimefive_ferplus_budget",
    changes=(),
    metric="accuracy",
    value=0.8,
    low=0.78,
    high=0.82,
    without_duplicates=0.79,
    uar=0.6,
    split="private_test",
    seed=1,
    epoch=3,
    epochs=4,
    hours=0.5,
    parameters=10_478_000,
    macs=313_000_000,
    commit="abc",
    model_sha256="0" * 64,
    data_sha256="1" * 64,
    machine="x86_64, 2 cores",
    date="2026-11-21",
)


def test_changes_are_what_override_takes():
    recipe = RECIPES["se_swint_112_ferplus_budget"]
    changed = override(recipe, ["optim.sam_rho=0.05", "seed=7", "options.se=false"])
    stored = json.loads(json.dumps(changed.to_dict()))
    changes = measured.changes_of(stored)
    assert changes == ("optim.sam_rho=0.05", "options.se=False")
    assert override(recipe, [*changes, "seed=7"]) == changed
    begun = override(recipe, ["start=somewhere/of/mine/body.safetensors"])
    assert measured.changes_of(begun.to_dict()) == ("start=body.safetensors",)


def test_a_result_takes_the_place_of_the_earlier_one(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "FILE", tmp_path / "measured.json")
    for seed, value in ((2, 0.8), (1, 0.8), (2, 0.81)):
        result = dataclasses.replace(RESULT, seed=seed, value=value)
        monkeypatch.setattr(measured, "result_of", lambda run, root, result=result: result)
        measured.record(tmp_path, tmp_path)
    assert [(one.seed, one.value) for one in measured.measured()] == [(1, 0.8), (2, 0.81)]


def test_three_seeds_get_a_mean_and_an_interval(monkeypatch):
    three = [dataclasses.replace(RESULT, seed=seed, value=0.79 + seed / 100) for seed in range(3)]
    monkeypatch.setattr(results, "measured", lambda: three)
    page = results.page()
    # mean 80, standard deviation 1, t of 2 degrees of freedom 4.303: 80 -+ 4.303 / sqrt(3)
    assert "over 3 seeds: 80.00, 95 % 77.52 to 82.48" in page
    assert page.count("**80.00**") == 1 and "| 79.00 |" in page


def test_the_page_has_the_time_of_each_network_that_was_timed(monkeypatch):
    monkeypatch.setattr(
        results, "measured", lambda: [RESULT, dataclasses.replace(RESULT, recipe="poster_pp_ferplus_budget")]
    )
    times = {"commit": "abc", "machine": "x86_64", "date": "2026-11-22", "load_at_start": 0.1}
    monkeypatch.setattr(results, "timed", lambda: {**times, "face_ms": {"gimefive {}": 4.321}})
    rows = [line for line in results.page().splitlines() if line.startswith("| `") and "private_test" in line]
    assert rows[0].endswith("| 4.3 |") and rows[1].endswith("| - |")
    assert "Commit abc, x86_64, 2026-11-22, load of the machine before it 0.1." in results.page()


def test_networks_are_named_by_what_changes_them():
    plain = dataclasses.replace(RESULT, recipe="se_swint_narrow_ferplus_budget")
    sam = dataclasses.replace(plain, changes=("optim.sam_rho=0.05",))
    bare = dataclasses.replace(plain, changes=("options.se=False",))
    assert timed.network_name(plain) == timed.network_name(sam) != timed.network_name(bare)


def test_each_network_is_timed():
    names = ("multitask_cnn_ferplus_budget", "hsemotion_b0_ferplus_budget")  # at their own size; at another
    times = timed.face_ms({name: RECIPES[name] for name in names}, rounds=1)
    assert set(times) == set(names) and all(value > 0 for value in times.values())
