"""What cannot be trained is refused here, and as far as it can be known without them before faces are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mien.datasets.folder import table_of
from mien.datasets.protocol import Protocol
from mien.engine.checkpoint import has_checkpoint, load_facts
from mien.engine.network import build, start, task_of
from mien.engine.optim import optimiser
from mien.engine.pictures import Pictures
from mien.engine.recipe import Recipe, recipe_from
from mien.errors import CheckpointError, DataError, OptionError
from mien.methods.method import METHODS
from mien.methods.rule import RULES
from mien.types.media import Preprocess

UNDECIDING = {"epochs": 0, "source": "", "sources": {}}
"""Fields of a recipe that may differ when a run goes on: more epochs, and where its figures are from."""


def rehearse(recipe: Recipe, protocol: Protocol, out: Path, fold: int, compiled: bool) -> None:
    """Make once all that a run makes without pictures, so that what is refused is refused before faces are found.

    Raises:
        MienError: as making the run raises it.
    """
    refuse_recipe(recipe, protocol, compiled)
    if has_checkpoint(out / "last"):
        own = {"recipe": recipe.to_dict(), "labels": list(protocol.labels), "fold": fold_of(protocol, fold)}
        refuse_another(out, load_facts(out / "last"), own)
    network = build(recipe, len(protocol.labels))
    start(network, recipe, protocol.labels)
    task_of(recipe, network)
    optimiser(network, recipe.optim)


def refuse_place(out: Path, pictures: Path) -> None:
    """Refuse a run inside class folders of the user's own, where it would be taken for a class.

    Raises:
        OptionError: see above.
    """
    if pictures.is_dir() and table_of(pictures) is None and out.resolve().is_relative_to(pictures.resolve()):
        raise OptionError(
            f"expected a folder for the run outside of the pictures in {pictures}, whose folders are classes, got {out}. "
            "Name one beside it."
        )


def is_cued(recipe: Recipe, points: str | Path | None) -> bool:
    """Whether the recipe's rule needs cues; points are refused where it does not.

    Raises:
        OptionError: see above.
    """
    cued = recipe.rule is not None and RULES[recipe.rule].needs == "au_cue"
    if points is not None and not cued:
        raise OptionError(
            f"expected no points for {recipe.name!r}, whose rule ({recipe.rule or 'none'}) does not need them, got "
            f"{points}. Leave them out, or set rule=au_cue."
        )
    return cued


def refuse_recipe(recipe: Recipe, protocol: Protocol, compiled: bool) -> None:
    """Refuse a method for another task, and what does not go together.

    Raises:
        OptionError: see above.
    """
    method = METHODS[recipe.method]
    if method.task.answers != protocol.task:
        raise OptionError(
            f"expected a method for {protocol.task!r}, which {protocol.name!r} asks for, got {recipe.method!r} "
            f"for {method.task.answers!r}"
        )
    if protocol.task == "action_units":
        refuse_for_units(recipe)
    if compiled and recipe.rule is not None:
        raise OptionError(f"expected no torch.compile with the rule {recipe.rule!r}, which looks into layers")
    if recipe.rule is not None and len(method.preprocess.shape) != 3:
        raise OptionError(
            f"expected no rule for a network of clips or blendshapes, got {recipe.rule!r}, which is for pictures"
        )


def refuse_for_motion(recipe: Recipe, preprocess: Preprocess, framing: str) -> None:
    """Refuse photographs for a network of motion pictures, and the other way round, and views that motion cannot take.

    Raises:
        OptionError: see above.
    """
    if preprocess.of_motion != (framing == "ready"):
        wanted = (
            f"motion pictures ({preprocess.channel_order})" if preprocess.of_motion else "pictures of faces"
        )
        raise OptionError(
            f"expected {wanted} for the method {recipe.method!r}, got pictures that are framed {framing!r}. Choose "
            "another protocol; `python -m mien.recipes.motion_maps` makes motion pictures of clips."
        )
    asked = {name: getattr(recipe.views, name) for name in ("rotate_rad", "shear", "degraded")}
    for name, value in asked.items():
        if preprocess.of_motion and value:
            raise OptionError(
                f"expected views.{name} of 0 for motion pictures, whose channels are directions, got {value:g}"
            )


def refuse_for_units(recipe: Recipe) -> None:
    """Refuse what mixes or counts classes, for a network that finds action units.

    Raises:
        OptionError: the recipe asks for mixup, smoothing or balance.
    """
    asked = {
        "views.mixup": recipe.views.mixup > 0,
        "targets.smoothing": recipe.targets.smoothing > 0,
        "targets.balanced": recipe.targets.balanced,
    }
    for name, wanted in asked.items():
        if wanted:
            raise OptionError(
                f"expected no {name} for action units, which are no classes, got it in {recipe.name!r}. Set it to 0 "
                "or false; targets.weighted weighs rare units."
            )


def refuse_shapes(recipe: Recipe, preprocess: Preprocess, *parts: Pictures) -> None:
    """Refuse splits without the network's frames or channels of motion.

    Raises:
        DataError, OptionError: see above.
    """
    for pictures in parts:
        if preprocess.of_motion and pictures.images.shape[1] != len(preprocess.mean):
            raise DataError(
                f"expected motion pictures of {len(preprocess.mean)} channels ({preprocess.channel_order}), got "
                f"{pictures.images.shape[1]}. `python -m mien.recipes.motion_maps` makes both kinds (--steps)."
            )
        if (pictures.frames, pictures.of_mesh) != (preprocess.frames, preprocess.of_mesh):
            raise OptionError(
                f"expected {preprocess.frames or 'no'} frames a sample for {recipe.method!r}, got "
                f"{pictures.frames or 'single pictures'}. Prepare the split with the network's frames and template."
            )


def refuse_another(out: Path, stored: dict[str, Any], own: dict[str, Any]) -> None:
    """Refuse to go on with another recipe, other labels, another fold, other data, another number of
    pictures that could be read, or to fewer epochs than are done.

    Raises:
        CheckpointError: see above.
    """
    for name in ("recipe", "labels", "fold", "data", "framing", "pictures"):
        if name not in own or name not in stored:  # an older run has no fold and no framing
            continue
        before, now = stored[name], json.loads(json.dumps(own[name]))
        if name == "recipe":  # a field that is newer than the run has its default
            before = json.loads(json.dumps(recipe_from(before).to_dict()))
            before, now = ({**value, **UNDECIDING} for value in (before, now))
        if before != now:
            field, before, now = _first_difference(name, before, now)
            raise CheckpointError(
                f"expected to go on with the run in {out}, whose {field} is {before!r}, got {now!r}. "
                "Choose another --out, or remove the folder."
            )
    done, asked = stored["state"]["epoch"], own["recipe"]["epochs"]
    if asked < done:
        raise CheckpointError(
            f"expected at least the {done} epochs that the run in {out} has done, got {asked}. Choose another --out."
        )


def _first_difference(name: str, stored: Any, own: Any) -> tuple[str, Any, Any]:
    """Where two values differ first, "recipe.optim.lr", and what stands there in each."""
    if isinstance(stored, dict) and isinstance(own, dict):
        for key in [*own, *stored]:
            if stored.get(key) != own.get(key):
                return _first_difference(f"{name}.{key}", stored.get(key), own.get(key))
    return name, stored, own


def fold_of(protocol: Protocol, fold: int) -> int | None:
    """The fold that is kept for the test, `None` where there are no folds."""
    return fold if protocol.folds > 1 else None
