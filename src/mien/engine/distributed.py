"""More than one process, as `torchrun` starts them: gloo on CPUs, NCCL on GPUs.

Gradients are averaged by hand, in one piece: it is the same sum for plain steps, SAM's two passes and
networks with several outputs, and it is easy to check.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mien.errors import OptionError


@dataclass(frozen=True)
class Group:
    """One process among the others."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process measures, prints and writes."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[Tensor], loss: float) -> float:
        """Replace each gradient by the mean over the processes; gives the mean of their losses."""
        if self.world == 1:
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), gradients[0].new_tensor([loss])])
        dist.all_reduce(flat)
        flat /= self.world
        for gradient, mean in zip(gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        return float(flat[-1])

    def share(self, network: nn.Module) -> None:
        """Give every process the weights and statistics of the first."""
        if self.world > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)

    def any(self, flag: bool) -> bool:
        """Whether it holds in at least one process; the same answer in all of them."""
        if self.world == 1:
            return flag
        held = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(held, dist.ReduceOp.MAX)
        return bool(held.item())

    def tell(self, value: Any) -> Any:
        """The first process's value, in all of them."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]


@contextmanager
def process_group(device: str = "auto") -> Iterator[Group]:
    """The group that `torchrun` describes in the environment, or one process alone.

    Args:
        device: "auto" takes a GPU where there is one, else "cpu" or "cuda".

    Raises:
        OptionError: there is no GPU for this process.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if on_gpu else torch.device("cpu")
    if on_gpu and (place.index or 0) >= torch.cuda.device_count():
        raise OptionError(
            f"expected a GPU of number {place.index} that PyTorch can use, got {torch.cuda.device_count()} GPUs. Take "
            "--device cpu, or no more processes than GPUs."
        )
    if world == 1:
        yield Group(device=place)
        return
    if on_gpu:
        torch.cuda.set_device(place)  # NCCL sends objects over the current device
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Group(rank, world, place)
        dist.barrier()  # a process that leaves before the others takes the group from under them
    finally:
        dist.destroy_process_group()
