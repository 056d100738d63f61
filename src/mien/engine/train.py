"""The training loop: one for every method. Stops and goes on, bit for bit on a CPU.

A run's folder holds `last/` (to go on from), `best/` (the epoch with the best selection score), `log.jsonl`
(one line an epoch), `curves.csv` and `curves.png`. The split that is reported is never read here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mien.datasets.dataset import DATASETS, Dataset
from mien.datasets.protocol import Protocol, load_protocol
from mien.engine.checkpoint import (
    code_version,
    has_checkpoint,
    load_checkpoint,
    load_facts,
    load_network,
    load_optimiser,
    optimiser_tensors,
    part,
    processor,
    save_checkpoint,
)
from mien.engine.cues import load_points, with_cues
from mien.engine.curves import write_curves
from mien.engine.distributed import Group, process_group
from mien.engine.journal import cut_log, log_epoch, tell_epoch, tell_left_out, tell_standing, tell_start
from mien.engine.network import build, predict, preprocess_of, start, task_of
from mien.engine.optim import Sam, held_statistics, learning_rate, optimiser
from mien.engine.pictures import Pictures, prepare
from mien.engine.recipe import Recipe
from mien.engine.refusals import (
    fold_of,
    is_cued,
    refuse_another,
    refuse_for_motion,
    refuse_place,
    refuse_recipe,
    refuse_shapes,
    rehearse,
)
from mien.engine.selection import of_expressions, of_units
from mien.engine.stopping import asked_to_stop
from mien.engine.views import batches, seed_of, steps_an_epoch
from mien.errors import DataError, OptionError, TrainingError
from mien.methods.method import METHODS, Method
from mien.methods.task import Batch

SAVE_EVERY_S = 300.0
"""Seconds between two checkpoints inside an epoch."""
SPARE_FRAMES = 3
"""Frames kept of each segment of a clip that is learned from; an epoch sees one of them, drawn anew."""


def train(
    recipe: Recipe,
    root: str | Path,
    out: str | Path,
    *,
    protocol: Protocol | None = None,
    dataset: Dataset | None = None,
    fold: int = 0,
    points: str | Path | None = None,
    device: str = "auto",
    compiled: bool = False,
    check: bool = True,
    quiet: bool = False,
) -> Path:
    """Run a recipe, or go on with it where `out` holds a checkpoint.

    Args:
        recipe: what to do.
        root: folder of the data set.
        out: folder of the run.
        protocol, dataset: for a folder of the user's own; else the recipe names a protocol.
        fold: which fold is kept for the test, where the protocol has folds.
        points: file of 68 points of each picture, for a rule that needs them (`mien.engine.cues.load_points`);
            without it the mean face's are used.
        device: "auto", "cpu" or "cuda".
        compiled: run the network through `torch.compile`: faster after a minute, other rounding.
        check: hold the data to the protocol's frozen counts.
        quiet: no progress bars.

    Returns:
        the folder of the run; `best/` in it is what `mien export` takes.

    Raises:
        DataNotFoundError, DataError: the data are not there or not as frozen.
        CheckpointError: `out` holds another run, or cannot be written.
        TrainingError: the loss is no longer a number.
        OptionError: the recipe asks for what its method, or this machine, cannot do; most of it is said before
            faces are found.
    """
    protocol = protocol or load_protocol(recipe.protocol)
    if dataset is not None:
        refuse_place(Path(out), Path(root))
    preprocess = preprocess_of(recipe)
    cued = is_cued(recipe, points)
    with process_group(device) as group:
        quiet = quiet or not group.leads
        source = dataset or DATASETS[protocol.dataset]
        refuse_for_motion(recipe, preprocess, source.framing)
        splits = [
            source.samples(root, protocol, split, fold, check) for split in (protocol.train, protocol.select)
        ]
        rehearse(recipe, protocol, Path(out), fold, compiled)
        parts = [
            prepare(
                samples,
                preprocess.template,
                preprocess.size_px,
                quiet,
                preprocess.frames,
                SPARE_FRAMES if preprocess.frames and samples is splits[0] else 1,
            )
            for samples in splits
        ]
        del splits  # which may hold pictures in memory
        if cued:
            parts[0] = with_cues(parts[0], protocol.labels, None if points is None else load_points(points))
        run = Run(recipe, protocol, parts[0], parts[1], Path(out), group, compiled, quiet, fold)
        run.go()
    return Path(out)


class Run:
    """One run: network, optimiser and files.

    Args:
        recipe: what to do.
        protocol: whose metric selects the epoch.
        train, select: the two splits.
        out: folder of the run.
        group: this process among the others.
        compiled, quiet, fold: see `train`.
    """

    def __init__(
        self,
        recipe: Recipe,
        protocol: Protocol,
        train: Pictures,
        select: Pictures,
        out: Path,
        group: Group | None = None,
        compiled: bool = False,
        quiet: bool = True,
        fold: int = 0,
    ) -> None:
        self.recipe, self.protocol, self.out, self.quiet, self.fold = recipe, protocol, out, quiet, fold
        self.group = group or Group()
        self.method: Method = METHODS[recipe.method]
        self.preprocess = preprocess_of(recipe)
        self.pictures, self.held_out = train, select
        refuse_recipe(recipe, protocol, compiled)
        refuse_shapes(recipe, self.preprocess, train, select)
        for pictures, kind in ((train.teaching, "learn from"), (select.judged, "select by")):
            if not pictures.any():
                raise DataError(f"expected pictures with a class to {kind}, got none of {len(pictures)}")
        torch.manual_seed(recipe.seed)
        network = build(recipe, len(protocol.labels))
        self.started = start(network, recipe, protocol.labels)
        self.network = network.to(self.group.device)
        flat = all(
            parameter.ndim < 5 for parameter in network.parameters()
        )  # 3-D filters have no such format
        if self.preprocess.frames is None and flat:
            self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.task = task_of(recipe, torch.compile(network) if compiled else network)  # type: ignore[arg-type]
        self.optim = optimiser(network, recipe.optim)
        rho = recipe.optim.sam_rho
        self.sam = Sam(self.trained, rho, recipe.optim.sam_adaptive) if rho > 0 else None
        self.smoothed = None
        if recipe.ema > 0:
            average = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema)
            self.smoothed = torch.optim.swa_utils.AveragedModel(
                network, multi_avg_fn=average, use_buffers=True
            )
        self.state: dict[str, Any] = {
            "epoch": 0,
            "done": 0,
            "loss_sum": 0.0,
            "seconds": 0.0,
            "best": -1.0,
            "since_best": 0,
            "since_drop": 0,
            "drops": 0,
            "stopped": False,
        }
        self.steps = steps_an_epoch(train, recipe)
        self.batch_rows = min(recipe.batch_size, int(train.teaching.sum()))
        if self.batch_rows < self.group.world:
            raise OptionError(
                f"expected a batch of at least {self.group.world} pictures, one for each process, got "
                f"{self.batch_rows}. Start fewer processes, or set a larger batch_size."
            )
        read = [len(train), len(select), train.failures, select.failures]
        if self.group.any(read != self.group.tell(read)):
            raise DataError(
                "expected every process to read the same pictures, got others in one of them: a disk is not reliable. First: "
                + "; ".join([*train.failures, *select.failures][:3])
            )
        self.calibration: dict[str, Any] = {}
        self.stop = threading.Event()

    @property
    def measured(self) -> nn.Module:
        """The network that is measured and kept: the smoothed one where there is one."""
        return self.smoothed.module if self.smoothed is not None else self.network

    def go(self) -> None:
        """Train to the end, from wherever the run stands. Ctrl-C and SIGTERM stop after the step at hand, and save.

        Raises:
            KeyboardInterrupt: it was stopped so.
        """
        self._resume()
        if not self.quiet:
            tell_start(self.started)
            own = self.protocol.dataset == "folder"
            tell_left_out(self.protocol.train, self.pictures, own)
            tell_left_out(self.protocol.select, self.held_out, own)
            tell_standing(self.state, self.recipe.epochs)
        with asked_to_stop() as self.stop:
            while self.state["epoch"] < self.recipe.epochs and not self.state["stopped"]:
                self._finish_epoch(self._epoch())

    def _epoch(self) -> float:
        """The rest of the present epoch; gives the mean loss."""
        state, epoch = self.state, self.state["epoch"]
        self.network.train()
        if self.recipe.hold_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        bar = tqdm(
            total=self.steps, initial=state["done"], disable=self.quiet, leave=False, unit="batch",
            desc=f"epoch {epoch + 1}/{self.recipe.epochs}",
        )  # fmt: skip
        saved = time.time()
        begun = saved - state["seconds"]  # what the epoch took before it was interrupted
        with bar:
            views = batches(
                self.pictures,
                self.recipe,
                self.preprocess,
                epoch,
                state["done"],
                self.group.rank,
                self.group.world,
            )
            for batch in views:
                state["loss_sum"] += self.step(batch)
                state["done"] += 1
                bar.update()
                bar.set_postfix(loss=f"{state['loss_sum'] / state['done']:.3f}", refresh=False)
                state["seconds"] = time.time() - begun
                stopping = self.group.any(self.stop.is_set())
                if self.group.leads and (stopping or time.time() - saved > SAVE_EVERY_S):
                    self._save_last()
                    saved = time.time()
                if stopping:
                    self.group.tell(None)  # nobody leaves before it is saved
                    raise KeyboardInterrupt
        return state["loss_sum"] / state["done"]

    def step(self, batch: Batch) -> float:
        """One step of the optimiser on one batch; gives the loss before it."""
        state, recipe = self.state, self.recipe
        rate = learning_rate(
            recipe.schedule, recipe.optim.lr, state["epoch"] * self.steps + state["done"], self.steps,
            recipe.epochs, state["drops"],
        )  # fmt: skip
        for settings in self.optim.param_groups:
            settings["lr"] = rate * settings["scale"]
        # Dropout draws from a seed of the step, so that a run that goes on draws the same.
        torch.manual_seed(seed_of(recipe.seed, state["epoch"], state["done"], self.group.rank))
        loss = self.gradients(batch)
        finite = np.isfinite(loss)  # the same in all processes
        if self.sam is not None and finite:
            self.sam.perturb()
            with held_statistics(self.network):
                self.gradients(batch)
            self.sam.restore()
        norm = nn.utils.clip_grad_norm_(self.trained, recipe.optim.clip or float("inf"))
        if not (finite and torch.isfinite(norm)):
            raise TrainingError(
                f"expected a finite loss, got {loss} with a gradient of norm {float(norm):g} in epoch "
                f"{state['epoch'] + 1}, step {state['done'] + 1}, at a learning rate of {rate:.2g}. What was saved "
                "stays. With another --out, lower optim.lr, or set optim.clip or a longer schedule.warmup_epochs."
            )
        self.optim.step()
        self.optim.zero_grad(set_to_none=True)
        if self.smoothed is not None:
            self._smooth(self.smoothed)
        return loss

    @torch.no_grad()
    def _smooth(self, smoothed: torch.optim.swa_utils.AveragedModel) -> None:
        """Move the smoothed weights; a buffer of whole numbers, such as an index, is the network's own."""
        smoothed.update_parameters(self.network)
        for kept, own in zip(smoothed.module.buffers(), self.network.buffers(), strict=True):
            if not own.is_floating_point():
                kept.copy_(own)

    def gradients(self, batch: Batch) -> float:
        """Add up the gradients of a batch, part by part, over all processes; gives the loss of the whole batch."""
        device = self.group.device
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16")
        # Processes whose share of the batch is larger count for more in the mean over them.
        weight = len(batch.images) * self.group.world / self.batch_rows if self.group.world > 1 else 1.0
        total = 0.0
        for piece in _pieces(batch, self.recipe.optim.accumulate, device):
            share = len(piece.images) / len(batch.images)
            with autocast:
                loss = self.task.loss(piece) * share
            (loss if weight == 1 else loss * weight).backward()
            total += float(loss.detach())
        return self.group.average_gradients(self.trained, total * weight)

    def selection(self) -> tuple[float, float]:
        """The protocol's metric on the selection split, and the mean negative log-likelihood; also calibrates."""
        task, held = self.method.task(self.measured), self.held_out
        kept = held.judged
        answers = predict(task, held, self.preprocess, self.group.device)[kept]
        if self.protocol.task == "action_units":
            found = of_units(answers, held.extras["action_units"][kept], self.protocol)
        else:
            found = of_expressions(answers, held.truth[kept], self.protocol)
        self.calibration = found.calibration
        return found.score, found.nll

    def _finish_epoch(self, loss: float) -> None:
        """Measure, write, and decide whether to go on; the first process decides for all."""
        state, recipe = self.state, self.recipe
        due = (state["epoch"] + 1) % recipe.select_every == 0 or state["epoch"] + 1 == recipe.epochs
        score, nll, better = None, None, False
        if due:
            score, nll = self.group.tell(self.selection() if self.group.leads else None)
            improved = score > state["best"]
            better = improved if recipe.keep == "best" else state["epoch"] + 1 == recipe.epochs
            state["since_best"] = 0 if improved else state["since_best"] + 1
            state["since_drop"] = 0 if improved else state["since_drop"] + 1
            state["best"] = max(score, state["best"])
            if recipe.schedule.name == "plateau" and state["since_drop"] > recipe.schedule.patience:
                state["drops"], state["since_drop"] = state["drops"] + 1, 0
        line = {
            "epoch": state["epoch"],
            "loss": round(loss, 5),
            "lr": max(settings["lr"] for settings in self.optim.param_groups),
            "metric": self.protocol.metric,
            "select_score": None if score is None else round(score, 5),
            "select_nll": None if nll is None else round(nll, 5),
            "seconds": round(state["seconds"], 1),
            "pictures_per_s": round(self.steps * recipe.batch_size / max(state["seconds"], 1e-9), 1),
        }
        state.update(epoch=state["epoch"] + 1, done=0, loss_sum=0.0, seconds=0.0)
        state["stopped"] = recipe.patience is not None and state["since_best"] >= recipe.patience
        if self.group.leads:
            if better:
                self._save_best(line["epoch"], score)
            # The line first: of an epoch that the checkpoint does not know, it is dropped and written again.
            log_epoch(self.out, line)
            if not self.quiet:
                tell_epoch(line, self.recipe.epochs, self.protocol.select)
            self._save_last()
            write_curves(self.out)

    def _save_best(self, epoch: int, score: float | None) -> None:
        facts = {**self.facts(), "epoch": epoch, "select_score": score, "calibration": self.calibration}
        save_checkpoint(self.out / "best", self.measured.state_dict(), facts)

    def _complete(self) -> None:
        """Write `best/` of a run that now ends sooner than it was to, and so has not looked at its last epoch."""
        best, last = self.out / "best", self.state["epoch"] - 1
        if self.recipe.keep == "best":
            lacking = self.state["best"] < 0
        else:
            lacking = not has_checkpoint(best) or load_facts(best)["epoch"] != last
        if lacking:
            self._save_best(last, self.selection()[0])

    def facts(self) -> dict[str, Any]:
        """What travels with the weights."""
        return {
            **({} if self.started is None else {"start": self.started}),
            **({} if self.protocol.task == "expression" else {"task": self.protocol.task}),
            "recipe": self.recipe.to_dict(),
            "labels": list(self.protocol.labels),
            "protocol": self.protocol.name,
            "fold": fold_of(self.protocol, self.fold),
            "dataset": self.protocol.dataset,
            "metric": self.protocol.metric,
            "preprocess": dataclasses.asdict(self.preprocess),
            "data": {
                self.protocol.train: self.pictures.sha256,
                self.protocol.select: self.held_out.sha256,
                **({} if self.pictures.cues is None else {"cues": self.pictures.cues.sha256}),
            },
            "framing": self.pictures.framing,
            "pictures": {"train": len(self.pictures), "select": len(self.held_out)},
            "failures": {
                "train": list(self.pictures.failures[:100]),
                "select": list(self.held_out.failures[:100]),
            },
            "commit": code_version(),
            "machine": f"{processor()}, {self.group.device.type}",
            "torch": torch.__version__,
            "processes": self.group.world,
        }

    def _save_last(self) -> None:
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        if self.smoothed is not None:
            tensors |= {f"smoothed.{name}": value for name, value in self.smoothed.state_dict().items()}
        tensors |= optimiser_tensors(self.optim)
        save_checkpoint(self.out / "last", tensors, {**self.facts(), "state": self.state})

    def _resume(self) -> None:
        """Take up `last/` where there is one; it must be of the same recipe and data."""
        self.out.mkdir(parents=True, exist_ok=True)
        if has_checkpoint(self.out / "last"):
            tensors, facts = load_checkpoint(self.out / "last")
            refuse_another(self.out, facts, self.facts())
            load_network(self.network, part(tensors, "network."), str(self.out / "last"))
            if self.smoothed is not None:
                self.smoothed.load_state_dict(part(tensors, "smoothed."))
            load_optimiser(self.optim, tensors)
            # An older run counted both in `since_best`, and did not count the seconds of an interrupted epoch.
            self.state = {"since_drop": facts["state"]["since_best"], "seconds": 0.0, **facts["state"]}
        if self.group.leads:
            with contextlib.suppress(OSError):
                cut_log(self.out, self.state["epoch"])
            if self.state["epoch"] >= self.recipe.epochs:
                self._complete()
        self.group.share(self.network)


def _pieces(batch: Batch, parts: int, device: torch.device) -> list[Batch]:
    """A batch in so many parts of nearly one size, on the device."""
    rows = torch.arange(len(batch.images)).tensor_split(min(parts, len(batch.images)))
    weights = None if batch.class_weights is None else batch.class_weights.to(device)
    return [
        Batch(
            batch.images[some].to(device),
            batch.targets[some].to(device),
            {name: values[some].to(device) for name, values in batch.extras.items()},
            weights,
        )
        for some in rows
    ]
