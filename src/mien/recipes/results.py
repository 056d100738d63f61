"""The page of results, made from what recipes and methods say: `python -m mien.recipes.results > docs/results.md`.

Nothing is typed in by hand there: a number of ours comes from `mien.recipes.measured` with seed, commit and hashes, or
from `mien.recipes.timed`, and a number of the authors from the method's file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import mean, stdev
from typing import Any

from mien.datasets.protocol import load_protocol
from mien.engine.recipe import RECIPES
from mien.evaluate import markdown
from mien.methods.method import METHODS
from mien.methods.rule import RULES
from mien.recipes.measured import Measured, measured
from mien.recipes.timed import network_name, timed

HEAD = """# Results

Made by `python -m mien.recipes.results`; do not edit. What we measured stands apart from what authors report, and a gap is
shown. Accuracy in percent on the protocol's test split, single model, one crop a face (out of which `fer2013_vgg` cuts ten,
as published), the epoch chosen on the selection split; intervals are 95 % bootstrap over pictures.

Recipes that end in `_ferplus_budget` have one budget, 2e13 multiply-accumulates forward from random weights (97 % of it at
least), but for the changes that a row names: a network that spends more on a face sees fewer. The largest see a part of one pass,
and where UAR is 12.5 the network names one class always: it says that budget or rate do not suit it, and nothing else.
"""
COMMANDS = """A row is made by `mien train RECIPE --data ROOT --out RUN --set seed=SEED` with its changes as further `--set`, and
`python -m mien.recipes.measured RUN --data ROOT`. Hours are of training by the run's log, waits for other work of the machine
included, but, in rows up to 2026-11-22, not what an epoch took before it was interrupted (a machine with AVX512 is another
processor, which computes in bfloat16, and a row had one core of it). `ferbody.safetensors` is the network of the row
`fer2013_vgg_fer2013_short` without its last layer; by now `start` takes that run itself, as `fer_s1`, its run of seed 1."""
TIMES = """Milliseconds of a face: the exported network in ONNX Runtime on one thread, one face a call, all networks in turn in
one run of `python -m mien.recipes.timed`."""
T_95 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571)
"""Student's t, two-sided 95 %, by degrees of freedom (any table)."""


def page() -> str:
    """The whole page, Markdown."""
    parts = [HEAD, "## Measured here", _measured(), "## Reported by the authors", _reported()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _measured() -> str:
    results = measured()
    if not results:
        return "Nothing yet."
    head = (
        "recipe", "changes", "protocol", "split", "metric", "value", "95 %", "reported by the authors",
        "without duplicates", "UAR", "seed", "epoch", "hours", "parameters", "MACs", "ms a face",
    )  # fmt: skip
    several = [
        _over_seeds(list(group)) for _, group in groupby(results, lambda one: (one.recipe, one.changes))
    ]
    times = timed()
    rows = [_row(one, times["face_ms"].get(network_name(one))) for one in results]
    return "\n\n".join(
        [markdown.table(head, rows), *filter(None, several), *_times(times), _origins(results)]
    )


def _times(times: Mapping[str, Any]) -> list[str]:
    """How the milliseconds were measured, where they were."""
    if not times["face_ms"]:
        return []
    facts = (times[name] for name in ("commit", "machine", "date", "load_at_start"))
    return [TIMES + " Commit {}, {}, {}, load of the machine before it {}.".format(*facts)]


def _row(result: Measured, face_ms: float | None) -> tuple[str, ...]:
    return (
        f"`{result.recipe}`", _changes(result), RECIPES[result.recipe].protocol, result.split, result.metric,
        f"**{100 * result.value:.2f}**", f"{100 * result.low:.2f} to {100 * result.high:.2f}", _beside(result),
        "-" if result.without_duplicates is None else f"{100 * result.without_duplicates:.2f}",
        f"{100 * result.uar:.2f}", str(result.seed), f"{result.epoch} of {result.epochs}", f"{result.hours:.2f}",
        f"{result.parameters / 1e6:.2f} M", f"{result.macs / 1e9:.3f} G", "-" if face_ms is None else f"{face_ms:.1f}",
    )  # fmt: skip


def _beside(result: Measured) -> str:
    """What authors report of the same method, data set and metric, under whatever protocol."""
    recipe = RECIPES[result.recipe]
    dataset = load_protocol(recipe.protocol).dataset
    values = [
        f"{one.value:g}"
        for one in METHODS[recipe.method].reported
        if one.dataset == dataset and one.metric == result.metric
    ]
    return ", ".join(values) or "-"


def _changes(result: Measured) -> str:
    return ", ".join(f"`{change}`" for change in result.changes) or "-"


def _over_seeds(results: Sequence[Measured]) -> str:
    """Mean and 95 % interval of Student's t over three seeds or more; else nothing."""
    if len(results) < 3:
        return ""
    values = [100 * one.value for one in results]
    half = T_95[min(len(values) - 1, len(T_95) - 1)] * stdev(values) / math.sqrt(len(values))
    return (
        f"`{results[0].recipe}` ({_changes(results[0])}) over {len(values)} seeds: {mean(values):.2f}, "
        f"95 % {mean(values) - half:.2f} to {mean(values) + half:.2f} (Student's t over seeds)."
    )


def _origins(results: Sequence[Measured]) -> str:
    """Where each figure came from, and the commands that make it again."""
    head = ("recipe", "changes", "seed", "commit", "model sha256", "data sha256", "machine", "date")
    rows = [
        (f"`{one.recipe}`", _changes(one), str(one.seed), one.commit, one.model_sha256[:12],
         one.data_sha256[:12], one.machine, one.date)
        for one in results
    ]  # fmt: skip
    return f"{COMMANDS}\n\n{markdown.table(head, rows)}"


def _reported() -> str:
    rows = [
        (f"`{name}`", result.dataset, result.metric, f"{result.value:g}", result.where)
        for entries in (METHODS, RULES)
        for name in entries  # type: ignore[attr-defined]
        for result in entries[name].reported  # type: ignore[index]
    ]
    told = "Accuracy in percent; all other figures are shares or coefficients up to 1."
    return told + "\n\n" + markdown.table(("method", "data", "metric", "value", "where"), rows)


if __name__ == "__main__":
    print(page(), end="")
