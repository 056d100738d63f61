"""How much of the person is left in features that were trained for action units, with and without an adversary.

    python -m mien.recipes.identity_leakage --data DIR --out DIR [--strengths 0 0.5 2 10]

After Ning, Salah, Ertugrul 2024 (`mien.methods.units.fmae_iat`), small: 128 principal components go through one hidden
layer of 64 with a norm, from which action units and, through a reversed gradient, the person are told, both with binary
cross-entropy of equal weight. The components are of the pixels (48 x 48), or of the pooled features of the shipped
network. Trained on CK+ (`ckplus48`), by the folds of `ckplus48_au`. Of each training person with two sequences or more,
one sequence, chosen by hash, is held out, and so is the last frame of each other sequence.

A linear probe learns the person from the hidden features of what the network was trained on, and is measured on

- the held-out frames: the same sequence a moment later, almost the same picture;
- the held-out sequences: the same person with another expression. This is the figure to look at. In CK+ a person
  shows an expression once, so that features of expressions alone come out at chance or under it.

Action units are measured on the tested people of each fold (all their frames, threshold 0.5), pooled. Strength 0 has
no identity branch. Writes `identity.json` and `identity.md`; the weights are thrown away.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol, name_share, people_of_split
from mien.engine.checkpoint import code_version
from mien.engine.linear import fit_classes
from mien.evaluate import markdown
from mien.evaluate.units import mean_of_defined
from mien.files import write_whole
from mien.methods.task import binary_cross_entropy
from mien.methods.units.fmae_iat import identity_loss, reverse_gradient
from mien.metrics.multilabel import known_aurocs, known_f1_scores
from mien.recipes.units_ckplus import PROTOCOL, UnitFeatures, read_features, sequences_of

COMPONENTS, HIDDEN = 128, 64
STEPS, LR, WEIGHT_DECAY = 300, 1e-3, 1e-3
PROBE_RIDGE = 1e-3
STRENGTHS = (0.0, 0.5, 2.0, 10.0)
SEED = 20261121


class LightUnits(nn.Module):
    """One hidden layer, a head for units, and one for people behind a reversed gradient.

    Args:
        inputs, units, people: how many.
        strength: of the reversal; 0 for no identity branch.
    """

    def __init__(self, inputs: int, units: int, people: int, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.hidden, self.norm = nn.Linear(inputs, HIDDEN), nn.LayerNorm(HIDDEN)
        self.head = nn.Linear(HIDDEN, units)
        self.identity = nn.Linear(HIDDEN, people) if strength else None

    def features(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, 64), normed, so that a reversed gradient cannot shrink them to nothing."""
        return self.norm(functional.gelu(self.hidden(x)))

    def loss(self, x: Tensor, units: Tensor, identity: Tensor) -> Tensor:
        """Binary cross-entropy of the units (B, K) and, of equal weight, of the people (B,)."""
        features = self.features(x)
        loss = binary_cross_entropy(self.head(features), units)
        if self.identity is None:
            return loss
        return loss + identity_loss(self.identity(reverse_gradient(features, self.strength)), identity)


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows of one fold: what is learned from, the two held-out kinds, and the tested people's."""

    learned: np.ndarray
    frames: np.ndarray
    sequences: np.ndarray
    tested: np.ndarray


def parts_of(pictures: UnitFeatures, fold: int) -> Parts:
    """Divide all pictures for one fold; see the module's text."""
    protocol = load_protocol(PROTOCOL)
    tested_people = people_of_split(protocol, set(pictures.people), protocol.test, fold)
    own: dict[str, list[list[int]]] = {}
    for rows in sequences_of(pictures.ids):
        own.setdefault(pictures.people[rows[0]], []).append(rows)
    learned, frames, sequences, tested = [], [], [], []
    for person, several in own.items():
        if person in tested_people:
            tested += [row for rows in several for row in rows]
            continue
        several = sorted(several, key=lambda rows: name_share(f"leakage:{pictures.ids[rows[0]][:8]}"))
        if len(several) > 1:
            sequences += several.pop(0)
        learned += [row for rows in several for row in rows[:-1]]
        frames += [rows[-1] for rows in several]
    return Parts(*(np.array(rows, int) for rows in (learned, frames, sequences, tested)))


def trained(values: Tensor, units: Tensor, identity: Tensor, strength: float, seed: int) -> LightUnits:
    """A network that has learned from all rows at once, `STEPS` times."""
    torch.manual_seed(seed)
    network = LightUnits(values.shape[1], units.shape[1], int(identity.max()) + 1, strength)
    optim = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    for _ in range(STEPS):
        loss = network.loss(values, units, identity)
        optim.zero_grad()
        loss.backward()
        optim.step()
    return network.eval()


def components(values: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """The first principal components of all rows (N, C), of deviation 1 over the rows that are learned from."""
    mean = values[learned].mean(0)
    _, strength, axes = np.linalg.svd(values[learned] - mean, full_matrices=False)
    count = min(COMPONENTS, int((strength > 1e-6 * strength[0]).sum()))
    scale = strength[:count] / np.sqrt(len(learned))
    return (values - mean) @ axes[:count].T / scale


def measure_fold(
    pictures: UnitFeatures, fold: int, strengths: Sequence[float]
) -> dict[float | str, dict[str, Any]]:
    """Scores of the tested rows and who is recognised, for each strength and for the "input" itself."""
    parts = parts_of(pictures, fold)
    values = components(pictures.values, parts.learned)
    names = sorted({pictures.people[row] for row in parts.learned})
    number = {name: index for index, name in enumerate(names)}
    identity = np.array([number.get(name, -1) for name in pictures.people])
    rows, people = torch.from_numpy(values).float(), torch.from_numpy(identity)
    units = torch.from_numpy(pictures.truth).float()
    found: dict[float | str, dict[str, Any]] = {"input": _probed(values, identity, parts, len(names))}
    for strength in strengths:
        learned = parts.learned
        network = trained(rows[learned], units[learned], people[learned], strength, SEED + fold)
        with torch.no_grad():
            hidden = network.features(rows)
            scores = torch.sigmoid(network.head(hidden))[parts.tested].numpy()
            own = None if network.identity is None else network.identity(hidden[learned]).argmax(1)
        found[strength] = {
            **_probed(hidden.double().numpy(), identity, parts, len(names)),
            "own_head": None if own is None else (own == people[learned]).numpy(),
            "scores": scores,
            "truth": pictures.truth[parts.tested],
        }
    return found


def _probed(features: np.ndarray, identity: np.ndarray, parts: Parts, people: int) -> dict[str, Any]:
    probe = fit_classes(features[parts.learned], identity[parts.learned], people, PROBE_RIDGE)

    def hits(rows: np.ndarray) -> np.ndarray:
        return probe.logits(features[rows]).argmax(1) == identity[rows]

    return {"people": people, "frames": hits(parts.frames), "sequences": hits(parts.sequences)}


def measure_leakage(
    pictures: UnitFeatures, strengths: Sequence[float] = STRENGTHS
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row a strength, pooled over all folds, and what the figures belong to.

    Args:
        pictures: of `mien.recipes.units_ckplus.read_features`.
        strengths: of the reversal; 0 is without.
    """
    folds = [measure_fold(pictures, fold, strengths) for fold in range(load_protocol(PROTOCOL).folds)]
    table = []
    keys: tuple[float | str, ...] = ("input", *strengths)
    for key in keys:
        runs = [fold[key] for fold in folds]
        row: dict[str, Any] = {"strength": key, "chance": np.mean([1 / run["people"] for run in runs])}
        for name in ("frames", "sequences"):
            row[f"probe_{name}"] = np.concatenate([run[name] for run in runs]).mean()
        if runs[0].get("own_head") is not None:
            row["own_head"] = np.concatenate([run["own_head"] for run in runs]).mean()
        if key != "input":
            truth, scores = (np.concatenate([run[name] for run in runs]) for name in ("truth", "scores"))
            row["mean_f1"] = mean_of_defined(known_f1_scores(truth, scores >= 0.5))
            row["mean_auroc"] = mean_of_defined(known_aurocs(truth, scores))
        rounded = {
            name: value if name == "strength" else round(float(value), 4) for name, value in row.items()
        }
        table.append(rounded)
    held_out = {kind: sum(len(fold["input"][kind]) for fold in folds) for kind in ("frames", "sequences")}
    facts = {
        "protocol": f"{PROTOCOL}, all folds pooled",
        "network": f"{COMPONENTS} components, {HIDDEN} hidden, {STEPS} steps of AdamW at {LR}, seed {SEED} + fold",
        "probe": f"softmax on the hidden features, ridge {PROBE_RIDGE}",
        "held_out": held_out,
        **pictures.facts,
        "commit": code_version(),
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }
    return table, facts


def with_pixels(pictures: UnitFeatures, root: str | Path, check: bool = True) -> UnitFeatures:
    """The same pictures with their grey levels (N, 48 * 48) in place of features."""
    samples = DATASETS["ckplus48"].samples(root, PROTOCOL, "all", check=check)
    pixels = np.stack([samples.read(row).reshape(-1) for row in range(len(samples))])
    facts = {name: value for name, value in pictures.facts.items() if name == "data"}
    return replace(pictures, values=pixels.astype(float), facts=facts)


def to_markdown(measured: Mapping[str, tuple[list[dict[str, Any]], dict[str, Any]]]) -> str:
    """Each input's table and facts as a page."""
    names = ("strength", "probe_frames", "probe_sequences", "chance", "own_head", "mean_f1", "mean_auroc")
    parts = ["# Identity in features for action units"]
    for title, (table, facts) in measured.items():
        parts.append(f"## From {title}")
        parts.append(markdown.table(names, [[str(row.get(name, "-")) for name in names] for row in table]))
        parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """The command in the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strengths", type=float, nargs="+", default=list(STRENGTHS))
    options = parser.parse_args()
    features = read_features(options.data)
    measured = {
        "pixels": measure_leakage(with_pixels(features, options.data), options.strengths),
        "features of the shipped network": measure_leakage(features, options.strengths),
    }
    page = to_markdown(measured)
    stored = {title: {"facts": facts, "rows": table} for title, (table, facts) in measured.items()}
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "identity.json", json.dumps(stored, indent=1) + "\n")
    write_whole(options.out / "identity.md", page)
    print(page)


if __name__ == "__main__":
    main()
