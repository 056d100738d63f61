"""What cues of action units change: two runs of one recipe, one seed, with the rule and without it.

    python -m mien.recipes.au_cue_compare --data FERPLUS --out DIR [--recipe NAME] [--points FILE.npz] [--set F=V ...]

Goes on where it was stopped. Writes DIR/with, DIR/without and DIR/compared.json, and prints a table: accuracy on the
protocol's test split; and, over its pictures whose class has units, the mean cosine of the true class's map with the cue
(CAM-COS; the map is `cam`, or `grad_cam` for networks that have no such end) and of the rule's layer's attention with it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.engine.checkpoint import load_checkpoint, load_network
from mien.engine.cues import load_points, with_cues
from mien.engine.network import options_of, predict, preprocess_of
from mien.engine.pictures import Pictures, prepare
from mien.engine.recipe import RECIPES, Recipe, Views, override
from mien.engine.train import train
from mien.engine.views import cue_views, network_input
from mien.errors import DataError, OptionError
from mien.explain.maps import MAPS
from mien.files import write_whole
from mien.losses.cue_alignment import attention_of, cosines
from mien.methods.layers import as_maps, evaluating, layer_of, outputs
from mien.methods.method import METHODS, create
from mien.methods.task import Task
from mien.metrics.classification import accuracy, confusion
from mien.transforms.augment import jittered_crops
from mien.types.media import Preprocess


def cue_agreement(
    task: Task, pictures: Pictures, preprocess: Preprocess, layers: Sequence[str] | None = None
) -> dict[str, Any]:
    """How near maps and attention are to the cues: the mean cosines over the pictures that have one.

    Args:
        task: a trained network.
        pictures: with cues; their true classes are explained.
        preprocess: the network's crop.
        layers: whose attention is compared; the network's `explain_layer` where left out.

    Returns:
        "map" (its name), "cam_cos", "attention_cos" (mean over the layers), "pictures".

    Raises:
        DataError: the pictures have no cues.
    """
    name = "cam" if hasattr(task.network, "cam_layer") else "grad_cam"
    if pictures.cues is None:
        raise DataError("expected pictures with cues, got none. Add them with `mien.engine.cues.with_cues`")
    found: list[list[Tensor]] = [[], []]
    rows = torch.nonzero((pictures.cues.rows >= 0) & (pictures.truth >= 0))[:, 0]
    for some in rows.split(64):
        plain = jittered_crops(pictures.images[some], pictures.matrices[some], preprocess.size_px, None)
        images = network_input(plain, preprocess)
        cues = cue_views(pictures, some, preprocess.size_px, Views(), None)["au_cue"]
        maps = MAPS[name](task, images, pictures.truth[some])
        found[0].append(cosines(maps, cues))
        with torch.no_grad(), evaluating(task.network):
            for layer in layers or (None,):
                with outputs(layer_of(task.network, layer)) as seen:
                    task.logits(images)
                found[1].append(cosines(attention_of(as_maps(task.network, seen[-1], len(some))), cues))
    cam_cos, attention_cos = (float(torch.cat(part).mean()) for part in found)
    return {"map": name, "cam_cos": cam_cos, "attention_cos": attention_cos, "pictures": len(rows)}


def compare(
    recipe: Recipe, root: Path, out: Path, points: Path | None = None, check: bool = True, quiet: bool = False
) -> dict[str, Any]:
    """Train both, measure both on the test split, and write `compared.json`.

    Raises:
        OptionError: the recipe has no rule.
    """
    if recipe.rule is None:
        raise OptionError(f"expected a recipe with a rule, such as au_cue_ferplus_small, got {recipe.name!r}")
    protocol, preprocess = load_protocol(recipe.protocol), preprocess_of(recipe)
    samples = DATASETS[protocol.dataset].samples(root, protocol, protocol.test, check=check)
    test = prepare(samples, preprocess.template, preprocess.size_px, quiet)
    test = with_cues(test, protocol.labels, None if points is None else load_points(points))
    found: dict[str, Any] = {"recipe": recipe.to_dict(), "test": protocol.test, "data_sha256": test.sha256}
    for kind, one in (("with", recipe), ("without", dataclasses.replace(recipe, rule=None, rule_options={}))):
        train(one, root, out / kind, points=points if kind == "with" else None, check=check, quiet=quiet)
        tensors, facts = load_checkpoint(out / kind / "best")
        network = create(recipe.method, len(protocol.labels), **options_of(recipe))
        load_network(network, tensors, str(out / kind / "best"))
        task = METHODS[recipe.method].task(network.eval())
        kept = test.truth >= 0
        predicted = predict(task, test, preprocess)[kept].argmax(1)
        counts = confusion(test.truth[kept].numpy(), predicted.numpy(), len(protocol.labels))
        agreement = cue_agreement(task, test, preprocess, recipe.rule_options.get("layers"))
        found[kind] = {
            "accuracy": accuracy(counts),
            **agreement,
            "epoch": facts["epoch"],
            "commit": facts["commit"],
        }
    write_whole(out / "compared.json", json.dumps(found, indent=1) + "\n")
    return found


def to_markdown(found: dict[str, Any]) -> str:
    """For people."""
    lines = ["| cues | accuracy | CAM-COS | attention-COS |", "|---|---|---|---|"]
    for kind in ("without", "with"):
        one = found[kind]
        cosine = f"{one['cam_cos']:.3f} | {one['attention_cos']:.3f}"
        lines.append(f"| {kind} | {100 * one['accuracy']:.2f} % | {cosine} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="au_cue_ferplus_small")
    parser.add_argument("--points", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args(arguments)
    recipe = override(RECIPES[options.recipe], options.set)
    print(to_markdown(compare(recipe, options.data, options.out, options.points)))


if __name__ == "__main__":
    main()
