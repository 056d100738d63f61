from __future__ import annotations

import json

import pytest

from mien.engine.recipe import Recipe, override, recipe_from
from mien.errors import OptionError, UnknownNameError

PLAIN = Recipe("plain", "mobile_expression", "ferplus_majority_8")


def test_fields_are_set_by_name_and_typed() -> None:
    changed = override(
        PLAIN, ["optim.lr=1e-4", "epochs=3", "targets.soft=false", "size_px=48", "optim.clip=none"]
    )
    assert (changed.optim.lr, changed.epochs, changed.targets.soft) == (1e-4, 3, False)
    assert (changed.size_px, changed.optim.clip) == (48, None)
    assert PLAIN.epochs == 20


def test_options_of_the_builder_are_set() -> None:
    assert override(PLAIN, ["options.dropout=0.5"]).options == {"dropout": 0.5}


@pytest.mark.parametrize(
    ("assignment", "error", "text"),
    [
        ("batchsize=3", UnknownNameError, "Did you mean 'batch_size'"),
        ("optim.lrr=3", UnknownNameError, "Did you mean 'lr'"),
        ("epochs", OptionError, "expected NAME=VALUE"),
        ("epochs=many", OptionError, "expected a whole number for 'epochs', got 'many'"),
        ("targets.soft=perhaps", OptionError, "expected true or false"),
        ("optim=sgd", OptionError, "expected a field of 'optim', such as optim.name"),
        ("epochs.first=3", OptionError, "to be set whole"),
        ("optim.name=lion", OptionError, "expected optim.name to be one of sgd, adam, adamw, got 'lion'"),
        ("epochs=0", OptionError, "expected epochs of at least 1, got 0"),
        ("ema=1", OptionError, "expected ema from 0 to under 1"),
        ("source=me", UnknownNameError, "Known"),
    ],
)
def test_what_does_not_fit_is_refused(assignment: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        override(PLAIN, [assignment])
    assert text in str(caught.value)


def test_a_stored_recipe_comes_back() -> None:
    recipe = override(PLAIN, ["optim.sam_rho=0.05", "views.mixup=0.2", "options.dropout=0.1"])
    assert recipe_from(json.loads(json.dumps(recipe.to_dict()))) == recipe
