"""What one face costs each measured network: all of them in turn in one run, so that the figures can be compared.

`python -m mien.recipes.timed` builds the networks behind `measured.json` with fresh weights, which cost what learned ones
do, exports them as `mien export` does, and writes what ONNX Runtime takes for one face on one thread into `timed.json`
beside this file. Run it where nothing else runs: the load of the machine is stored with the figures.
"""

from __future__ import annotations

import json
import os
import time
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mien.engine.recipe import RECIPES, Recipe, override
from mien.files import write_whole
from mien.recipes.measured import Measured, measured

FILE = Path(__file__).with_name("timed.json")
ROUNDS = 15
FACES = 4
"""Faces of each network in a round."""


def network_name(result: Measured) -> str:
    """Method, options and side of a result's network, where they are not its own, such as `se_swint_112 {"se": false}`."""
    from mien.engine.network import options_of

    recipe = recipe_of(result)
    options = {**options_of(recipe), **({"size": recipe.size_px} if recipe.size_px else {})}
    return f"{recipe.method} {json.dumps(options, sort_keys=True)}"


def recipe_of(result: Measured) -> Recipe:
    """The recipe that a result was run by, its seed apart."""
    return override(RECIPES[result.recipe], result.changes)


def timed() -> dict[str, Any]:
    """What was stored: `face_ms` by network, and commit, machine, date and load; without figures before the first run."""
    return json.loads(FILE.read_text()) if FILE.is_file() else {"face_ms": {}}


def face_ms(recipes: dict[str, Recipe], rounds: int = ROUNDS) -> dict[str, float]:
    """Median milliseconds of one face on one thread of each network.

    Args:
        recipes: by the network's name.
        rounds: how often each has its turn; before them each sees one face that does not count.
    """
    from mien.weights.store import session_of

    calls = {}
    for name, recipe in recipes.items():
        content, shape = exported(recipe)
        session = session_of(content, 1)
        face = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
        calls[name] = (session, {session.get_inputs()[0].name: face})
        session.run(None, calls[name][1])
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (session, faces) in calls.items():
            for _ in range(FACES):
                started = time.perf_counter()
                session.run(None, faces)
                seconds[name].append(time.perf_counter() - started)
    return {name: round(1000 * median(values), 2) for name, values in seconds.items()}


def exported(recipe: Recipe) -> tuple[bytes, tuple[int, ...]]:
    """A recipe's network with fresh weights as an ONNX file, and the shape of a face (C, H, W)."""
    import torch

    from mien.datasets.protocol import load_protocol
    from mien.engine.network import options_of, preprocess_of
    from mien.methods.method import METHODS, create
    from mien.methods.onnx import store_as_float16, to_onnx

    network = create(recipe.method, len(load_protocol(recipe.protocol).labels), **options_of(recipe))
    shape = preprocess_of(recipe).shape
    model = to_onnx(METHODS[recipe.method].task(network), torch.zeros(2, *shape))
    return store_as_float16(model).SerializeToString(), shape


def main() -> None:
    """Time every measured network, and keep the figures."""
    import onnxruntime

    from mien.engine.checkpoint import code_version, processor

    load = round(os.getloadavg()[0], 2)
    facts = {
        "commit": code_version(),
        "machine": f"{processor()}, onnxruntime {onnxruntime.__version__}",
        "date": date.today().isoformat(),
        "load_at_start": load,
        "face_ms": face_ms({network_name(one): recipe_of(one) for one in measured()}),
    }
    write_whole(FILE, json.dumps(facts, indent=1, sort_keys=True) + "\n")
    print(FILE.read_text(), end="")


if __name__ == "__main__":
    main()
