"""Micro-expressions, one person left out in turn: UF1 and UAR of networks, our small model and a linear baseline.

    python -m mien.recipes.micro_loso SYSTEM ... --data DIR --out DIR [--seeds 0 1 2] [--set epochs=30]

A SYSTEM is `pca_linear` (60 principal components, a softmax weighted by class), `flow_kernel` (`mien.methods.micro`) or
the name of a recipe for motion pictures, such as `htnet_narrow_htnet_micro`. DIR of the data is that of the recipe's
data set; for the other two `--protocol` says which (default: htnet_micro_3).

Nothing is chosen on the person who is left out. A recipe with `keep="last"` learns from all others and keeps its last
epoch; with `keep="best"`, a part of the others chooses the epoch. What choosing on the left-out person would have given
is measured on the same runs beside it, and is no result.

One line a fold goes to `OUT/SYSTEM_SEED.jsonl`; the same command goes on where it was stopped. Writes `micro.json` and
`micro.md` over all systems and seeds found in OUT.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from mien import __version__
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import Protocol, load_protocol, people_of_split
from mien.engine.checkpoint import code_version
from mien.engine.linear import fit_classes
from mien.engine.network import predict, preprocess_of
from mien.engine.pictures import Pictures, prepare
from mien.engine.recipe import RECIPES, Recipe, override
from mien.engine.refusals import refuse_for_motion
from mien.engine.train import Run
from mien.errors import CheckpointError, DataError, OptionError
from mien.files import write_whole
from mien.methods.micro import flow_kernel
from mien.recipes.micro_report import write_report

COMPONENTS = 60
RIDGE = 0.1
FEATURES = ("pca_linear", "flow_kernel")
Answer = dict[str, Any]


def read_maps(root: str | Path, protocol: Protocol, own: bool = False) -> tuple[Pictures, Protocol]:
    """All motion pictures of a protocol that leaves people out, and the protocol.

    Args:
        root: folder of the data set.
        protocol: with folds by person.
        own: the maps are of other clips than the protocol's: nothing is held to it, and each person is a fold.

    Raises:
        DataError: the people are not as many as the protocol's folds.
    """
    samples = DATASETS[protocol.dataset].samples(root, protocol, "all", check=not own)
    people = len(set(samples.subjects or ()))
    if own:
        protocol = dataclasses.replace(
            protocol, name=f"{protocol.name} of other clips", folds=people, splits={}
        )
    if people != protocol.folds:
        raise DataError(f"expected {protocol.folds} people, one a fold of {protocol.name!r}, got {people}")
    return prepare(samples, "none", 0), protocol


def rows_of(protocol: Protocol, pictures: Pictures, split: str, fold: int) -> np.ndarray:
    """Rows of a split's people."""
    people = pictures.subjects or ()
    return np.flatnonzero(np.isin(people, sorted(people_of_split(protocol, set(people), split, fold))))


def part_of(pictures: Pictures, rows: np.ndarray) -> Pictures:
    """Some rows of a split in memory."""
    some = torch.from_numpy(rows)
    return dataclasses.replace(
        pictures,
        images=pictures.images[some],
        matrices=pictures.matrices[some],
        targets=pictures.targets[some],
        truth=pictures.truth[some],
        ids=tuple(pictures.ids[row] for row in rows),
        subjects=None if pictures.subjects is None else tuple(pictures.subjects[row] for row in rows),
        extras={name: values[some] for name, values in pictures.extras.items()},
        found=None,
        placed=None,
    )


class Fold(Run):
    """A run of one fold that keeps nothing on disk, and remembers what each epoch answers for the person left out.

    Args:
        tested: pictures of that person; see `Run` for the rest.

    Attributes:
        epochs: the classes answered after each epoch.
        scores: (N, K) of the epoch kept. chosen: which that was, from 0.

    Raises:
        OptionError: the recipe stops or slows by the selection score, which a fold does not follow.
    """

    def __init__(
        self, recipe: Recipe, protocol: Protocol, train: Pictures, select: Pictures, tested: Pictures
    ):
        if recipe.patience is not None or recipe.schedule.name == "plateau":
            raise OptionError(
                f"expected no patience and no schedule 'plateau' where each person is left out, got patience "
                f"{recipe.patience} and schedule {recipe.schedule.name!r}"
            )
        super().__init__(recipe, protocol, train, select, Path())
        self.tested = tested
        self.epochs: list[list[int]] = []
        self.scores: np.ndarray | None = None
        self.chosen = -1

    def _resume(self) -> None:
        """Nothing is kept of a fold that was broken off."""

    def _save_last(self) -> None:
        """See `_resume`."""

    def _finish_epoch(self, loss: float) -> None:
        state, recipe = self.state, self.recipe
        scores = predict(self.method.task(self.measured), self.tested, self.preprocess).numpy()
        last = state["epoch"] + 1 == recipe.epochs
        score = None
        if recipe.keep == "best" and (last or (state["epoch"] + 1) % recipe.select_every == 0):
            score = self.selection()[0]
        if last if recipe.keep == "last" else score is not None and score > state["best"]:
            self.scores, self.chosen = scores, state["epoch"]
        state["best"] = max(state["best"], -1.0 if score is None else score)
        self.epochs.append(scores.argmax(1).tolist())
        state.update(epoch=state["epoch"] + 1, done=0, loss_sum=0.0, seconds=0.0)


def train_fold(recipe: Recipe, protocol: Protocol, pictures: Pictures, fold: int) -> Answer:
    """Learn without one person: scores (N, K), the epoch kept (from 1), and what every epoch answered."""
    select = rows_of(protocol, pictures, protocol.select, fold)
    train = rows_of(protocol, pictures, protocol.train, fold)
    if recipe.keep == "last":  # the others choose nothing, so they teach
        train = np.sort(np.concatenate([train, select]))
    tested = part_of(pictures, rows_of(protocol, pictures, protocol.test, fold))
    run = Fold(recipe, protocol, part_of(pictures, train), part_of(pictures, select), tested)
    run.go()
    assert run.scores is not None  # the last epoch is always looked at
    return {
        "scores": run.scores.round(5).tolist(),
        "epoch": run.chosen + 1,
        "by_epoch": run.epochs,
    }


def linear_fold(protocol: Protocol, pictures: Pictures, fold: int) -> Answer:
    """The baseline: principal components of the training pixels, and a softmax weighted by the inverse of the class."""
    tested = rows_of(protocol, pictures, protocol.test, fold)
    train = np.setdiff1d(np.arange(len(pictures)), tested)
    pixels = pictures.images.numpy().reshape(len(pictures), -1) / 255.0
    truth = pictures.truth.numpy()[train]
    mean = pixels[train].mean(0)
    centred = pixels - mean
    # The components lie in the span of the rows: fewer rows than pixels.
    sizes, turns = np.linalg.eigh(centred[train] @ centred[train].T)
    largest = slice(-min(COMPONENTS, len(train) - 1), None)
    values = centred @ (centred[train].T @ (turns[:, largest] / np.sqrt(sizes[largest])))
    classes = len(protocol.labels)
    weights = flow_kernel.class_weights(truth, classes, 1.0)
    head = fit_classes(values[train], truth, classes, RIDGE, weights)
    return {"scores": head.logits(values[tested]).round(5).tolist()}


def kernel_folds(protocol: Protocol, pictures: Pictures) -> Callable[[int], Answer]:
    """Our small model; what does not depend on the fold is computed once."""
    maps = pictures.images.numpy().transpose(0, 2, 3, 1)
    apart, truth = flow_kernel.squares(maps, maps), pictures.truth.numpy()
    people = np.array(pictures.subjects)

    def answer(fold: int) -> Answer:
        tested = rows_of(protocol, pictures, protocol.test, fold)
        train = np.setdiff1d(np.arange(len(pictures)), tested)
        among = {name: values[:, train][:, :, train] for name, values in apart.items()}
        model = flow_kernel.fit(among, truth[train], people[train], len(protocol.labels))
        scores = model.scores({name: values[:, tested][:, :, train] for name, values in apart.items()})
        return {"scores": scores.round(5).tolist(), "choice": dataclasses.asdict(model.choice)}

    return answer


def run_system(
    system: str,
    recipe: Recipe | None,
    protocol: Protocol,
    pictures: Pictures,
    seed: int,
    out: Path,
    folds: Sequence[int] | None = None,
    quiet: bool = False,
) -> Path:
    """All folds of a system that are not in its file yet.

    Args:
        system: its name. recipe: of a network, else `None`.
        protocol, pictures: of `read_maps`.
        seed: of the recipe.
        out: folder of the files.
        folds: only these.
        quiet: no progress bar.

    Raises:
        CheckpointError: the file is of another recipe or other data.
    """
    recipe = dataclasses.replace(recipe, seed=seed) if recipe is not None else None
    head = {
        "system": system,
        "seed": seed,
        "protocol": protocol.name,
        "data_sha256": pictures.sha256,
        "maps_sha256": hashlib.sha256(pictures.images.numpy().tobytes()).hexdigest(),
        "recipe": None if recipe is None else recipe.to_dict(),
    }
    path = out / f"{system}_{seed}.jsonl"
    done = _start(path, head)
    answer = _answerer(system, recipe, protocol, pictures)
    wanted = [one for one in (folds or range(protocol.folds)) if one not in done]
    for fold in tqdm(wanted, f"{system}, seed {seed}", disable=quiet, unit="fold"):
        started = time.process_time()
        found = answer(fold)
        rows = rows_of(protocol, pictures, protocol.test, fold).tolist()
        line = {"fold": fold, "rows": rows, **found, "cpu_s": round(time.process_time() - started, 2)}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return path


def _answerer(
    system: str, recipe: Recipe | None, protocol: Protocol, pictures: Pictures
) -> Callable[[int], Answer]:
    if recipe is not None:
        return lambda fold: train_fold(recipe, protocol, pictures, fold)
    if system == "flow_kernel":
        return kernel_folds(protocol, pictures)
    return lambda fold: linear_fold(protocol, pictures, fold)


def _start(path: Path, head: Answer) -> set[int]:
    """Begin a file with what it is of, or look which folds it holds; a half-written last line is dropped."""
    mine = json.loads(json.dumps(head))
    if not path.is_file():
        facts = {
            **mine,
            "commit": code_version(),
            "mien": __version__,
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "date": date.today().isoformat(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts) + "\n")
        return set()
    text = path.read_text()
    lines = text.splitlines()
    if not text.endswith("\n"):
        lines = lines[:-1]
        write_whole(path, "".join(f"{line}\n" for line in lines))
    stored = json.loads(lines[0]) if lines else {}
    other = [name for name in mine if stored.get(name) != mine[name]]
    if other:
        raise CheckpointError(
            f"expected to go on with {path}, got another {', '.join(other)}. Choose another --out, or remove it."
        )
    return {json.loads(line)["fold"] for line in lines[1:]}


def plans(options: argparse.Namespace) -> Iterator[tuple[str, Recipe | None, Protocol]]:
    """Each system that was asked for, with its recipe and protocol."""
    for system in options.systems:
        recipe = None if system in FEATURES else override(RECIPES[system], options.set)
        protocol = load_protocol(options.protocol if recipe is None else recipe.protocol)
        if recipe is not None:
            refuse_for_motion(recipe, preprocess_of(recipe), DATASETS[protocol.dataset].framing)
        yield system, recipe, protocol


def main(arguments: Sequence[str] | None = None) -> None:
    """The command in the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m mien.recipes.micro_loso",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("systems", nargs="+", metavar="SYSTEM")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, nargs="+", help="only these, to measure the time of a part")
    parser.add_argument("--protocol", default="htnet_micro_3", help="of systems without a recipe")
    parser.add_argument("--own", action="store_true", help="maps of other clips: each person is a fold")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    for system, recipe, protocol in plans(options):
        pictures, protocol = read_maps(options.data, protocol, options.own)
        # Without a network nothing is drawn by chance: one seed is all.
        for seed in options.seeds if recipe is not None else [0]:
            run_system(system, recipe, protocol, pictures, seed, options.out, options.folds, options.quiet)
    print(write_report(options.out, pictures, protocol))


if __name__ == "__main__":
    main()
