"""Every registered recipe, automatically."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.engine.network import options_of
from mien.engine.optim import learning_rate
from mien.engine.recipe import RECIPES, Recipe, override, recipe_from
from mien.methods.method import METHODS, create
from mien.recipes import results
from mien.recipes.measured import measured
from mien.recipes.timed import network_name, timed

NAMES = list(RECIPES)


@pytest.fixture(params=NAMES)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return RECIPES[request.param]


def test_method_protocol_and_data_set_are_there(recipe: Recipe) -> None:
    assert recipe.method in METHODS
    if recipe.protocol != "folder":
        assert load_protocol(recipe.protocol).dataset in DATASETS


def test_it_says_where_its_figures_come_from(recipe: Recipe) -> None:
    assert recipe.source
    for name in recipe.sources:
        part: object = recipe
        for step in name.split("."):
            part = getattr(part, step)


def test_it_is_plain_data(recipe: Recipe) -> None:
    stored = json.loads(json.dumps(recipe.to_dict()))
    assert recipe_from(stored).to_dict() == recipe.to_dict()


def test_the_learning_rate_never_leaves_its_range(recipe: Recipe) -> None:
    for step in range(0, 10 * recipe.epochs, max(1, recipe.epochs // 7)):
        rate = learning_rate(recipe.schedule, recipe.optim.lr, step, 10, recipe.epochs)
        assert 0 < rate <= recipe.optim.lr * (1 + 1e-9)


def test_its_network_can_be_built_at_its_size(recipe: Recipe) -> None:
    classes = 7 if recipe.protocol == "folder" else len(load_protocol(recipe.protocol).labels)
    large = (METHODS[recipe.method].counts.parameters or 0) > 50_000_000
    with torch.device("meta" if large else "cpu"):
        network = create(recipe.method, classes, **options_of(recipe))
    assert sum(parameter.numel() for parameter in network.parameters()) > 1000


def test_every_method_has_a_recipe() -> None:
    """A variant of a method may share the recipe of another; a file may not be without any."""
    files = {METHODS[name].build.__module__ for name in METHODS}
    covered = {METHODS[RECIPES[name].method].build.__module__ for name in NAMES}
    assert files == covered


def test_results_are_of_recipes_that_are_there() -> None:
    for result in measured():
        assert result.recipe in RECIPES
        assert 0 <= result.low <= result.value <= result.high <= 1
        assert len(result.model_sha256) == len(result.data_sha256) == 64
        override(RECIPES[result.recipe], result.changes)


def test_the_networks_of_all_results_were_timed() -> None:
    assert {network_name(one) for one in measured()} == set(timed()["face_ms"]), (
        "run python -m mien.recipes.timed"
    )


def test_the_page_of_results_is_the_generated_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "results.md"
    assert page.read_text() == results.page(), "run python -m mien.recipes.results > docs/results.md"
