"""Data sets of clips: a folder of frames or a video file a row, read at a few chosen frames.

Frames are chosen by segments, as in Wang et al., "Temporal Segment Networks", ECCV 2016: a clip is cut into T equal
parts; while a network learns one frame of each part is drawn, else the middle one is taken. A clip of fewer frames
than T gives some of them more than once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from mien.datasets.dataset import Dataset, Kept, Reader, Row
from mien.datasets.held_out import HELD_OUT, hold_out
from mien.datasets.protocol import Protocol
from mien.datasets.reading import files_of, read_picture
from mien.datasets.samples import Clip
from mien.errors import DataError
from mien.transforms.pixels import PICTURE_SUFFIXES

MOST_HIDDEN = 0.1
"""Share of a video's frames that may be missing or hidden (an edit list hides some) before it counts as broken off."""


def middles(count: int, segments: int) -> list[int]:
    """The middle frame of each of so many equal parts of a clip of `count` frames: floor((k + 1/2) count / segments)."""
    return [(2 * part + 1) * count // (2 * segments) for part in range(segments)]


def open_clip(path: Path) -> Clip:
    """The clip in a folder of frames, or in a video file.

    Raises:
        DataError: there is nothing, or no frame in it.
    """
    return clip_of_pictures(files_of(path, *PICTURE_SUFFIXES), path) if path.is_dir() else clip_of_video(path)


def clip_of_pictures(files: Sequence[Path], name: object) -> Clip:
    """A clip whose frames are picture files, in their order.

    Args:
        files: one a frame.
        name: what the clip is called in the message.

    Raises:
        DataError: there is none.
    """
    if not files:
        raise DataError(
            f"expected the frames of a clip, got no picture in {name}. Unpack every archive of the set."
        )
    return Clip(len(files), lambda indices: [read_picture(files[index]) for index in indices])


def clip_of_video(path: Path) -> Clip:
    """A clip in a video file. Frames are RGB and as stored; only those that are asked for are kept in memory.

    Raises:
        DataError: it is missing, or no video with a frame.
    """
    if not path.is_file():
        raise DataError(f"expected a clip, got no file {path}. Unpack every archive of the set.")
    try:
        with av.open(str(path)) as container:
            said = container.streams.video[0].frames
            count = sum(packet.size > 0 for packet in container.demux(video=0))
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise _damaged(path, error) from error
    if not count or count < (1 - MOST_HIDDEN) * said:
        raise _damaged(path, f"{count} of {said or 'some'} frames")
    return Clip(count, lambda indices: _frames(path, indices, count))


def _frames(path: Path, indices: Sequence[int], count: int) -> list[np.ndarray]:
    """Frames of a video by their place in the order of presentation; the last one for a few hidden at the end."""
    wanted, found, last, index = set(indices), {}, None, -1
    try:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    found[index] = frame.to_ndarray(format="rgb24")
                if index >= max(wanted):
                    break
                last = frame
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise _damaged(path, f"{error}, after {index + 1} of {count} frames") from error
    missing = wanted - set(found)
    if missing and (last is None or count - (index + 1) > MOST_HIDDEN * count):
        raise _damaged(path, f"{index + 1} of {count} frames")
    if missing and last is not None:
        found |= dict.fromkeys(missing, last.to_ndarray(format="rgb24"))
    return [found[index] for index in indices]


def _damaged(path: Path, what: object) -> DataError:
    return DataError(f"expected a whole video, got a damaged or other file {path} ({what}). Unpack it again.")


class ClipDataset(Dataset):
    """Base of sets whose rows are clips: a subclass says where each lies."""

    @abstractmethod
    def path(self, root: Path, row: Row) -> Path:
        """The folder of a clip's frames, or its video file."""

    def clips(self, root: Path, rows: Sequence[Row]) -> Callable[[int], Clip]:
        """A function that opens clip i."""
        return lambda index: open_clip(self.path(root, rows[index]))

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The middle frame of each clip."""
        return middle_frames(self.clips(root, rows))


class FoldedClips(ClipDataset):
    """Base of sets that come with their folds: `splits` are the folds' test lists, and no person is named.

    Of the other folds, one clip in ten of each class, chosen by the hash of its name, selects.
    """

    def _of_split(self, kept: Sequence[Kept], protocol: Protocol, split: str, fold: int) -> list[Kept]:
        """Clips of a split when one of the folds is tested."""
        if split == "all":
            return list(kept)
        if not 0 <= fold < len(self.splits):
            raise DataError(f"expected a fold from 0 to {len(self.splits) - 1}, got {fold}")
        tested = self.splits[fold]
        if split == protocol.test:
            return [one for one in kept if one[0].split == tested]
        others = [one for one in kept if one[0].split != tested]
        dealt = hold_out([replace(row, split="train") for row, _ in others])
        selects = {row.id for row in dealt if row.split == HELD_OUT}
        return [one for one in others if (one[0].id in selects) == (split == protocol.select)]


def middle_frames(clips: Callable[[int], Clip]) -> Reader:
    """A function that gives the middle frame of clip i."""

    def read(index: int) -> np.ndarray:
        clip = clips(index)
        return clip.read(middles(clip.count, 1))[0]

    return read
