"""Checkpoints: safetensors for the numbers, JSON for the rest, never pickle, never half-written."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from mien.errors import CheckpointError
from mien.files import write_whole

FORMAT = 1
TENSORS = "state.safetensors"


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `state.safetensors` and `state.json` under `folder`, which changes at once or not at all.

    Raises:
        CheckpointError: the disk is full or the place cannot be written; what was there before stays.
    """
    half = folder.with_name(folder.name + ".tmp")
    try:
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        # A clone gives every tensor memory of its own, as safetensors wants.
        save_file(
            {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()},
            half / TENSORS,
        )
        with (half / TENSORS).open("rb+") as written:
            os.fsync(written.fileno())
        write_whole(half / "state.json", json.dumps({"format": FORMAT, **facts}, indent=1) + "\n")
        shutil.copymode(half / "state.json", half / TENSORS)  # safetensors lets none but the owner read
        old = folder.with_name(folder.name + ".old")
        if folder.exists():  # else `old` may be all there is, see `_standing`
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        half.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(half, ignore_errors=True)
        raise CheckpointError(
            f"expected to write the checkpoint {folder}, got: {error}. The checkpoint before it is whole; make "
            "room and run the same command again to go on."
        ) from error


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    facts = load_facts(folder)
    try:
        return load_file(_standing(folder) / TENSORS), facts
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"expected a whole checkpoint in {folder}, got: {error}") from error


def load_facts(folder: Path) -> dict[str, Any]:
    """Facts of a checkpoint alone; raises as `load_checkpoint` does."""
    try:
        facts: dict[str, Any] = json.loads((_standing(folder) / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected a whole checkpoint in {folder}, got: {error}") from error
    return facts


def _standing(folder: Path) -> Path:
    """The folder itself; or what was there before, where a run was killed between the two renames."""
    old = folder.with_name(folder.name + ".old")
    return old if old.is_dir() and not folder.is_dir() else folder


def has_checkpoint(folder: Path) -> bool:
    """Whether there is anything to go on from."""
    return _standing(folder).is_dir()


def load_network(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Put stored weights into a network, strictly.

    Raises:
        CheckpointError: it is another method's checkpoint, or has other classes.
    """
    own = network.state_dict()
    lacking, foreign = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if lacking or foreign:
        raise CheckpointError(
            f"expected the weights of {type(network).__name__} in {what}, got those of another method: "
            f"{len(lacking)} are missing ({', '.join(lacking[:3])}), {len(foreign)} are foreign "
            f"({', '.join(foreign[:3])})."
        )
    other = [name for name, value in own.items() if value.shape != tensors[name].shape]
    if other:
        name = other[0]
        raise CheckpointError(
            f"expected {name} of shape {tuple(own[name].shape)} in {what}, got {tuple(tensors[name].shape)}: "
            "the number of classes or an option of the network differs."
        )
    network.load_state_dict(dict(tensors), strict=True)


def load_start(network: nn.Module, source: Path, labels: Sequence[str] | None = None) -> dict[str, Any]:
    """Start a network from another's weights, in place: every tensor whose name fits is taken.

    A last layer, `head`, for other classes is left out.

    Args:
        network: what no tensor fits keeps its values.
        source: folder of a run (its best epoch), or a .safetensors file, whose classes are taken to be the
            network's where they are as many.
        labels: classes of the network; those of the run are compared with them, name by name.

    Returns:
        what was done: `source`, `sha256` of its file, `taken` (how many), and the names `fresh` (kept) and `unused`;
        with `other_labels`, those of the run, where its last layer was left out for them.

    Raises:
        CheckpointError: there is nothing there, nothing fits, or a name fits and its shape does not.
    """
    folder = _standing(source / "best")
    file = folder / TENSORS if source.is_dir() else source
    try:
        content = file.read_bytes()
        tensors = load(content)
        known = json.loads((folder / "state.json").read_text()).get("labels") if source.is_dir() else None
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"expected start 'fresh', 'shipped', the folder of a run or a .safetensors file, got {source} ({error})."
        ) from error
    other = None if labels is None or known is None or list(labels) == known else known
    own = network.state_dict()
    taken = {
        name: value
        for name, value in tensors.items()
        if name in own and not (name.startswith("head.") and (other or len(value) != len(own[name])))
    }
    _refuse_other_shapes(network, tensors, taken, source)
    network.load_state_dict(taken, strict=False)
    return {
        "source": str(source),
        "sha256": hashlib.sha256(content).hexdigest(),
        "taken": len(taken),
        "fresh": sorted(own.keys() - taken.keys()),
        "unused": sorted(tensors.keys() - taken.keys()),
        **({} if other is None else {"other_labels": other}),
    }


def _refuse_other_shapes(
    network: nn.Module, tensors: Mapping[str, Tensor], taken: Mapping[str, Tensor], source: Path
) -> None:
    """Refuse a start of which nothing fits, or a name and not its shape."""
    own = network.state_dict()
    other = [name for name, value in taken.items() if value.shape != own[name].shape]
    if other or not taken:
        detail = (
            f"{other[0]} of shape {tuple(taken[other[0]].shape)}, not {tuple(own[other[0]].shape)}"
            if other
            else f"none of its names, but {', '.join(sorted(tensors)[:3])}"
        )
        raise CheckpointError(f"expected tensors of {type(network).__name__} in {source}, got {detail}.")


def optimiser_tensors(optim: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors, "optim.<parameter>.<name>"."""
    state = optim.state_dict()["state"]
    return {
        f"optim.{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def load_optimiser(optim: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` gave, laid out in memory as the weights are.

    A fused step takes that layout for granted.
    """
    weights = [weight for group in optim.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optim."):
            _, index, name = key.split(".", 2)
            weight = weights[int(index)]
            if value.shape == weight.shape:
                value = torch.empty_like(weight).copy_(value)
            state.setdefault(int(index), {})[name] = value
    optim.load_state_dict({"state": state, "param_groups": optim.state_dict()["param_groups"]})


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def processor() -> str:
    """The kind of processor with what PyTorch uses of it, and its cores: `x86_64 (AVX2), 2 cores`."""
    return f"{platform.machine()} ({torch.backends.cpu.get_cpu_capability()}), {os.cpu_count()} cores"


@functools.cache
def code_version() -> str:
    """Commit of the code that runs, "+changes" where a file of the package differs; "release" outside a checkout.

    A repository around an installed copy, which does not track this file, is not its checkout.
    """
    here = Path(__file__).parents[1]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        _, *answers = [
            subprocess.run(
                ["git", *arguments], cwd=here, capture_output=True, text=True, check=True, env=environment
            ).stdout.strip()
            for arguments in (
                ["ls-files", "--error-unmatch", "--", __file__],
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--", str(here)],
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return "release"
    return answers[0] + ("+changes" if answers[1] else "")
