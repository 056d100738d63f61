"""What a run could not give of what was asked for, in a few lines for stderr."""

from __future__ import annotations

import argparse
from pathlib import Path

from mien.pipeline.events import EVENTS_STEP_S
from mien.types.media import Failure, FrameResult
from mien.types.track import Course

CLIPS_ONLY = ("smooth", "events", "plot", "report")


class Notes:
    """Looks on while files are read.

    Args:
        options: of `mien analyze`.
        baseline: what its `--baseline` stands for.
    """

    def __init__(
        self, options: argparse.Namespace, baseline: str | tuple[float, float] | Path | None
    ) -> None:
        self._asked = [f"--{name}" for name in CLIPS_ONLY if getattr(options, name)]
        if baseline is not None and not isinstance(baseline, Path):  # a file's is for pictures too
            self._asked.append("--baseline")
        self._every = options.every is not None
        self._read = self._timed = False
        self._clips = self._sparse = self._faces = 0
        self._restless: list[str] = []

    def note(self, result: FrameResult | Failure) -> None:
        """Take the next result in."""
        if isinstance(result, FrameResult):
            self._read = True
            self._timed |= result.time_s is not None

    def add(self, course: Course) -> None:
        """Take a clip in."""
        self._clips += 1
        self._sparse += not course.shows_events(EVENTS_STEP_S)
        self._faces += len(course.tracks)
        self._restless += [t.baseline_note for t in course.tracks if t.baseline is None and t.baseline_note]

    def lines(self) -> list[str]:
        """At most a line a matter."""
        found = []
        if self._asked and self._read and not self._timed:
            found.append(f"no clip was read: nothing to tell for {', '.join(self._asked)}")
        if self._sparse:
            found.append(
                f"no events told of {self._sparse} of {self._clips} clips, for want of frames at most {EVENTS_STEP_S:g} s "
                f"apart{'. Choose a smaller --every' if self._every else ''}"
            )
        if self._restless:
            found.append(
                f"no baseline for {len(self._restless)} of {self._faces} faces: {self._restless[0].removeprefix('none: ')}"
            )
        return found
