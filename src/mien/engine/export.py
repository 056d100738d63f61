"""From a run to one ONNX file with its contract inside: calibrated, checked against torch, ready to analyse."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.datasets.dataset import DATASETS
from mien.engine.checkpoint import has_checkpoint, load_checkpoint, load_network
from mien.engine.network import options_of
from mien.engine.recipe import recipe_from
from mien.engine.views import network_input
from mien.errors import CheckpointError, OptionError, WeightsError
from mien.files import write_whole
from mien.labels.action_units import unit_numbers
from mien.methods.method import METHODS, create
from mien.methods.onnx import store_as_float16, to_onnx
from mien.methods.runner import face_runner
from mien.types.media import Preprocess
from mien.weights.store import read_contract, write_contract

MOST_DIFFERENCE = 0.02
"""Largest difference of the file's outputs from torch's, relative to the largest one, that is accepted."""


def export(run: Path, out: Path, licence: str = "not stated", half: bool = True) -> dict[str, Any]:
    """Write the best epoch of a run as an ONNX file that `mien analyze --model` runs.

    Args:
        run: folder of the run.
        out: file to write; it appears whole.
        licence: SPDX name under which you give the weights on, which depends on your data.
        half: store large constants as float16 (computed in float32): half the bytes.

    Returns:
        sha256, bytes, parity (largest difference of the outputs: logits, or probabilities of units),
        calibration, and whether `mien analyze` takes it: it sees pictures, not clips or blendshapes.

    Raises:
        CheckpointError: the run has no finished epoch, or is not whole.
        OptionError: `out` does not end in .onnx, or the network takes motion pictures, which nothing of mien makes
            while it runs a file.
        WeightsError: the file's outputs differ from torch's.
    """
    if out.suffix.lower() != ".onnx":
        raise OptionError(f"expected a file that ends in .onnx, got {out}. Name it so.")
    if not has_checkpoint(run / "best"):
        raise CheckpointError(
            f"expected a run with a finished epoch in {run}, got no {run / 'best'}. Train first."
        )
    tensors, facts = load_checkpoint(run / "best")
    recipe = recipe_from(facts["recipe"])
    stored = facts["preprocess"]
    preprocess = Preprocess(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
    if preprocess.of_motion:
        raise OptionError(
            f"expected a run of a network for faces, got {recipe.method!r} for motion pictures, which cannot be exported. "
            "`python -m mien.recipes.micro_loso` measures it; its weights are in best/ as safetensors."
        )
    network = create(recipe.method, len(facts["labels"]), **options_of(recipe))
    load_network(network, tensors, str(run / "best"))
    task = METHODS[recipe.method].task(network.eval())
    model = to_onnx(task, torch.zeros(2, *preprocess.shape))
    if half:
        model = store_as_float16(model)
    contract = _contract(facts, licence)
    write_contract(model, contract)
    runner = face_runner(read_contract(out.stem, model.SerializeToString()))
    faces, values = _probe(preprocess)
    with torch.no_grad():
        wanted = task.answer(network_input(values, preprocess)).numpy()
    parity = float(np.abs(runner.outputs(faces) - wanted).max())
    if not parity <= MOST_DIFFERENCE * max(1.0, float(np.abs(wanted).max())):  # NaN is no parity
        raise WeightsError(
            f"expected the ONNX file's logits to be torch's, got a difference of {parity:.3g}. Export with half "
            "off, or report the method."
        )
    contract["scores"]["max_logit_difference_to_torch"] = round(parity, 6)
    write_contract(model, contract)
    content = model.SerializeToString()
    write_whole(out, content)
    return {
        "file": str(out),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "max_logit_difference_to_torch": parity,
        "calibration": contract["calibration"],
        "analyses": len(preprocess.shape) == 3,
    }


def _probe(preprocess: Preprocess) -> tuple[np.ndarray, torch.Tensor]:
    """Random faces as a runner takes them, and the same as `network_input` does."""
    random, count = np.random.default_rng(0), 8 if preprocess.frames is None else 2
    if preprocess.of_mesh:
        values = random.random((count, *preprocess.shape), np.float32)
        return values, torch.from_numpy(values)
    faces = random.integers(0, 256, (count, *preprocess.shape[1:], 3), np.uint8)
    return faces, torch.from_numpy(faces).movedim(-1, 1).float()


def _contract(facts: Mapping[str, Any], licence: str) -> dict[str, Any]:
    """What stands in the file's metadata."""
    recipe = facts["recipe"]
    data = DATASETS[facts["dataset"]]
    several = facts.get("task") == "action_units"
    units = {"units": list(unit_numbers(facts["labels"])), "scale": "probability"} if several else {}
    return {
        "task": "action_units" if several else "expression",
        **units,
        "licence": licence,
        "notice": f"{recipe['method']}, trained with mien on {data.title}.",
        "labels": facts["labels"],
        "preprocess": facts["preprocess"],
        "calibration": facts["calibration"],
        "trained_on": [f"{data.title}, {facts['protocol']} ({data.licence})"],
        "scores": {
            "selection": {"metric": facts["metric"], "value": facts["select_score"], "epoch": facts["epoch"]},
            "protocol": facts["protocol"],
            **({} if facts.get("fold") is None else {"fold": facts["fold"]}),
            "seed": recipe["seed"],
            "data": facts["data"],
            "commit": facts["commit"],
        },
        "provenance": f"mien recipe {recipe['name']}; commit {facts['commit']}",
    }
