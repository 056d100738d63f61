"""TinyEmo on FER+: a projector from the shipped network's features to SmolLM2's words, and the nearest word.

    python -m mien.recipes.tinyemo_ferplus --ferplus DIR --out RUN

SmolLM2 comes by `mien weights fetch smollm2`. Features are cut once (a few minutes) and kept in `--cache`; the
projector learns in seconds. Writes under RUN: `words.npz`,
`log.jsonl`, `best/` (the epoch with the best accuracy on the public test split; `mien export RUN` takes it) and
`private_test.json`, the one measurement of the private test split, beside the classifier alone on the same pictures.
`mien train tinyemo_ferplus --set options.words=words.npz` does the same from jittered pictures, much slower;
without that option it trains the ablation with random directions.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.engine.calibration import calibrate
from mien.engine.checkpoint import code_version, load_checkpoint, load_network, save_checkpoint
from mien.engine.optim import learning_rate, optimiser
from mien.engine.recipe import Optim, Recipe, Schedule, Targets, override, register
from mien.engine.views import seed_of
from mien.files import whole
from mien.labels.expressions import EXPRESSIONS
from mien.methods.language.causal_lm import load_llm, word_embeddings
from mien.methods.language.tinyemo import TinyEmo, cosines, set_words
from mien.methods.method import METHODS, create
from mien.metrics.bootstrap import bootstrap_mean
from mien.metrics.classification import confusion, macro_f1, uar
from mien.metrics.significance import mcnemar_exact
from mien.recipes.ferplus_features import Seen, seen
from mien.weights.catalogue import CATALOGUE
from mien.weights.fetch import fetched_path

RECIPE = Recipe(
    name="tinyemo_ferplus",
    method="tinyemo",
    protocol="ferplus_majority_8",
    epochs=5,
    batch_size=32,
    optim=Optim("adamw", lr=5e-4, weight_decay=0.01, clip=None),
    schedule=Schedule("cosine", warmup_epochs=0.025),
    targets=Targets(soft=False),
    source="repository ggcr/TinyEmo",
    sources={
        "epochs": "repository",
        "batch_size": "repository",
        "optim.lr": "repository: peak of a one-cycle schedule over 2e-5",
        "optim.weight_decay": "AdamW's default, from memory",
        "schedule.name": "a linear warm-up and a cosine stand for the repository's one-cycle schedule",
        "schedule.warmup_epochs": "repository: pct_start 0.005 of five epochs",
    },
)
register(RECIPE)


def projected(network: TinyEmo, features: Tensor) -> Tensor:
    """Pooled features (N, 1024) -> cosines (N, K)."""
    return cosines(network.projector(features), network.head.weight)


def train(recipe: Recipe, network: TinyEmo, parts: dict[str, Seen], out: Path) -> None:
    """Train the projector on cut features; see the module's text for what it writes.

    Args:
        recipe: what to do.
        network: its projector is trained, with the words that it has.
        parts: "train" and "public_test".
        out: folder of the run; a run that is there is replaced.
    """
    features, truth = pooled(parts["train"]), torch.from_numpy(parts["train"].truth)
    network.train()
    optim = optimiser(network, recipe.optim)
    steps, best = len(features) // recipe.batch_size, -1.0
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    for epoch in range(recipe.epochs):
        torch.manual_seed(seed_of(recipe.seed, epoch))
        losses = []
        for step, rows in enumerate(torch.randperm(len(features)).split(recipe.batch_size)[:steps]):
            rate = learning_rate(recipe.schedule, recipe.optim.lr, epoch * steps + step, steps, recipe.epochs)
            for group in optim.param_groups:
                group["lr"] = rate
            loss = network.loss(network.projector(features[rows]), network.head.weight, truth[rows])
            optim.zero_grad()
            loss.backward()
            optim.step()
            losses.append(loss.item())
        logits = answered(network, parts["public_test"])
        score = float((logits.argmax(1) == parts["public_test"].truth).mean())
        lines.append(
            {"epoch": epoch, "loss": round(float(np.mean(losses)), 5), "public_accuracy": round(score, 5)}
        )
        print(json.dumps(lines[-1]), flush=True)
        if score > best:
            best = score
            facts = {**_facts(recipe, parts, logits), "epoch": epoch, "select_score": score}
            save_checkpoint(out / "best", network.state_dict(), facts)
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def pooled(part: Seen) -> Tensor:
    """Its features, float32 (N, 1024)."""
    return torch.from_numpy(part.tokens[:, 0].astype(np.float32))


@torch.no_grad()
def answered(network: TinyEmo, part: Seen) -> np.ndarray:
    """Cosines (N, K); the network goes on learning afterwards."""
    network.eval()
    found = projected(network, pooled(part)).numpy()
    network.train()
    return found


def _facts(recipe: Recipe, parts: dict[str, Seen], logits: np.ndarray) -> dict[str, Any]:
    """What `mien export` wants to know of a run."""
    return {
        "recipe": recipe.to_dict(),
        "labels": list(EXPRESSIONS),
        "protocol": recipe.protocol,
        "dataset": "ferplus",
        "metric": "accuracy",
        "preprocess": dataclasses.asdict(METHODS["tinyemo"].preprocess),
        "calibration": calibrate(logits, parts["public_test"].truth, "public_test"),
        "data": {name: part.data_sha256 for name, part in parts.items()},
        "pictures": {name: len(part) for name, part in parts.items()},
        "tower_sha256": parts["train"].model_sha256,
        "commit": code_version(),
        "machine": f"{platform.machine()}, one thread",
        "torch": torch.__version__,
    }


def measure(network: TinyEmo, part: Seen) -> dict[str, Any]:
    """Accuracy of the nearest word beside that of the classifier alone, on the same pictures."""
    logits = answered(network, part)
    word, alone = (found == part.truth for found in (logits.argmax(1), part.answers))
    counts = confusion(part.truth, logits.argmax(1), len(EXPRESSIONS))
    test = mcnemar_exact(word, alone)
    return {
        "pictures": len(part),
        "data_sha256": part.data_sha256,
        "tower_sha256": part.model_sha256,
        "nearest_word": {
            "accuracy": round(float(word.mean()), 4),
            "accuracy_95": [round(edge, 4) for edge in bootstrap_mean(word.astype(float))],
            "uar": round(uar(counts), 4),
            "macro_f1": round(macro_f1(counts), 4),
        },
        "classifier_alone": {
            "accuracy": round(float(alone.mean()), 4),
            "accuracy_95": [round(edge, 4) for edge in bootstrap_mean(alone.astype(float))],
        },
        "mcnemar_p": round(test.p_value, 4),
        "only_the_word_right": test.only_first,
        "only_the_classifier_right": test.only_second,
    }


def words_of_classes(out: Path) -> Tensor:
    """Words (8, D) of mien's classes, kept in `words.npz` under `out`, so that the language model is read once."""
    path = out / "words.npz"
    if not path.is_file():
        llm, words = load_llm(fetched_path("smollm2"))
        out.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            np.savez(
                file,
                words=word_embeddings(llm, words, EXPRESSIONS).numpy(),
                llm_sha256=CATALOGUE["smollm2"].sha256,
            )
    with np.load(path) as stored:
        return torch.from_numpy(stored["words"])


def main() -> None:
    """The command in the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ferplus", required=True)
    parser.add_argument("--random-words", action="store_true", help="random directions instead: the ablation")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="folder of the features; OUT/features where left out")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a field of the recipe"
    )
    options = parser.parse_args()
    recipe = override(RECIPE, options.set)
    torch.manual_seed(recipe.seed)
    network: TinyEmo = create("tinyemo", len(EXPRESSIONS), **recipe.options)  # type: ignore[assignment]
    if not options.random_words:
        set_words(network, words_of_classes(options.out))
    cache = options.cache or options.out / "features"
    parts = {
        split: seen(options.ferplus, split, cache, pooled=True)
        for split in ("train", "public_test", "private_test")
    }
    private = parts.pop("private_test")
    train(recipe, network, parts, options.out)
    tensors, facts = load_checkpoint(options.out / "best")
    load_network(network, tensors, str(options.out / "best"))
    figures = {
        "protocol": "FER+ majority, private_test, single view, plain crops",
        "words": "random directions"
        if options.random_words
        else f"SmolLM2 {CATALOGUE['smollm2'].sha256[:12]}",
        "seed": recipe.seed,
        "epoch": facts["epoch"],
        **measure(network, private),
    }
    text = json.dumps(figures, indent=1)
    (options.out / "private_test.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
