"""Turn a training run into the network that ships: fold, calibrate, measure, write the contract.

    python -m mien.recipes.export_expression RUN --ferplus DIR --out expression.onnx [--private]

Temperature and the threshold of `uncertain` are fitted on the FER+ public test split. `--private`, once,
at the end, also measures the private test split and writes the figures into the contract. Weights are
stored as float16 and computed in float32: half the bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.datasets import ferplus
from mien.engine.calibration import certain_threshold
from mien.evaluate.expression import evaluate_ferplus, logits_of_ferplus
from mien.labels.expressions import EXPRESSIONS
from mien.methods.onnx import store_as_float16, to_onnx
from mien.methods.runner import ExpressionRunner
from mien.methods.static.mobile_expression import MobileExpression
from mien.methods.task import Task
from mien.metrics.calibration import fit_temperature
from mien.weights.store import read_contract, write_contract

BIAS_COST = 0.001
"""Accuracy on the public test split that the bias for rare classes may cost."""


def contract(size: int, template: str, calibration: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    """What stands in the file's metadata."""
    return {
        "task": "expression",
        "licence": "Apache-2.0",
        "notice": "mien expression network. Trunk started from SFace (OpenCV model zoo, Apache-2.0).",
        "labels": list(EXPRESSIONS),
        "preprocess": {
            "size_px": size,
            "template": template,
            "channel_order": "RGB",
            "mean": [127.5] * 3,
            "std": [128.0] * 3,
        },
        "calibration": calibration,
        "trained_on": [
            "FER2013 pictures with FER+ votes, train split (votes MIT; pictures: no licence stated)",
            "muxspace/facial_expressions, train split by person, five classes (Apache-2.0 repository)",
            "SFace trunk: face identities, as its authors state",
        ],
        "scores": scores,
        "provenance": "mien.recipes.expression; seed, data hashes and log in docs/models/expression",
    }


def with_contract(model: Any, stored: dict[str, Any]) -> bytes:
    """The file's bytes with a contract."""
    write_contract(model, stored)
    return model.SerializeToString()


def fit_calibration(content: bytes, root: str) -> dict[str, Any]:
    """Temperature, bias and threshold from the public test split, with the figures that decided them.

    The bias takes back a part `tau` of the training set's class shares, -tau * log(share), so that rare
    classes are found more often: the largest tau that costs at most `BIAS_COST` of accuracy.
    Source: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, eq. 9.
    """
    runner = ExpressionRunner(read_contract("expression", content))
    data = ferplus.load(root, "public_test")
    logits, _ = logits_of_ferplus(runner, data.images)
    kept = data.majority >= 0
    logits, truth = logits[kept], data.majority[kept]
    share = ferplus.load(root, "train").soft.sum(0)
    share = share / share.sum()
    plain = fit_temperature(logits, truth)

    def accuracy(tau: float) -> float:
        return float(((logits / plain - tau * np.log(share)).argmax(1) == truth).mean())

    tau = max(tau for tau in np.arange(0, 0.51, 0.05) if accuracy(tau) >= accuracy(0) - BIAS_COST)
    bias = np.round(-tau * np.log(share), 4)
    temperature = round(fit_temperature(logits, truth, bias), 4)
    scaled = np.exp(logits / temperature + bias)
    probabilities = scaled / scaled.sum(1, keepdims=True)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == truth
    return {
        "method": "temperature and prior bias: softmax(logits / temperature + bias)",
        "temperature": temperature,
        "bias": [float(value) for value in bias],
        "tau": round(float(tau), 2),
        "threshold": certain_threshold(confidence, correct),
        "fitted_on": f"FER+ public test, majority protocol, {len(truth)} pictures",
        "public_accuracy": round(float(correct.mean()), 4),
        "public_accuracy_without_bias": round(accuracy(0), 4),
    }


def main() -> None:
    """The command in the module's text."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--ferplus", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--private", action="store_true")
    options = parser.parse_args()
    recipe = json.loads((options.run / "log.jsonl").read_text().splitlines()[0])["recipe"]
    best = options.run / "best.safetensors"
    with safe_open(best, "pt") as stored:
        size = int(stored.metadata()["size"])
    network = MobileExpression()
    network.load_state_dict(load_file(best), strict=True)
    network.eval()
    model = store_as_float16(to_onnx(Task(network), torch.zeros(2, 3, size, size)))

    template = recipe["template"]
    content = with_contract(model, contract(size, template, {"temperature": 1.0, "threshold": 0.5}, {}))
    probe = np.random.default_rng(0).integers(0, 256, (16, size, size, 3), np.uint8)
    with torch.no_grad():
        reference = network((torch.from_numpy(probe).permute(0, 3, 1, 2).float() - 127.5) / 128).numpy()
    parity = float(np.abs(ExpressionRunner(read_contract("x", content)).logits(probe) - reference).max())
    calibration = fit_calibration(content, options.ferplus)
    scores: dict[str, Any] = {
        "seed": recipe["seed"],
        "max_logit_difference_to_torch": round(parity, 5),
        "state_sha256": hashlib.sha256(best.read_bytes()).hexdigest(),
    }
    options.out.write_bytes(with_contract(model, contract(size, template, calibration, scores)))
    if options.private:
        figures = evaluate_ferplus(options.out, options.ferplus, "private_test")
        figures.pop("model_sha256")  # the contract is part of the file, so it cannot hold the file's hash
        scores["ferplus_private"] = figures
        options.out.write_bytes(with_contract(model, contract(size, template, calibration, scores)))
    print(json.dumps({"calibration": calibration, "scores": scores}, indent=1))
    print(hashlib.sha256(options.out.read_bytes()).hexdigest(), options.out)


if __name__ == "__main__":
    main()
