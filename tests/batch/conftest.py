"""A folder of small pictures, one of them damaged, and workers of the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.batch.shard import ShardWorker


class Here:
    """One worker, in this process: quick, and what it does can be looked into."""

    workers = 1

    def __init__(self, job):
        self.worker, self.shard, self.asked = ShardWorker(job), None, []

    def submit(self, shard):
        self.shard = shard
        self.asked.append(shard)

    def wait(self):
        return [(self.shard, self.worker.attempt(self.shard))]

    def close(self):
        pass


@pytest.fixture
def here() -> type[Here]:
    return Here


@pytest.fixture
def pictures(tmp_path: Path, portrait: np.ndarray) -> Path:
    """Five pictures with a face, one without and one that breaks off; sorted by name."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(np.roll(portrait, 3 * index, axis=1)).save(folder / f"a{index}.png")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "blank.png")
    whole = (folder / "a0.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """Name -> bytes of everything below a folder."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    return read
