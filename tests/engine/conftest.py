"""A drawn data set in memory and a run that takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.datasets.protocol import Protocol
from mien.engine.pictures import Pictures
from mien.engine.recipe import Recipe, override
from mien.engine.train import Run

LABELS = ("neutral", "happy", "sad")


def drawn_pictures(count: int, seed: int) -> Pictures:
    """Grey 32 px pictures whose class is the third of the picture that is bright."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % len(LABELS)
    images = random.integers(0, 90, (count, 1, 32, 32)).astype(np.uint8)
    for row, label in enumerate(truth):
        images[row, :, label * 10 : label * 10 + 12] += 120
    matrices = np.tile(np.array([[32.0, 0, 0], [0, 32.0, 0]], np.float32), (count, 1, 1))
    return Pictures(
        images=torch.from_numpy(images),
        matrices=torch.from_numpy(matrices),
        targets=torch.eye(len(LABELS))[torch.from_numpy(truth)],
        truth=torch.from_numpy(truth),
        ids=tuple(str(index) for index in range(count)),
        sha256=f"drawn-{count}-{seed}",
    )


@pytest.fixture(scope="session")
def protocol() -> Protocol:
    return Protocol(
        name="drawn", dataset="drawn", labels=LABELS, train="train", select="select", test="test",
        metric="accuracy", folds=1, aggregation="single", subjects_disjoint=False, splits={}, source="drawn",
    )  # fmt: skip


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    small = Recipe("drawn", "mobile_expression", "drawn", size_px=32, epochs=2, batch_size=8)
    return override(small, ["views.mirror=false", "views.rotate_rad=0.05", "schedule.warmup_epochs=0"])


@pytest.fixture(scope="session")
def pictures() -> tuple[Pictures, Pictures]:
    return drawn_pictures(33, 0), drawn_pictures(12, 1)


@pytest.fixture
def make_run(
    protocol: Protocol, recipe: Recipe, pictures: tuple[Pictures, Pictures], tmp_path: Path
) -> Callable[..., Run]:
    """`make_run("name", ["epochs=1"])`: a run in a folder of that name."""

    def make(name: str = "run", settings: list[str] | None = None) -> Run:
        return Run(override(recipe, settings or []), protocol, *pictures, tmp_path / name)

    return make
