"""Motion pictures of a set's clips, in the one file that `megc2019_maps` reads.

    python -m mien.recipes.motion_maps megc2019 --data ROOT --out DIR [--steps 10 --size 128]

With one step (the default) a picture is u, v and strain from onset to apex, as `htnet` takes it; with ten, what `mpfnet`
takes. The face is found in each onset; a clip whose frames cannot be read, or without a face, is named and left out. Sets
that tell no apex (SMIC) take the frame that differs most from the onset.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mien.datasets.dataset import DATASETS, Row
from mien.datasets.micro_clips import MicroClips
from mien.datasets.motion_maps import write_maps
from mien.datasets.reading import read_picture
from mien.errors import DataError, InputError, OptionError, ShapeError
from mien.faces.crops import crop_detector
from mien.faces.motion import cut_alike, grey
from mien.faces.yunet import YuNet
from mien.labels.micro import MICRO, MICRO_OF
from mien.transforms.flow import STEPS, flow_picture, motion_of, motion_steps


def map_of(data: MicroClips, root: Path, row: Row, steps: int, size_px: int, detector: YuNet) -> np.ndarray:
    """The motion picture of a clip, uint8 (S, S, 3) or (S, S, 50).

    Raises:
        DataError: its frames cannot be read. InputError: no face. ShapeError: frames of different sizes, or one alone.
    """
    files = list(data.frames(root, row).values())
    if steps == 1 and np.isfinite(row.extras["apex"]):
        files = list(data.pair(root, row))
    frames = [grey(one) for one in cut_alike([read_picture(file) for file in files], detector=detector)]
    if steps > 1:
        return motion_steps(frames, size_px)
    return flow_picture(motion_of(frames[0], frames[strongest(frames)]), size_px)


def strongest(frames: Sequence[np.ndarray]) -> int:
    """Place of the frame that differs most from the first, by the mean size of the difference.

    Raises:
        ShapeError: there is no frame after the first.
    """
    if len(frames) < 2:
        raise ShapeError(f"expected an onset and at least one frame after it, got {len(frames)} frames")
    return 1 + int(np.argmax([np.abs(one.astype(float) - frames[0]).mean() for one in frames[1:]]))


def make(
    name: str, root: Path, out: Path, steps: int = 1, size_px: int = 28, quiet: bool = False
) -> tuple[int, list[str]]:
    """Write `OUT/maps.npz` of a registered set's clips; gives how many it holds, and what was left out and why.

    Raises:
        OptionError: not a set of clips, or another number of steps.
        DataError: no clip could be used.
    """
    data = DATASETS[name]
    if not isinstance(data, MicroClips):
        raise OptionError(f"expected a set of micro-expression clips, got {name!r}")
    if steps not in (1, STEPS):
        raise OptionError(f"expected 1 or {STEPS} steps, got {steps}")
    detector, failures, kept, maps = crop_detector(), [], [], []
    rows = [row for row in data.rows(root) if row.label in MICRO_OF]
    for row in tqdm(rows, "motion", disable=quiet, unit="clip"):
        try:
            maps.append(map_of(data, root, row, steps, size_px, detector))
            kept.append(row)
        except (DataError, InputError, ShapeError) as error:
            failures.append(f"{row.id}: {error}")
    if not kept:
        raise DataError(
            f"expected clips that can be used, got none of {len(rows)}: {'; '.join(failures[:3])}"
        )
    ids = [row.id if "/" in row.id else f"{name}/{row.id}" for row in kept]
    write_maps(
        out / "maps.npz",
        "maps",
        np.stack(maps),
        np.array([MICRO.index(MICRO_OF[str(row.label)]) for row in kept]),
        [id.partition("/")[0] for id in ids],
        [str(row.subject).rpartition("/")[2] for row in kept],
        [id.partition("/")[2] for id in ids],
    )
    return len(kept), failures


def main(arguments: Sequence[str] | None = None) -> None:
    """The command in the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m mien.recipes.motion_maps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("set", metavar="SET", help="megc2019, smic, casme2, samm, casme3 or mmew")
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--size", type=int, default=28)
    options = parser.parse_args(arguments)
    count, failures = make(options.set, options.data, options.out, options.steps, options.size)
    print("\n".join([f"{count} clips in {options.out / 'maps.npz'}; {len(failures)} left out", *failures]))


if __name__ == "__main__":
    main()
