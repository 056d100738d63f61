"""ExpLLM at a size that learns on two cores: the shipped network's last map, a projector, LoRA on SmolLM2-135M.

    python -m mien.recipes.expllm_small train --ferplus DIR --out RUN [--units UNITS.npz]
    python -m mien.recipes.expllm_small measure RUN --ferplus DIR [--units UNITS.npz] [--pictures 400]

SmolLM2 comes by `mien weights fetch smollm2`. `--units` holds action units of FER+'s pictures; see
`mien.recipes.ferplus_features.load_units`. With them the network learns both tasks, the label and the steps to it, from
text that the Exp-CoT engine writes of training pictures; without them the label alone, which is the ablation. Training
and measuring need the same `--units` file.

The tower is frozen and sees one plain view, so its 16 tokens a face are cut once and kept (`--cache`); projector and
LoRA alone are trained. Writes under RUN: `records.jsonl` (the text it learns from), `last/` (to go on after a stop: run
it again) and `log.jsonl`; `measure` adds `<split>.json` and `<split>.jsonl`, the figures and every answer. Nothing is
selected on a test split: the last step is what is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mien.datasets import ferplus
from mien.engine.checkpoint import (
    code_version,
    has_checkpoint,
    load_checkpoint,
    load_optimiser,
    optimiser_tensors,
    part,
    save_checkpoint,
)
from mien.engine.optim import learning_rate, optimiser
from mien.engine.recipe import Optim, Schedule
from mien.engine.train import SAVE_EVERY_S
from mien.engine.views import seed_of
from mien.errors import CheckpointError, OptionError, TrainingError
from mien.evaluate.spoken import label_figures, meaning_figures, unit_figures
from mien.labels.expressions import EXPRESSIONS
from mien.methods.language.causal_lm import Words, load_llm, trained_tensors
from mien.methods.language.exp_cot import Record, records, write_records
from mien.methods.language.expllm import ExpLLM, Sizes, around, tasks_of, texts
from mien.metrics.bootstrap import bootstrap_mean
from mien.recipes.ferplus_features import Seen, load_units, seen
from mien.types.units import ActionUnits
from mien.weights.catalogue import CATALOGUE
from mien.weights.fetch import fetched_path

LOG_EVERY = 20
"""Steps between two lines of the log."""


@dataclass(frozen=True)
class Settings:
    """What decides a run. lr, decay, warm-up and LoRA's figures are ExpLLM's (repository), the others ours.

    Attributes:
        pictures: of FER+ train, with the classes as equally often as they allow.
        epochs, batch_size, seed: as they say; a batch has one task.
        lr, weight_decay: of AdamW, cosine. warmup: share of all steps.
        rank, alpha, dropout: of LoRA.
        precision: "float32" or "bfloat16" (autocast; weights stay float32): half the time on processors that have it.
    """

    pictures: int = 4000
    epochs: int = 2
    batch_size: int = 16
    seed: int = 20261121
    lr: float = 5e-4
    weight_decay: float = 0.05
    warmup: float = 0.03
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    precision: str = "float32"


def network_of(settings: Settings, llm: nn.Module, wide: int) -> ExpLLM:
    """A fresh projector from tokens of that width, and the adapted language model; the tokens are cut already."""
    torch.manual_seed(settings.seed)
    table: Any = llm.get_input_embeddings()  # type: ignore[operator]
    sizes = Sizes(
        wide=wide,
        llm_wide=table.embedding_dim,
        rank=settings.rank,
        alpha=settings.alpha,
        dropout=settings.dropout,
    )
    return around(nn.Identity(), llm, sizes)


def records_of(part: Seen, split: str, units: ActionUnits | None, seed: int) -> list[Record]:
    """The engine's records of some pictures, in their order."""
    names = [f"{split}/{row}" for row in part.rows]
    return records(names, [EXPRESSIONS[label] for label in part.truth], units, seed=seed)


class Run:
    """One training run, which can stop and go on.

    Args:
        settings: what to do.
        network, words: see `network_of` and `load_llm`.
        tokens: float16 (N, T, C), of the pictures.
        told: their N records.
        out: folder of the run.
        facts: what else decides the run; a run with others is not gone on with.
    """

    def __init__(
        self,
        settings: Settings,
        network: ExpLLM,
        words: Words,
        tokens: np.ndarray,
        told: Sequence[Record],
        out: Path,
        facts: dict[str, Any],
    ) -> None:
        self.settings, self.network, self.words, self.out = settings, network, words, out
        self.tokens, self.told = tokens, told
        self.facts = {"settings": dataclasses.asdict(settings), **facts}
        self.optim = optimiser(network, Optim("adamw", lr=settings.lr, weight_decay=settings.weight_decay))
        self.steps = sum(1 for _ in self.batches(0))
        if not self.steps:
            raise OptionError(
                f"expected at least {settings.batch_size} pictures for a batch, got {len(told)}"
            )
        self.step = 0

    def batches(self, epoch: int) -> Iterator[tuple[str, np.ndarray]]:
        """(task, rows) of one epoch: each picture once a task that it can teach, in the order of the seed."""
        random = np.random.default_rng(seed_of(self.settings.seed, epoch))
        made = []
        for task in sorted({task for record in self.told for task in tasks_of(record)}):
            rows = random.permutation(
                [row for row, record in enumerate(self.told) if task in tasks_of(record)]
            )
            size = self.settings.batch_size
            made += [(task, rows[start : start + size]) for start in range(0, len(rows) - size + 1, size)]
        yield from (made[index] for index in random.permutation(len(made)))

    def go(self, most: int | None = None) -> None:
        """Train to the end, or for at most so many steps, from wherever the run stands."""
        self.resume()
        write_records(self.out / "records.jsonl", self.told)
        total = self.steps * self.settings.epochs
        last = total if most is None else min(total, self.step + most)
        began = saved = time.time()
        lines: list[dict[str, Any]] = []
        while self.step < last:
            epoch, done = divmod(self.step, self.steps)
            for task, rows in list(self.batches(epoch))[done : done + last - self.step]:
                lines.append(self.learn(task, rows))
                if self.step % LOG_EVERY == 0 or self.step == last:
                    self.log(lines, began)
                    lines, began = [], time.time()
                if time.time() - saved > SAVE_EVERY_S:
                    self.save()
                    saved = time.time()
        self.save()

    def learn(self, task: str, rows: np.ndarray) -> dict[str, Any]:
        """One step; gives task, loss and how many tokens were read and learned."""
        settings = self.settings
        schedule = Schedule("cosine", warmup_epochs=settings.warmup * settings.epochs)
        rate = learning_rate(schedule, settings.lr, self.step, self.steps, settings.epochs)
        for group in self.optim.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed_of(settings.seed, self.step, 1))
        self.network.train()
        text = texts(self.words, [(self.told[row], task) for row in rows], self.tokens.shape[1])
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss = self.network.loss(text, faces(self.tokens[rows]))
        if not torch.isfinite(loss):
            raise TrainingError(
                f"expected a finite loss, got {loss.item()} in step {self.step + 1}. The last checkpoint is whole; "
                "lower --lr."
            )
        self.optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained_tensors(self.network).values(), 5.0)
        self.optim.step()
        self.step += 1
        learned = int((text.targets >= 0).sum())
        return {
            "task": task,
            "loss": loss.item(),
            "read": int(text.told.sum()),
            "learned": learned,
            "lr": rate,
        }

    def log(self, lines: Sequence[dict[str, Any]], began: float) -> None:
        """Print a line over some steps and add it to `log.jsonl`."""
        seconds = time.time() - began
        losses = {
            task: round(float(np.mean([line["loss"] for line in lines if line["task"] == task])), 4)
            for task in sorted({line["task"] for line in lines})
        }
        line = {
            "step": self.step,
            "of": self.steps * self.settings.epochs,
            "loss": losses,
            "lr": lines[-1]["lr"],
            "s_a_step": round(seconds / len(lines), 2),
            "tokens_per_s": round(sum(line["read"] for line in lines) / seconds, 1),
            "learned_tokens": sum(line["learned"] for line in lines),
        }
        print(json.dumps(line), flush=True)
        with (self.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write `last/`: what is trained, the optimiser's state, and the facts."""
        tensors = {f"network.{name}": value for name, value in trained_tensors(self.network).items()}
        facts = {
            **self.facts,
            "step": self.step,
            "commit": code_version(),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "torch": torch.__version__,
        }
        save_checkpoint(self.out / "last", {**tensors, **optimiser_tensors(self.optim)}, facts)

    def resume(self) -> None:
        """Take up `last/` where there is one; more epochs are allowed, other facts are not."""
        self.out.mkdir(parents=True, exist_ok=True)
        if not has_checkpoint(self.out / "last"):
            return
        tensors, facts = load_checkpoint(self.out / "last")
        mine = json.loads(json.dumps(self.facts))
        stored = {**facts, "settings": {**facts["settings"], "epochs": self.settings.epochs}}
        changed = [name for name, value in mine.items() if stored.get(name) != value]
        if changed:
            raise CheckpointError(
                f"expected to go on with the run in {self.out}, got another {', '.join(changed)}. Choose another "
                "--out, or remove the folder."
            )
        put_back(self.network, tensors, str(self.out / "last"))
        load_optimiser(self.optim, tensors)
        self.step = facts["step"]
        path = self.out / "log.jsonl"
        if path.is_file():  # lines of steps that the checkpoint does not know, as after a kill
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if json.loads(line)["step"] <= self.step))


def put_back(network: ExpLLM, tensors: dict[str, Tensor], what: str) -> None:
    """Give a network the trained tensors of a checkpoint.

    Raises:
        CheckpointError: they are of another network.
    """
    own, stored = trained_tensors(network), part(tensors, "network.")
    if {name: value.shape for name, value in own.items()} != {
        name: value.shape for name, value in stored.items()
    }:
        raise CheckpointError(f"expected projector and LoRA of this network in {what}, got those of another")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(stored[name])


def faces(tokens: np.ndarray) -> Tensor:
    """What the identity tower takes: float32 (B, T, C)."""
    return torch.from_numpy(tokens.astype(np.float32))


def answers(
    network: ExpLLM, words: Words, task: str, tokens: np.ndarray, batch_size: int, most: int
) -> tuple[list[str], dict[str, float]]:
    """Greedy texts for N faces, and how fast they came."""
    said, count, began = [], 0, time.time()
    for start in tqdm(range(0, len(tokens), batch_size), task, unit=f"x{batch_size}", leave=False):
        found = network.answers(words, task, faces(tokens[start : start + batch_size]), most)
        said += [words.decode(ids).strip() for ids in found]
        count += sum(len(ids) + 1 for ids in found)
    seconds = time.time() - began
    return said, {
        "tokens": count,
        "tokens_per_s": round(count / seconds, 2),
        "s_a_picture": round(seconds / len(tokens), 3),
        "batch_size": batch_size,
    }


def measure(
    network: ExpLLM,
    words: Words,
    part: Seen,
    units: ActionUnits | None,
    tasks: Sequence[str],
    batch_size: int = 32,
    most: int = 160,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Figures of the texts beside the classifier alone on the same pictures, and every answer."""
    alone = (part.answers == part.truth).astype(float)
    figures: dict[str, Any] = {
        "pictures": len(part),
        "data_sha256": part.data_sha256,
        "tower_sha256": part.model_sha256,
        "classifier_alone": {
            "accuracy": round(float(alone.mean()), 4),
            "accuracy_95": [round(edge, 4) for edge in bootstrap_mean(alone)],
        },
    }
    lines: list[dict[str, Any]] = [
        {"row": int(row), "truth": EXPRESSIONS[label]}
        for row, label in zip(part.rows, part.truth, strict=True)
    ]
    for task in tasks:
        said, speed = answers(network, words, task, part.tokens, batch_size, most)
        figures[task] = {**label_figures(said, part.truth), **speed}
        if task == "emo_analysis" and units is not None:
            figures[task] |= unit_figures(said, units) | meaning_figures(said)
        for line, text in zip(lines, said, strict=True):
            line[task] = text
    return figures, lines


def train_command(options: argparse.Namespace) -> None:
    """`train`, as in the module's text."""
    names = [field.name for field in dataclasses.fields(Settings)]
    settings = Settings(**{name: getattr(options, name) for name in names})
    cache = options.cache or options.out / "features"
    pictures = seen(options.ferplus, "train", cache, count=settings.pictures, seed=settings.seed)
    units, units_sha256 = units_of(options, "train", pictures)
    told = records_of(pictures, "train", units, settings.seed)
    llm, words = load_llm(fetched_path("smollm2"))
    facts = {
        "data_sha256": pictures.data_sha256,
        "tower_sha256": pictures.model_sha256,
        "llm_sha256": CATALOGUE["smollm2"].sha256,
        "units_sha256": units_sha256,
    }
    network = network_of(settings, llm, pictures.tokens.shape[2])
    Run(settings, network, words, pictures.tokens, told, options.out, facts).go(options.steps)


def measure_command(options: argparse.Namespace) -> None:
    """`measure`, as in the module's text."""
    tensors, facts = load_checkpoint(options.run / "last")
    settings = Settings(**facts["settings"])
    cache = options.cache or options.run / "features"
    pictures = seen(
        options.ferplus, options.split, cache, count=options.pictures, balanced=False, seed=settings.seed
    )
    units, units_sha256 = units_of(options, options.split, pictures)
    if units_sha256 != facts["units_sha256"]:
        raise OptionError(
            f"expected the --units that the run learned from ({facts['units_sha256']}), got {units_sha256}"
        )
    if facts["llm_sha256"] != CATALOGUE["smollm2"].sha256:
        raise OptionError(
            f"expected the language model that the run learned with ({facts['llm_sha256']}), this version of mien "
            f"has {CATALOGUE['smollm2'].sha256}. Measure with the version that trained."
        )
    llm, words = load_llm(fetched_path("smollm2"))
    network = network_of(settings, llm, pictures.tokens.shape[2])
    put_back(network, tensors, str(options.run / "last"))
    tasks = ("emo_estim",) if units is None else ("emo_estim", "emo_analysis")
    figures, lines = measure(network, words, pictures, units, tasks, options.batch_size)
    figures = {
        "protocol": f"FER+ majority, {options.split}, single view, drawn with seed {settings.seed}",
        **figures,
        "run": facts,
    }
    (options.run / f"{options.split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = json.dumps(figures, indent=1)
    (options.run / f"{options.split}.json").write_text(text + "\n")
    print(text)


def units_of(options: argparse.Namespace, split: str, part: Seen) -> tuple[ActionUnits | None, str | None]:
    """The pictures' units and the hash of their file; neither without `--units`."""
    if options.units is None:
        return None, None
    count = len(ferplus.load(options.ferplus, split).majority)
    digest = hashlib.sha256(Path(options.units).read_bytes()).hexdigest()
    return load_units(options.units, split, part.rows, count), digest


def main(arguments: Sequence[str] | None = None) -> None:
    """The commands in the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    train, measured = verbs.add_parser("train"), verbs.add_parser("measure")
    measured.add_argument("run", type=Path)
    train.add_argument("--out", type=Path, required=True)
    for verb, command in ((train, train_command), (measured, measure_command)):
        verb.set_defaults(command=command)
        verb.add_argument("--ferplus", required=True)
        verb.add_argument("--units", help="npz file of action units by picture")
        verb.add_argument(
            "--cache", type=Path, help="folder of the cut features; in the run's where left out"
        )
    train.add_argument("--steps", type=int, help="stop after so many steps; run it again to go on")
    for field in dataclasses.fields(Settings):
        name = f"--{field.name.replace('_', '-')}"
        choices = ("float32", "bfloat16") if field.name == "precision" else None
        train.add_argument(name, type=type(field.default), default=field.default, choices=choices)
    measured.add_argument("--split", default="private_test", choices=ferplus.SPLITS[1:])
    measured.add_argument("--pictures", type=int, default=400)
    measured.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args(arguments)
    options.command(options)


if __name__ == "__main__":
    main()
