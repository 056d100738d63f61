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
        ("optim.lr=0", OptionError, "expected optim.lr over 0, got 0.0"),
        ("optim.lr=nan", OptionError, "expected optim.lr over 0, got nan"),
        ("optim.clip=0", OptionError, "expected optim.clip over 0, or none, got 0.0"),
        ("optim.sam_rho=-0.1", OptionError, "expected optim.sam_rho of at least 0"),
        ("optim.layer_decay=0", OptionError, "expected optim.layer_decay over 0 to 1, got 0.0"),
        ("schedule.every=0", OptionError, "expected schedule.every of at least 1, got 0"),
        ("schedule.patience=-1", OptionError, "expected schedule.patience of at least 0"),
        ("patience=0", OptionError, "expected patience of at least 1, got 0"),
        ("views.mixup=-1", OptionError, "expected views.mixup of at least 0"),
        ("targets.smoothing=1", OptionError, "expected targets.smoothing from 0 to under 1"),
        ("size_px=0", OptionError, "expected size_px of at least 1, got 0"),
        ("frames=-1", OptionError, "expected frames of at least 1, got -1"),
        ("optim.lr=inf", OptionError, "expected optim.lr over 0, got inf"),
        ("optim.weight_decay=nan", OptionError, "expected optim.weight_decay of at least 0, got nan"),
        ("optim.momentum=-1", OptionError, "expected optim.momentum from 0 to under 1, got -1.0"),
        ("schedule.gamma=-1", OptionError, "expected schedule.gamma over 0, got -1.0"),
        ("schedule.floor=-3", OptionError, "expected schedule.floor from 0 to 1, got -3.0"),
        ("views.degraded=7", OptionError, "expected views.degraded from 0 to 1, got 7.0"),
        ("views.mixup=inf", OptionError, "expected views.mixup of at least 0, got inf"),
        ("optim.scales=head:10", OptionError, "Set it in a recipe's file"),
        ("optim.scales.head=10", OptionError, "got 'optim.scales.head', which has a value a part"),
        ("source=me", UnknownNameError, "Known"),
    ],
)
def test_what_does_not_fit_is_refused(assignment: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        override(PLAIN, [assignment])
    assert text in str(caught.value)


def test_parts_of_a_batch_are_refused_with_class_weights() -> None:
    with pytest.raises(OptionError, match=r"expected optim\.accumulate of 1 with targets\.weighted.* got 4"):
        override(PLAIN, ["targets.weighted=true", "optim.accumulate=4"])


def test_a_stored_recipe_comes_back() -> None:
    recipe = override(PLAIN, ["optim.sam_rho=0.05", "views.mixup=0.2", "options.dropout=0.1"])
    assert recipe_from(json.loads(json.dumps(recipe.to_dict()))) == recipe
