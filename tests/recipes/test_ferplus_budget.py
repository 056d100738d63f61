"""The common budget of FER+: every network spends it, counted anew here."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.engine.recipe import RECIPES
from mien.recipes.ferplus_budget import BUDGET_MACS, LEAST, PASS
from mien.recipes.measured import counts_of

TEACHING = 28415
"""Pictures of FER+'s training split with a majority label."""


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("_ferplus_budget")])
def test_every_network_spends_the_budget(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.steps is not None and recipe.steps <= PASS == TEACHING // recipe.batch_size
    macs = counts_of(recipe.to_dict(), 8)[1] / (
        10 if recipe.method == "fer2013_vgg" else 1
    )  # it learns from one crop of ten
    spent = macs * recipe.batch_size * recipe.steps * recipe.epochs
    assert LEAST - 0.01 <= spent / BUDGET_MACS <= 1.01
