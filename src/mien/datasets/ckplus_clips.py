"""CK+ as clips of three frames: the last three of each labelled sequence, from the npz of `mien.datasets.ckplus`.

Source of the set: see there. A sequence runs from neutral to the expression, so its last three frames show the end of the
rise; the third is the apex, the one that static methods are measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mien.datasets.ckplus import LAST_FRAMES, SEQUENCES, CkPlus48
from mien.datasets.clips import middle_frames
from mien.datasets.dataset import Dataset, Reader, Row, register
from mien.datasets.reading import wrong
from mien.datasets.samples import Clip

PICTURES = CkPlus48()
"""Where the frames come from; its ids are "S005_001_00000011": sequence, then frame."""


@register
class CkPlus48Clips(Dataset):
    """327 sequences of 118 people, three grey frames of 48 x 48 each."""

    name = "ckplus48_clips"
    title = "CK+ at 48 x 48, the last three frames of each sequence"
    licence, apply_at, layout = PICTURES.licence, PICTURES.apply_at, PICTURES.layout
    framing = PICTURES.framing
    splits = PICTURES.splits
    expected = {"all": SEQUENCES}
    expected_source = "counted here"

    def rows(self, root: Path) -> list[Row]:
        """A row a sequence in the order of their names, such as "S005_001"."""
        rows = []
        for name, frames in self._sequences(root).items():
            told = {(row.label, row.subject) for row in frames}
            if len(frames) != LAST_FRAMES or len(told) != 1:
                raise wrong(f"sequence {name}", f"{LAST_FRAMES} frames with one label", len(frames))
            rows.append(Row(name, "all", frames[0].label, frames[0].subject))
        return rows

    def clips(self, root: Path, rows: Sequence[Row]) -> Callable[[int], Clip]:
        """The three frames of each sequence, grey (48, 48), in time."""
        sequences = self._sequences(root)
        frames = [frame for row in rows for frame in sequences[row.id]]
        read = PICTURES.reader(root, frames)
        return lambda clip: Clip(
            LAST_FRAMES, lambda places: [read(LAST_FRAMES * clip + place) for place in places]
        )

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        """The middle frame of each."""
        return middle_frames(self.clips(root, rows))

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        """Draw what `ckplus48` draws."""
        PICTURES.look_alike(root, per_class, seed)

    def _sequences(self, root: Path) -> dict[str, list[Row]]:
        """Frames of each sequence in time."""
        sequences: dict[str, list[Row]] = {}
        for row in sorted(PICTURES.rows(root), key=lambda row: row.id):
            sequences.setdefault(row.id[:8], []).append(row)
        return sequences
