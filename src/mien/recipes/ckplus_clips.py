"""CK+: does time help? A static model on the last frame against temporal ones on three frames, measured by person.

    python -m mien.recipes.ckplus_clips --data DIR --out DIR

DIR of the data is that of `ckplus48_clips`. All systems stand on the same 1,024 pooled features of the shipped expression
network, which is frozen; it learned from FER+ and saw no CK+. Ten folds by person (`ckplus48_clips_7`), answers pooled;
the people that the protocol keeps to select an epoch teach too, because nothing is selected on them.

    linear, last frame          softmax on the apex: the static model
    linear, mean of three       the same on the mean: three looks, no time
    linear, last and change     the same on the last frame and what it differs from the first: time, linear
    transformer, last frame     a small temporal transformer that sees the last frame three times: no time
    transformer, three frames   the same network on the three frames

The ridge of a linear head is chosen on the training people of a fold, by three inner folds by person. The transformer's
settings were fixed before it was measured; its figures are of the mean probability of three seeds, and each seed's
accuracy is given. Differences are tested over people (Wilcoxon's signed ranks on each one's share of right answers).
Writes `clips.json` and `clips.md`. CK+ is for research: what is learned here is thrown away.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien import __version__
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import Protocol, load_protocol, name_share, people_of_split
from mien.engine.checkpoint import code_version
from mien.engine.linear import fit_classes
from mien.engine.views import seed_of
from mien.errors import DataError
from mien.evaluate import report
from mien.files import write_whole
from mien.metrics.significance import wilcoxon_signed_rank
from mien.recipes.units_ckplus import read_features, sequences_of

PROTOCOL = "ckplus48_clips_7"
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)
INNER_FOLDS = 3
SEED, SEEDS = 20261121, 3
WIDTH, EPOCHS, RATE = 64, 100, 1e-3
STATIC = "linear, last frame"
PAIRS = (
    (STATIC, "linear, mean of three"),
    (STATIC, "linear, last and change"),
    (STATIC, "transformer, three frames"),
    ("transformer, last frame", "transformer, three frames"),
)


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Features of sequences.

    Attributes:
        values: (N, 3, D), frames in time. truth: (N,). people: (N,). labels: the K classes. facts: what they are from.
    """

    values: np.ndarray
    truth: np.ndarray
    people: np.ndarray
    labels: tuple[str, ...]
    facts: Mapping[str, Any]


def read_clips(root: str | Path) -> ClipFeatures:
    """Features and labels of the 327 sequences.

    Raises:
        DataError: pictures and sequences do not fit.
    """
    clips = DATASETS["ckplus48_clips"].samples(root, PROTOCOL, "all")
    pictures = read_features(root)
    rows = sequences_of(pictures.ids)
    names = tuple(pictures.ids[own[0]][:8] for own in rows)
    if names != clips.ids:
        raise DataError(f"expected the sequences {clips.ids[:2]} ..., got {names[:2]} ...")
    facts = {**pictures.facts, "sequences": f"{len(clips)} of ckplus48_clips, sha256 {clips.sha256}"}
    return ClipFeatures(
        pictures.values[np.array(rows)], clips.target, np.array(clips.subjects), clips.labels, facts
    )


class TemporalHead(nn.Module):
    """Frames to tokens, one transformer layer over them, their mean: (B, T, D) -> logits (B, K)."""

    def __init__(self, features: int, frames: int, classes: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(features, WIDTH), nn.LayerNorm(WIDTH))
        self.place = nn.Parameter(0.02 * torch.randn(frames, WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.3, batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Every frame looks at every other."""
        return self.head(self.layer(self.enter(x) + self.place).mean(1))


Answer = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
"""(training values, truth, people, values to answer, seed) -> probabilities."""


def linear_answer(classes: int) -> Answer:
    """A softmax head whose ridge inner folds choose, on flattened values; it needs no seed."""

    def answer(
        values: np.ndarray, truth: np.ndarray, people: np.ndarray, asked: np.ndarray, seed: int
    ) -> np.ndarray:
        dealt = sorted(set(people), key=lambda name: name_share(f"inner:{name}"))
        number = {person: place % INNER_FOLDS for place, person in enumerate(dealt)}
        fold = np.array([number[person] for person in people])

        def loss(ridge: float) -> float:
            total = 0.0
            for one in range(INNER_FOLDS):
                head = fit_classes(values[fold != one], truth[fold != one], classes, ridge)
                own = softmax(head.logits(values[fold == one]))[
                    np.arange((fold == one).sum()), truth[fold == one]
                ]
                total -= float(np.log(np.clip(own, 1e-12, 1)).sum())
            return total

        return softmax(fit_classes(values, truth, classes, min(RIDGES, key=loss)).logits(asked))

    return answer


def transformer_answer(classes: int) -> Answer:
    """`TemporalHead`, a fixed number of passes over all training rows at once."""

    def answer(
        values: np.ndarray, truth: np.ndarray, people: np.ndarray, asked: np.ndarray, seed: int
    ) -> np.ndarray:
        mean, scale = values.mean((0, 1)), values.std((0, 1)) + 1e-6
        known, other = (torch.tensor((part - mean) / scale, dtype=torch.float32) for part in (values, asked))
        torch.manual_seed(seed)
        head = TemporalHead(values.shape[2], values.shape[1], classes)
        optim = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.05)
        for _ in range(EPOCHS):
            loss = functional.cross_entropy(head(known), torch.from_numpy(truth))
            optim.zero_grad()
            loss.backward()
            optim.step()
        with torch.no_grad():
            return head.eval()(other).softmax(1).double().numpy()

    return answer


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows that sum to 1."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def across_folds(
    protocol: Protocol, clips: ClipFeatures, values: np.ndarray, answer: Answer, seed: int
) -> np.ndarray:
    """Probabilities (N, K), each sequence's from a model that saw nothing of its person."""
    found = np.zeros((len(clips.truth), len(clips.labels)))
    for fold in range(protocol.folds):
        names = sorted(people_of_split(protocol, set(clips.people), protocol.test, fold))
        tested = np.isin(clips.people, names)
        known = ~tested
        found[tested] = answer(
            values[known], clips.truth[known], clips.people[known], values[tested], seed_of(seed, fold)
        )
    return found


def measure_systems(clips: ClipFeatures, seeds: int = SEEDS) -> dict[str, Any]:
    """Figures of each system, and the differences between pairs of them; see the module's text."""
    protocol, classes = load_protocol(PROTOCOL), len(clips.labels)
    first, last = clips.values[:, 0], clips.values[:, 2]
    linear, transformer = linear_answer(classes), transformer_answer(classes)
    plans: dict[str, tuple[np.ndarray, Answer, int]] = {
        STATIC: (last, linear, 1),
        "linear, mean of three": (clips.values.mean(1), linear, 1),
        "linear, last and change": (np.concatenate([last, last - first], 1), linear, 1),
        "transformer, last frame": (np.repeat(last[:, None], 3, 1), transformer, seeds),
        "transformer, three frames": (clips.values, transformer, seeds),
    }
    systems, right = {}, {}
    for name, (values, answer, times) in plans.items():
        answers = [across_folds(protocol, clips, values, answer, SEED + turn) for turn in range(times)]
        mean = np.mean(answers, 0)
        figures = report.measure(mean, clips.truth, clips.labels, None, clips.people.tolist())
        figures["of_each_seed"] = [round(float((one.argmax(1) == clips.truth).mean()), 4) for one in answers]
        systems[name], right[name] = figures, mean.argmax(1) == clips.truth
    return {"systems": systems, "differences": [_difference(clips.people, right, *pair) for pair in PAIRS]}


def _difference(people: np.ndarray, right: Mapping[str, np.ndarray], one: str, other: str) -> dict[str, Any]:
    """How two systems differ over people."""
    names = sorted(set(people))
    shares = [np.array([right[name][people == person].mean() for person in names]) for name in (one, other)]
    return {
        "from": one,
        "to": other,
        "accuracy": round(float(right[other].mean() - right[one].mean()), 4),
        "only_first_right": int((right[one] & ~right[other]).sum()),
        "only_second_right": int((right[other] & ~right[one]).sum()),
        "p_over_people": round(wilcoxon_signed_rank(shares[1], shares[0]).p_value, 4),
    }


def facts_of(clips: ClipFeatures, seeds: int = SEEDS) -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "protocol": f"{PROTOCOL}: ten folds by person, pooled; the selecting people teach too",
        **clips.facts,
        "linear": f"softmax, ridge of {RIDGES} by {INNER_FOLDS} inner folds of the training people",
        "transformer": f"width {WIDTH}, one layer, {EPOCHS} passes at {RATE}, {seeds} seeds from {SEED}",
        "commit": code_version(),
        "mien": __version__,
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }


def to_markdown(found: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """A page of the figures."""
    lines = ["# CK+: three frames against the last one", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [
        "",
        "| system | WAR (95 % over people) | UAR (95 % over people) | macro F1 | each seed |",
        "|---|---|---|---|---|",
    ]
    for name, figures in found["systems"].items():
        cells = [
            f"{100 * figures[key]:.2f} ({100 * figures[f'{key}_95'][0]:.1f} to {100 * figures[f'{key}_95'][1]:.1f})"
            for key in ("accuracy", "uar")
        ]
        seeds = ", ".join(f"{100 * value:.2f}" for value in figures["of_each_seed"])
        lines.append(f"| {name} | {' | '.join(cells)} | {figures['macro_f1']:.3f} | {seeds} |")
    lines += [
        "",
        "| from | to | WAR, points | only the first right | only the second right | p over people |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['from']} | {one['to']} | {100 * one['accuracy']:+.2f} | {one['only_first_right']} | "
        f"{one['only_second_right']} | {one['p_over_people']:.3f} |"
        for one in found["differences"]
    ]
    return "\n".join(lines) + "\n"


def write(found: Mapping[str, Any], facts: Mapping[str, Any], folder: Path) -> str:
    """Write `clips.json` and `clips.md`, each whole; gives the page."""
    page = to_markdown(found, facts)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "clips.json", json.dumps({"facts": facts, **found}, indent=1) + "\n")
    write_whole(folder / "clips.md", page)
    return page


def main() -> None:
    """The command in the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    clips = read_clips(options.data)
    print(write(measure_systems(clips), facts_of(clips), options.out))


if __name__ == "__main__":
    main()
