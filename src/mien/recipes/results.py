"""The page of results, made from what recipes and methods say: `python -m mien.recipes.results > docs/results.md`.

Nothing is typed in by hand there: a number of ours stands in its recipe with seed, commit and hashes, and a number of
the authors in the method's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from mien.engine.recipe import RECIPES, Measured, Recipe
from mien.methods.method import METHODS

HEAD = """# Results

Made by `python -m mien.recipes.results`; do not edit. What we measured stands apart from what authors report, and a gap is
shown. Accuracy in percent on the protocol's test split, single model, single view, the epoch chosen on the selection
split; intervals are 95 % bootstrap over pictures.
"""


def page() -> str:
    """The whole page, Markdown."""
    parts = [HEAD, "## Measured here", _measured(), "## Reported by the authors", _reported()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _measured() -> str:
    recipes = [RECIPES[name] for name in RECIPES if RECIPES[name].measured]
    if not recipes:
        return "Nothing yet."
    rows = [_row(recipe, result) for recipe in recipes for result in recipe.measured]
    head = (
        "recipe", "method", "protocol", "split", "metric", "value", "95 %", "without duplicates", "seed", "epochs",
        "parameters", "MACs", "ms a face", "commit", "model sha256", "data sha256", "machine", "date",
    )  # fmt: skip
    several = [_over_seeds(recipe) for recipe in recipes if len(recipe.measured) > 2]
    return _table(head, rows) + "".join(f"\n\n{line}" for line in several)


def _row(recipe: Recipe, result: Measured) -> tuple[str, ...]:
    counts = METHODS[recipe.method].counts
    return (
        f"`{recipe.name}`", f"`{recipe.method}`", recipe.protocol, result.split, result.metric,
        f"**{100 * result.value:.2f}**", f"{100 * result.low:.2f} to {100 * result.high:.2f}",
        "-" if result.without_duplicates is None else f"{100 * result.without_duplicates:.2f}",
        str(result.seed), str(result.epochs), f"{(counts.parameters or 0) / 1e6:.2f} M",
        "-" if counts.macs is None else f"{counts.macs / 1e9:.3f} G",
        "-" if result.face_ms is None else f"{result.face_ms:.1f}", result.commit, result.model_sha256[:12],
        result.data_sha256[:12], result.machine, result.date,
    )  # fmt: skip


def _over_seeds(recipe: Recipe) -> str:
    values = [100 * result.value for result in recipe.measured]
    return f"`{recipe.name}` over {len(values)} seeds: {mean(values):.2f} ± {stdev(values):.2f} (standard deviation)."


def _reported() -> str:
    rows = [
        (f"`{name}`", result.dataset, result.metric, f"{result.value:g}", result.where)
        for name in METHODS
        for result in METHODS[name].reported
    ]
    return _table(("method", "data", "metric", "value", "where"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print(page(), end="")
