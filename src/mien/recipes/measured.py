"""What our runs of the recipes gave, and the one way in which a figure comes to be there.

`python -m mien.recipes.measured RUN --data ROOT` exports the best epoch of a finished run, measures the file once on the
protocol's test split, and writes the result into `measured.json` beside this file. The page of results is made from that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from mien.engine.recipe import RECIPES, recipe_from
from mien.errors import CheckpointError
from mien.files import write_whole

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Measured:
    """A result of ours, with all that a number needs to travel.

    Attributes:
        recipe: registry name; changes: `--set` assignments that the run had besides, the seed apart.
        metric, value, split: what was measured; `value` as a share, not in percent.
        low, high: its 95 % interval over pictures or people.
        without_duplicates: the same without pictures that are pixel-identical to training ones, or `None`.
        uar: mean recall of the classes.
        seed: of the run; epoch: the one that was chosen, counted from one, and epochs: how many there were.
        hours: of training, by the run's own log.
        parameters, macs: of the network as measured, one face.
        commit: of the code that trained. model_sha256: of the exported file. data_sha256: of the split.
        machine, date: where and when.
    """

    recipe: str
    changes: tuple[str, ...]
    metric: str
    value: float
    low: float
    high: float
    without_duplicates: float | None
    uar: float
    split: str
    seed: int
    epoch: int
    epochs: int
    hours: float
    parameters: int
    macs: int
    commit: str
    model_sha256: str
    data_sha256: str
    machine: str
    date: str


def measured() -> list[Measured]:
    """All results, by recipe, changes and seed."""
    stored = json.loads(FILE.read_text()) if FILE.is_file() else []
    return [Measured(**{**one, "changes": tuple(one["changes"])}) for one in stored]


def record(run: Path, root: Path) -> Measured:
    """Measure a finished run and keep the result in place of an earlier one of the same recipe, changes and seed.

    Args:
        run: folder of the run; `model.onnx` and `report/` are written there.
        root: folder of the data set.

    Raises:
        CheckpointError: the run is not finished.
    """
    result = result_of(run, root)
    rest = [one for one in measured() if _key(one) != _key(result)]
    rows = [dataclasses.asdict(one) for one in sorted([*rest, result], key=_key)]
    write_whole(FILE, json.dumps(rows, indent=1) + "\n")
    return result


def result_of(run: Path, root: Path) -> Measured:
    """Export and measure a finished run; see `record`."""
    from mien.engine.checkpoint import load_checkpoint
    from mien.engine.export import export
    from mien.engine.journal import read_log
    from mien.evaluate.model import measure, write_report

    state = load_checkpoint(run / "last")[1]["state"]
    _, facts = load_checkpoint(run / "best")
    recipe = facts["recipe"]
    if state["epoch"] < recipe["epochs"] and not state["stopped"]:
        raise CheckpointError(
            f"expected a finished run in {run}, got one after {state['epoch']} of {recipe['epochs']} epochs. "
            "Let it end first: results of a run that goes on would be chosen by looking."
        )
    model = run / "model.onnx"
    export(run, model)
    found = measure(model, facts["protocol"], root)
    write_report(found, run / "report")
    metric, figures = found.facts["metric"], found.figures["all"]
    own = found.figures.get("without_duplicates")
    parameters, macs = counts_of(recipe, len(facts["labels"]))
    log = read_log(run)
    return Measured(
        recipe=recipe["name"],
        changes=changes_of(recipe),
        metric=metric,
        value=figures[metric],
        low=figures[f"{metric}_95"][0],
        high=figures[f"{metric}_95"][1],
        without_duplicates=None if own is None else own[metric],
        uar=figures["uar"],
        split=found.facts["split"],
        seed=recipe["seed"],
        epoch=facts["epoch"] + 1,
        epochs=recipe["epochs"],
        hours=round(sum(line["seconds"] for line in log) / 3600, 2),
        parameters=parameters,
        macs=macs,
        commit=facts["commit"],
        model_sha256=found.facts["model_sha256"],
        data_sha256=found.facts["data_sha256"],
        machine=f"{facts['machine']}, torch {facts['torch']}",
        date=date.today().isoformat(),
    )


def changes_of(recipe: dict[str, Any]) -> tuple[str, ...]:
    """In what a stored recipe differs from the registered one, as `--set` takes it; the seed apart.

    A field that came to be after the run has its default. Of a start, its name is told without its place.
    """
    stored, own = (
        _flat(json.loads(json.dumps(one.to_dict()))) for one in (recipe_from(recipe), RECIPES[recipe["name"]])
    )
    stored["start"] = Path(stored["start"]).name
    names = sorted({*stored, *own} - {"seed", "source"})
    return tuple(
        f"{name}={stored.get(name)}"
        for name in names
        if stored.get(name) != own.get(name) and not name.startswith("sources")
    )


def _flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return flat


def counts_of(recipe: dict[str, Any], classes: int) -> tuple[int, int]:
    """Parameters, and multiply-accumulates of one face, of a recipe's network."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mien.engine.network import options_of, preprocess_of
    from mien.methods.method import METHODS, create

    plan = recipe_from(recipe)
    network = create(plan.method, classes, **options_of(plan)).eval()
    preprocess = preprocess_of(plan)
    face = torch.zeros(1, len(preprocess.mean), preprocess.size_px, preprocess.size_px)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        METHODS[plan.method].task(network).logits(face)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


def _key(result: Measured) -> tuple[str, tuple[str, ...], int]:
    return result.recipe, result.changes, result.seed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a finished run, and keep the result."""
    parser = argparse.ArgumentParser(prog="python -m mien.recipes.measured", description=main.__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    options = parser.parse_args(arguments)
    result = record(options.run, options.data)
    print(json.dumps(dataclasses.asdict(result), indent=1))


if __name__ == "__main__":
    main()
