"""Measure explanations on FER+: how faithful the maps of a network are, and how like human knowledge those of several.

    python -m mien.recipes.explain_ferplus faithfulness --data FERPLUS --model MODEL [--pictures 100] --out FILE.json
    python -m mien.recipes.explain_ferplus likeness --data FERPLUS --model MODEL --model MODEL ... --out DIR

MODEL is the folder of a run of `mien train`; or `shipped`, the network that comes with mien; or METHOD=FILE.safetensors, a
state dict of that method with FER+'s eight classes; or random:METHOD or random:METHOD:SEED, a network of random weights as
a control. Pictures are of the private test split, drawn evenly over classes by `--seed`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.datasets.samples import Samples
from mien.engine.checkpoint import code_version, load_checkpoint, load_network
from mien.engine.network import options_of, preprocess_of
from mien.engine.recipe import recipe_from
from mien.engine.views import network_input
from mien.errors import OptionError, ShapeError
from mien.explain import human_likeness
from mien.explain.faithfulness import centre_map, faithfulness, randomised
from mien.explain.maps import MAPS, answering, in_batches
from mien.faces.crops import crop_detector, landmarks_of_pictures
from mien.files import write_whole
from mien.methods.method import METHODS, create
from mien.methods.static.mobile_expression import MobileExpression, load_shipped
from mien.methods.task import Task
from mien.transforms.align import template_to_image
from mien.transforms.augment import jittered_crops
from mien.types.media import Preprocess

PROTOCOL = "ferplus_majority_8"


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A network to be explained: its name, its task, its crop and its classes."""

    name: str
    task: Task
    preprocess: Preprocess
    labels: tuple[str, ...]
    random: int | None = None
    """Seed of a network that learned nothing."""


def load_model(text: str) -> Model:
    """A MODEL of the command line.

    Raises:
        OptionError: it is none of the forms.
        CheckpointError: its weights are another method's.
    """
    labels = tuple(load_protocol(PROTOCOL).labels)
    if text.startswith("random:"):
        _, method, *seed = text.split(":")
        drawn_by = int(seed[0]) if seed else 0
        torch.manual_seed(drawn_by)
        network, preprocess = create(method, len(labels)), METHODS[method].preprocess
        return Model(text, METHODS[method].task(network.eval()), preprocess, labels, drawn_by)
    if text == "shipped":
        network = MobileExpression(len(labels))
        load_shipped(network)
        entry = METHODS["mobile_expression"]
        return Model(text, entry.task(network.eval()), entry.preprocess, labels)
    if "=" in text:
        from safetensors import safe_open

        method, _, path = text.partition("=")
        with safe_open(path, "pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            size = int((stored.metadata() or {}).get("size", METHODS[method].preprocess.size_px))
        network = create(method, len(labels))
        load_network(network, tensors, path)
        preprocess = dataclasses.replace(METHODS[method].preprocess, size_px=size)
        return Model(method, METHODS[method].task(network.eval()), preprocess, labels)
    if not (Path(text) / "best").is_dir():
        raise OptionError(
            f"expected a run's folder, shipped, METHOD=FILE.safetensors or random:METHOD, got {text!r}"
        )
    tensors, facts = load_checkpoint(Path(text) / "best")
    recipe = recipe_from(facts["recipe"])
    network = create(recipe.method, len(facts["labels"]), **options_of(recipe))
    load_network(network, tensors, text)
    task = METHODS[recipe.method].task(network.eval())
    return Model(Path(text).name, task, preprocess_of(recipe), tuple(facts["labels"]))


def chosen_rows(samples: Samples, count: int, seed: int) -> list[int]:
    """About so many rows, evenly over classes: each class in turn gives one of its own, drawn by the seed."""
    random = np.random.default_rng(seed)
    queues = [
        random.permutation(np.flatnonzero(samples.target == k)).tolist() for k in range(len(samples.labels))
    ]
    rows: list[int] = []
    while len(rows) < count and any(queues):
        rows += [queue.pop() for queue in queues if queue]
    return sorted(rows[:count])


def faces_of(samples: Samples, rows: Sequence[int], preprocess: Preprocess) -> Tensor:
    """Aligned, normalised faces (B, C, S, S) of some pictures."""
    images, _, _ = samples.readable(rows)
    points, _ = landmarks_of_pictures(images, samples.framing, crop_detector(1))
    matrices = np.stack([template_to_image(preprocess.template, face) for face in points]).astype(np.float32)
    stack = torch.from_numpy(np.stack(images))[:, None]
    return network_input(
        jittered_crops(stack, torch.from_numpy(matrices), preprocess.size_px, None), preprocess
    )


def measure_faithfulness(
    model: Model, samples: Samples, count: int, seed: int, compared: int
) -> tuple[dict[str, Any], str]:
    """The table of the maps, for JSON and for people; maps and curves are rough, for the time it takes."""
    rows = chosen_rows(samples, count, seed)
    images = faces_of(samples, rows, model.preprocess)
    options = {
        "rise": {"masks": 64, "seed": seed},
        "integrated_gradients": {"steps": 8},
        "occlusion": squares(model.preprocess),
    }
    table = faithfulness(
        model.task, images, options=options, steps=8, compared=compared, seed=seed, quiet=False
    )
    facts = {"model": model.name, **_facts(samples, rows)}
    return {**facts, **table.to_dict()}, table.to_markdown()


def squares(preprocess: Preprocess) -> dict[str, int]:
    """Options of `occlusion` that ask 25 times a face: squares of a quarter of the side."""
    return {"patch": preprocess.size_px // 4, "stride": preprocess.size_px * 3 // 16}


def measure_likeness(
    models: Sequence[Model], samples: Samples, count: int, seed: int, name: str, out: Path
) -> tuple[dict[str, Any], str]:
    """The table of all models, and of a blob in the middle, `centre`, which asks none; the tree of the models is drawn
    to `out`/tree.png where there are several.
    """
    rows = [
        row
        for row in chosen_rows(samples, count * 8 // 6, seed)
        if samples.labels[samples.target[row]] in human_likeness.EXPECTED_UNITS
    ][:count]
    truth = [samples.labels[samples.target[row]] for row in rows]
    networks = {}
    for model in models:
        options = squares(model.preprocess) if name == "occlusion" else {}
        images = faces_of(samples, rows, model.preprocess)
        classes = torch.tensor([model.labels.index(label) for label in truth])
        # Without statistics of its norms a fresh network answers the same to every picture.
        task = model.task if model.random is None else randomised(model.task, images, model.random)
        with answering(task) as logits:
            best = in_batches(logits, images, 64).argmax(1)
        heats = torch.cat(
            [
                MAPS[name](task, *part, **options)
                for part in zip(images.split(64), classes.split(64), strict=True)
            ]
        )
        predicted = None if model.random is not None else [model.labels[k] for k in best.tolist()]
        networks[model.name] = human_likeness.class_maps(heats.numpy(), truth, predicted)
    blob = centre_map(None, torch.zeros(len(truth), 3, 64, 64), None).numpy()
    controls = {"centre": human_likeness.class_maps(blob, truth, None)}
    found = [
        row for model, maps in (networks | controls).items() for row in human_likeness.likeness(model, maps)
    ]
    out.mkdir(parents=True, exist_ok=True)
    facts = {"map": name, **_facts(samples, rows), "networks": list(networks)}
    try:
        distance = human_likeness.distances(networks)
        facts["distances"] = distance.tolist()
        if len(networks) > 1:
            human_likeness.draw_dendrogram(distance, list(networks), out / "tree.png")
    except ShapeError as error:  # a network whose maps are flat; the table stands without a tree
        facts["no_tree"] = str(error)
    return {**facts, "classes": human_likeness.to_dicts(found)}, human_likeness.to_markdown(found)


def _facts(samples: Samples, rows: Sequence[int]) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "split": "private_test",
        "pictures": len(rows),
        "data_sha256": samples.sha256,
        "rows_sha256": hashlib.sha256(np.array(rows, np.int64).tobytes()).hexdigest(),
        "commit": code_version(),
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", choices=("faithfulness", "likeness"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--compared", type=int, default=12, help="pictures for the two correlations")
    parser.add_argument("--map", default="occlusion", help="for likeness")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    protocol = load_protocol(PROTOCOL)
    samples = DATASETS[protocol.dataset].samples(options.data, protocol, "private_test")
    models = [load_model(text) for text in options.model]
    if options.question == "faithfulness":
        count = options.pictures or 100
        found, text = measure_faithfulness(models[0], samples, count, options.seed, options.compared)
        target = options.out
    else:
        count = options.pictures or 300
        found, text = measure_likeness(models, samples, count, options.seed, options.map, options.out)
        target = options.out / "likeness.json"
    write_whole(target, json.dumps(found, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
