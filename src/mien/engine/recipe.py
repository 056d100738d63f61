"""A recipe is data: which network learns what, from which split, and how. No code, no inheritance.

Each stands in a file of `mien.recipes` and is registered there; a variant is `dataclasses.replace`. From the
command line single fields are set by name, typed and strictly: `--set optim.lr=1e-3`.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mien.errors import OptionError, UnknownNameError
from mien.registry import Registry


@dataclass(frozen=True)
class Optim:
    """How weights move.

    Attributes:
        name: "sgd", "adam" or "adamw".
        lr: peak learning rate.
        weight_decay: on weights of more than one axis only.
        momentum, nesterov: of "sgd".
        clip: largest global norm of the gradient, over 0, `None` for none.
        accumulate: parts into which a batch is cut to save memory, each counting by its pictures. The gradient is
            that of the whole batch where the loss is a mean over its pictures and all have a label: batch norms, and
            losses between pictures, see one part. Refused with `targets.weighted`, a mean over weights.
        sam_rho: radius of SAM, 0 for plain steps (Foret et al., ICLR 2021).
        sam_adaptive: scale the radius by the weights (Kwon et al., ICML 2021).
        layer_decay: factor on the learning rate from one layer to the one below it, 1 for none (Clark et al.,
            "ELECTRA", ICLR 2020); the network must say its layers (`layers`, `layer_of`).
        scales: begin of a parameter's name -> factor on its learning rate, the longest that fits; others have 1.
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    clip: float | None = 5.0
    accumulate: int = 1
    sam_rho: float = 0.0
    sam_adaptive: bool = False
    layer_decay: float = 1.0
    scales: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves: a linear warm-up, then one of five ways.

    Attributes:
        name: "cosine", "constant", "step", "exponential" or "plateau".
        warmup_epochs: length of the warm-up, may be a fraction.
        floor: share of the peak at which "cosine" ends.
        gamma: factor of "step", of "exponential" an epoch, and of "plateau".
        every: epochs between two steps of "step".
        patience: looks without a better selection score before "plateau" acts.
    """

    name: str = "cosine"
    warmup_epochs: float = 0.5
    floor: float = 0.01
    gamma: float = 0.1
    every: int = 10
    patience: int = 5


@dataclass(frozen=True)
class Views:
    """How pictures vary while a network learns; see `mien.transforms.augment`.

    Attributes:
        mirror: half of the faces are mirrored.
        rotate_rad, zoom, shift, shear: half widths of the jitter of the crop.
        degraded: share of faces with another light, colour, resolution, noise, compression or a cover.
        erase: share of faces of which a rectangle is blanked (random erasing, Zhong et al., AAAI 2020).
        erase_least, erase_most: its area, as a share of the face's.
        mixup: alpha of the Beta distribution of mixup, 0 for none (Zhang et al., ICLR 2018).
    """

    mirror: bool = True
    rotate_rad: float = 0.2
    zoom: float = 0.13
    shift: float = 0.05
    shear: float = 0.08
    degraded: float = 0.0
    erase: float = 0.0
    erase_least: float = 0.02
    erase_most: float = 0.2
    mixup: float = 0.0


@dataclass(frozen=True)
class Targets:
    """What is learned from the labels.

    Attributes:
        soft: learn the shares of votes where the data set has them, else the single label.
        smoothing: share of each target that is spread over all classes.
        balanced: draw classes equally often.
        weighted: weigh classes by the inverse of their number, the most frequent class 1.
    """

    soft: bool = True
    smoothing: float = 0.0
    balanced: bool = False
    weighted: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run.

    Attributes:
        name: registry name, `<method>_<data set>` and a variant.
        method, options: network and the options of its builder.
        protocol: name of the frozen protocol; "folder" for a folder of the user's own.
        size_px: side of the crops, `None` for the method's own.
        frames: of a clip, `None` for the method's own.
        epochs, batch_size, seed: as they say.
        steps: batches that count as one epoch, `None` for a pass over the pictures. A network that is too slow
            for a pass is measured after fewer.
        optim, schedule, views, targets: see there.
        ema: decay of the smoothed weights, which are then what is measured and kept; 0 for none.
        precision: "float32" or "bfloat16" (autocast; weights stay float32).
        select_every: epochs from one look at the selection split to the next; the last epoch always has one.
        keep: "best", the epoch with the best selection score, or "last", whatever that score says.
        patience: stop after so many looks without a better selection score, `None` never.
        start: "fresh"; "shipped" to start from the network that comes with mien (`mobile_expression`); or the
            folder of another run, or a .safetensors file, whose tensors are taken where their names fit. The
            last layer of a run for other classes stays fresh; a file's classes are taken to be the recipe's.
        hold_statistics: batch norms keep their statistics, as is wise from a trained start.
        rule: a training rule around the method's task, by its name in `mien.methods.rule`, or `None`.
        rule_options: the rule's own options.
        source: paper and table that the figures are from.
        sources: field name -> where its value comes from; a field that is not named was set by us.
    """

    name: str
    method: str
    protocol: str
    options: Mapping[str, Any] = field(default_factory=dict)
    size_px: int | None = None
    frames: int | None = None
    epochs: int = 20
    batch_size: int = 64
    seed: int = 20261121
    steps: int | None = None
    optim: Optim = field(default_factory=Optim)
    schedule: Schedule = field(default_factory=Schedule)
    views: Views = field(default_factory=Views)
    targets: Targets = field(default_factory=Targets)
    ema: float = 0.0
    precision: str = "float32"
    select_every: int = 1
    keep: str = "best"
    patience: int | None = None
    start: str = "fresh"
    hold_statistics: bool = False
    rule: str | None = None
    rule_options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("optim.name", self.optim.name, ("sgd", "adam", "adamw"))
        _one_of("schedule.name", self.schedule.name, ("cosine", "constant", "step", "exponential", "plateau"))
        _one_of("keep", self.keep, ("best", "last"))
        if self.keep == "last" and self.patience is not None:
            raise OptionError(f"expected no patience with keep='last', got patience {self.patience}")
        _one_of("precision", self.precision, ("float32", "bfloat16"))
        for name, value in (
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("optim.accumulate", self.optim.accumulate),
            ("schedule.every", self.schedule.every),
            ("select_every", self.select_every),
            ("size_px", 1 if self.size_px is None else self.size_px),
            ("frames", 1 if self.frames is None else self.frames),
            ("steps", 1 if self.steps is None else self.steps),
            ("patience", 1 if self.patience is None else self.patience),
        ):
            if value < 1:
                raise OptionError(f"expected {name} of at least 1, got {value}")
        self._refuse_ranges()
        if self.optim.scales and self.optim.layer_decay != 1:
            raise OptionError("expected optim.scales or optim.layer_decay, got both")
        if self.optim.accumulate > 1 and self.targets.weighted:
            raise OptionError(
                f"expected optim.accumulate of 1 with targets.weighted, whose mean is over the weights of a whole "
                f"batch, got {self.optim.accumulate}"
            )

    def _refuse_ranges(self) -> None:
        optim, schedule, views = self.optim, self.schedule, self.views
        clip = 1.0 if optim.clip is None else optim.clip
        for name, value, fits, range_ in (
            ("optim.lr", optim.lr, optim.lr > 0, "over 0"),
            ("optim.weight_decay", optim.weight_decay, optim.weight_decay >= 0, "of at least 0"),
            ("optim.momentum", optim.momentum, 0 <= optim.momentum < 1, "from 0 to under 1"),
            ("optim.clip", clip, clip > 0, "over 0, or none"),
            ("optim.sam_rho", optim.sam_rho, optim.sam_rho >= 0, "of at least 0"),
            ("optim.layer_decay", optim.layer_decay, 0 < optim.layer_decay <= 1, "over 0 to 1"),
            ("schedule.warmup_epochs", schedule.warmup_epochs, schedule.warmup_epochs >= 0, "of at least 0"),
            ("schedule.gamma", schedule.gamma, schedule.gamma > 0, "over 0"),
            ("schedule.floor", schedule.floor, 0 <= schedule.floor <= 1, "from 0 to 1"),
            ("schedule.patience", schedule.patience, schedule.patience >= 0, "of at least 0"),
            ("views.rotate_rad", views.rotate_rad, views.rotate_rad >= 0, "of at least 0"),
            ("views.zoom", views.zoom, 0 <= views.zoom < 1, "from 0 to under 1"),
            ("views.shift", views.shift, views.shift >= 0, "of at least 0"),
            ("views.shear", views.shear, views.shear >= 0, "of at least 0"),
            ("views.degraded", views.degraded, 0 <= views.degraded <= 1, "from 0 to 1"),
            ("views.erase", views.erase, 0 <= views.erase <= 1, "from 0 to 1"),
            (
                "views.erase_least",
                views.erase_least,
                0 < views.erase_least <= views.erase_most,
                "over 0 to views.erase_most",
            ),
            ("views.erase_most", views.erase_most, views.erase_most < 1, "under 1"),
            ("views.mixup", views.mixup, views.mixup >= 0, "of at least 0"),
            (
                "targets.smoothing",
                self.targets.smoothing,
                0 <= self.targets.smoothing < 1,
                "from 0 to under 1",
            ),
            ("ema", self.ema, 0 <= self.ema < 1, "from 0 to under 1"),
        ):
            if not (fits and math.isfinite(value)):
                raise OptionError(f"expected {name} {range_}, got {value}")
        if optim.name == "sgd" and optim.nesterov and not optim.momentum:
            raise OptionError("expected optim.momentum over 0 with optim.nesterov, got 0")

    def to_dict(self) -> dict[str, Any]:
        """The resolved recipe for JSON."""
        return dataclasses.asdict(self)


RECIPES: Registry[Recipe] = Registry("recipe", "mien.recipes")


def register(*recipes: Recipe) -> None:
    """Register recipes under their names."""
    for recipe in recipes:
        RECIPES.add(recipe.name, recipe)


def recipe_from(stored: Mapping[str, Any]) -> Recipe:
    """The recipe that `Recipe.to_dict` stored."""
    parts = {"optim": Optim, "schedule": Schedule, "views": Views, "targets": Targets}
    values = {name: parts[name](**value) if name in parts else value for name, value in stored.items()}
    return Recipe(**values)


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """A recipe with some fields set: `override(recipe, ["optim.lr=1e-3", "epochs=5"])`.

    Raises:
        OptionError: an assignment is not NAME=VALUE, or the value does not fit the field's type.
        UnknownNameError: there is no such field; the closest one is named.
    """
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise OptionError(f"expected NAME=VALUE, such as optim.lr=1e-3, got {assignment!r}")
        recipe = _with(recipe, name.strip().split("."), text.strip(), name.strip())
    return recipe


def _with(part: Any, path: list[str], text: str, whole: str) -> Any:
    """A copy of a dataclass with the field at `path` read from text."""
    known = {item.name for item in dataclasses.fields(part)}
    if isinstance(part, Recipe):
        known -= {"name", "source", "sources"}
    if path[0] not in known:
        raise UnknownNameError("field of a recipe", path[0], known)
    value = getattr(part, path[0])
    if path[0] in ("options", "rule_options"):
        changed: Any = {**value, ".".join(path[1:]): _literal(text)}
    elif isinstance(value, Mapping):
        raise OptionError(
            f"expected a value for one field, got {whole!r}, which has a value a part. Set it in a recipe's file."
        )
    elif dataclasses.is_dataclass(value):
        if len(path) == 1:
            raise OptionError(
                f"expected a field of {whole!r}, such as {whole}.{dataclasses.fields(value)[0].name}"
            )
        changed = _with(value, path[1:], text, whole)
    elif len(path) > 1:
        raise OptionError(f"expected {path[0]!r} to be set whole, got {whole!r}")
    else:
        changed = _read(text, typing.get_type_hints(type(part))[path[0]], whole)
    return dataclasses.replace(part, **{path[0]: changed})


def _read(text: str, kind: Any, name: str) -> Any:
    """A value of a field's type from text."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in kinds and text.lower() in ("none", "null"):
        return None
    wanted = next(item for item in kinds if item is not type(None))
    try:
        if wanted is bool:
            return {"true": True, "false": False}[text.lower()]
        return wanted(text)
    except (KeyError, ValueError, TypeError):
        example = {bool: "true or false", int: "a whole number", float: "a number"}.get(
            wanted, wanted.__name__
        )
        raise OptionError(f"expected {example} for {name!r}, got {text!r}") from None


def _literal(text: str) -> Any:
    """An option of a method's builder: a number, a truth value, or the text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise OptionError(f"expected {name} to be one of {', '.join(known)}, got {value!r}")
