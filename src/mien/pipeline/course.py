"""A clip as a whole: its tracks smoothed, relative to the person at rest, with events; and each frame's share of that.

`CourseBuilder` takes the results of a clip as they come and keeps of each face some hundred bytes a frame (a few
hundred with the mesh). At the end, `finish` gives the `Course`, and `in_time` each result with what its frame is in it.
"""

from __future__ import annotations

import pickle
import re
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mien.errors import DataError, InputError, OptionError
from mien.explain.evidence import intensity_of
from mien.faces.mesh_units import RULES, evidence, units_from_evidence, units_from_mesh
from mien.pipeline.baseline import calmest, relative, rest_of
from mien.pipeline.events import EVENTS_STEP_S, blinks, events_of, talking
from mien.pipeline.smoothing import Causal, smoothed
from mien.pipeline.strips import held, step_s
from mien.types.faces import Faces
from mien.types.media import FrameResult
from mien.types.track import Baseline, Course, Event, InTime, Track
from mien.types.units import ActionUnits

TALKING = 0.25
"""How far a frame of speech counts as a witness of an expression: the mouth says little, the rest of the face goes on."""
AUTO_LEAST_S = 10.0
"""A face that was in sight for less has no rest that could be told from what it does."""
GAP_S = 1.0
"""An event does not go on over a time as long as this in which the face was not seen."""

CourseObserver = Callable[[Course], None]
"""Called with the course of each clip, when it has been read."""
Wish = str | Baseline | tuple[float, float] | None
"""How a person's rest is found: "auto", the times of a stretch at rest, a baseline that is known, or not at all."""


def baseline_wish(text: str) -> str | tuple[float, float] | Path:
    """What `auto`, `0-5`, `1:00-1:05.5` or the name of a file stands for.

    Raises:
        OptionError: a range that ends before it begins; a file that is not there.
    """
    if text == "auto":
        return text
    found = re.fullmatch(r"([\d:.]+)-([\d:.]+)", text)
    if found:
        try:
            start_s, end_s = (
                sum(float(part) * 60**place for place, part in enumerate(reversed(one.split(":"))))
                for one in found.groups()
            )
        except ValueError:
            raise OptionError(
                f"expected a stretch START-END, such as 0-5 or 1:00-1:05.5, got {text!r}"
            ) from None
        if not start_s < end_s:
            raise OptionError(f"expected a stretch START-END that ends after it begins, got {text!r}")
        return start_s, end_s
    if not Path(text).is_file():
        raise OptionError(
            f"expected a baseline 'auto', a stretch START-END in seconds, or a picture or clip of the face at rest, "
            f"got {text!r}, and there is no such file"
        )
    return Path(text)


@dataclass
class _Kept:
    """What is kept of a track while its clip is read, a list entry a frame."""

    frame: list[int] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    box: list[np.ndarray] = field(default_factory=list)
    raw: list[np.ndarray] = field(default_factory=list)
    uncertain: list[bool] = field(default_factory=list)
    reliable: list[bool] = field(default_factory=list)
    units: list[np.ndarray] = field(default_factory=list)
    yaw_rad: list[float] = field(default_factory=list)
    lids_jaw: list[np.ndarray] = field(default_factory=list)


class CourseBuilder:
    """Collects the results of one clip.

    Args:
        threshold: confidence under which an answer counts as uncertain.
        baseline: how the persons' rest is found.
    """

    def __init__(self, threshold: float, baseline: Wish = None) -> None:
        self.threshold, self.baseline = threshold, baseline
        self._kept: dict[int, _Kept] = {}
        self._names: tuple[str, ...] = ()
        self._path, self._size = "", (0, 0)
        self._start_s = self._end_s = np.nan
        self._frames = 0
        self._times = array("d")

    def add(self, result: FrameResult) -> None:
        """Take the result of the next frame in."""
        faces = result.faces
        self._path, self._size = result.path, result.size_wh_px
        self._frames += 1
        if result.time_s is not None:
            self._start_s = result.time_s if self._frames == 1 else self._start_s
            self._end_s = result.time_s
            self._times.append(result.time_s)
        if not len(faces) or faces.track_id is None or faces.expression is None:
            return
        self._names = faces.expression.names
        units = None if faces.mesh is None else evidence(faces.mesh).astype(np.float32)
        for row, number in enumerate(faces.track_id.tolist()):
            self._keep(number, result, row, units)

    def add_largest(self, result: FrameResult) -> None:
        """Take the largest face of a picture or frame in, as that of the one person whom a file is about."""
        box = result.faces.box_xyxy_px
        if len(box) and result.faces.expression is not None:
            self._names = result.faces.expression.names
            mesh = result.faces.mesh
            units = None if mesh is None else evidence(mesh).astype(np.float32)
            self._keep(0, result, int((box[:, 2:] - box[:, :2]).prod(1).argmax()), units)

    def _keep(self, number: int, result: FrameResult, row: int, units: np.ndarray | None) -> None:
        """Keep what one face of a frame shows."""
        faces = result.faces
        assert faces.expression is not None
        kept = self._kept.setdefault(number, _Kept())
        kept.frame.append(result.frame)
        kept.time_s.append(0.0 if result.time_s is None else result.time_s)
        kept.box.append(faces.box_xyxy_px[row])
        kept.raw.append(faces.expression.values[row])
        kept.uncertain.append(bool(faces.uncertain is not None and faces.uncertain[row]))
        kept.reliable.append(faces.quality is None or not faces.quality.reasons[row])
        if units is not None and faces.mesh is not None:
            mesh = faces.mesh
            kept.units.append(units[row])
            kept.yaw_rad.append(float(mesh.pose_ypr_rad[row, 0]))
            lids_jaw = [mesh[name][row] for name in ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen")]
            kept.lids_jaw.append(np.array(lids_jaw, np.float32))

    def rest(self, origin: str) -> Baseline:
        """The face at rest of the one person of `add_largest`, which is what all frames show.

        Raises:
            DataError: no face that can be relied on.
        """
        kept = self._kept.get(0, _Kept())
        raw = np.array(kept.raw, float).reshape(len(kept.raw), len(self._names))
        units = np.array(kept.units) if kept.units else None
        return rest_of(raw, self._names, witness=np.array(kept.reliable, bool), origin=origin, units=units)

    def finish(self, trouble: str = "") -> Course:
        """The course of the clip so far; `trouble` says why it was not read to its end."""
        steps = np.diff(np.maximum.accumulate(np.array(self._times)))
        empty = Course(
            path=self._path,
            tracks=(),
            frames=self._frames,
            start_s=self._start_s,
            end_s=self._end_s,
            size_wh_px=self._size,
            threshold=self.threshold,
            trouble=trouble,
            spacing_s=float(np.median(steps)) if len(steps) else np.nan,
        )
        tracks = tuple(self._track(number, self._kept[number], empty) for number in sorted(self._kept))
        return replace(empty, tracks=tracks)

    def _track(self, number: int, kept: _Kept, course: Course) -> Track:
        raw, time_s = np.array(kept.raw, float), np.array(kept.time_s)
        # A file's own times may go back; the order of the frames does not.
        clock = np.maximum.accumulate(time_s)
        sides = np.array(kept.units) if kept.units else None
        blink = speech = None
        witness = np.array(kept.reliable, float)
        if kept.lids_jaw:
            lids_jaw = np.array(kept.lids_jaw)
            blink, speech = blinks(lids_jaw[:, :2], clock), talking(lids_jaw[:, 2], clock)
            witness = witness * np.where(blink, 0.0, np.where(speech, TALKING, 1.0))
        since, until = held(np.array(kept.frame), time_s, step_s(course))
        rest, note = self._rest(raw, clock, witness > 0, sides, float((until - since).sum()))
        moved = None if rest is None else relative(raw, rest)
        likely = smoothed(raw if moved is None else moved, clock, witness)
        units = None
        if sides is not None:
            units = units_from_evidence(sides, np.array(kept.yaw_rad), None if rest is None else rest.units)
        shown = course.shows_events(EVENTS_STEP_S)
        return Track(
            id=number,
            frame=np.array(kept.frame),
            time_s=time_s,
            box_xyxy_px=np.array(kept.box, np.float32),
            names=self._names,
            raw=raw,
            uncertain=np.array(kept.uncertain),
            reliable=np.array(kept.reliable),
            smoothed=likely,
            relative=moved,
            units=units,
            blink=blink,
            talking=speech,
            baseline=rest,
            baseline_note=note,
            events=tuple(_events(likely, clock, self._names, units)) if shown else (),
        )

    def _rest(
        self,
        raw: np.ndarray,
        clock: np.ndarray,
        counts: np.ndarray,
        units: np.ndarray | None,
        seen_s: float,
    ) -> tuple[Baseline | None, str]:
        """The face at rest, and what it was taken from or why there is none; `seen_s`: how long it was in sight."""
        wish = self.baseline
        if wish is None:
            return None, ""
        if isinstance(wish, Baseline):
            return wish, wish.origin
        if isinstance(wish, str):
            if seen_s < AUTO_LEAST_S - 1e-6:
                return None, f"none: in sight for {seen_s:.2f} s, {AUTO_LEAST_S:g} s wanted"
            trusted = np.flatnonzero(counts)
            counts = np.zeros(len(raw), bool)
            counts[trusted[calmest(raw[trusted], self._names, clock[trusted])]] = True
            origin = "auto: its calmest fifth"
        else:
            counts = counts & (clock >= wish[0]) & (clock < wish[1])
            origin = f"{wish[0]:g} to {wish[1]:g} s"
        try:
            rest = rest_of(raw, self._names, witness=counts, origin=origin, units=units)
        except DataError:
            return None, f"none: no frame that can be relied on ({origin})"
        return rest, f"{origin}, {rest.frames} frames"


def _events(
    likely: np.ndarray, clock: np.ndarray, names: tuple[str, ...], units: ActionUnits | None
) -> Iterator[Event]:
    """Events of each stretch in which the face was in sight, by onset."""
    steps = np.diff(clock)
    gap_s = max(GAP_S, 3 * float(np.median(steps))) if len(steps) else GAP_S
    for rows in np.split(np.arange(len(clock)), np.flatnonzero(steps >= gap_s) + 1):
        for event in events_of(likely[rows], clock[rows], names):
            row = int(rows[0]) + event.apex_row
            intensity = None if units is None else intensity_of(event.label, units, row)
            yield replace(event, apex_row=row, intensity=intensity)


def held_back(
    results: Iterator[FrameResult], builder: CourseBuilder, observer: CourseObserver | None
) -> Iterator[FrameResult]:
    """The results of one file; a clip's when it has been read, with what each frame is in its course.

    What breaks the clip off, Ctrl-C too, comes after the results so far.
    """
    trouble: BaseException | None = None
    count = 0
    with tempfile.TemporaryFile() as waiting:
        try:
            for result in results:
                if result.time_s is None:
                    yield _relative_picture(result, builder.baseline)
                    continue
                builder.add(result)
                pickle.dump(result, waiting, pickle.HIGHEST_PROTOCOL)
                count += 1
        except (InputError, OSError, KeyboardInterrupt) as error:
            trouble = error
        if count:
            course = builder.finish("" if trouble is None else str(trouble) or "stopped")
            share = _FrameShares(course)
            waiting.seek(0)
            for _ in range(count):
                yield share(pickle.load(waiting))
            if observer is not None:
                observer(course)
    if trouble is not None:
        raise trouble


def live_in_time(
    results: Iterator[FrameResult], threshold: float, wish: Wish, observer: CourseObserver | None
) -> Iterator[FrameResult]:
    """Results of a live source, each with what the frames so far make likely.

    Raises:
        OptionError: a course or a rest is asked for that only a whole clip has.
    """
    if observer is not None or not (wish is None or isinstance(wish, Baseline)):
        raise OptionError(
            "expected of a live source smoothing and a baseline from a file at most, got what needs a whole clip "
            "(events, plots, reports, a rest found in the clip). Record it, and read the recording."
        )
    tracks: dict[int, Causal] = {}
    for result in results:
        faces = result.faces
        if faces.expression is None or faces.track_id is None or result.time_s is None:
            yield result
            continue
        raw = faces.expression.values
        moved = raw if wish is None else relative(raw, wish)
        likely = np.empty(raw.shape)
        for row, number in enumerate(faces.track_id.tolist()):
            poor = faces.quality is not None and bool(faces.quality.reasons[row])
            smoother = tracks.setdefault(number, Causal())
            likely[row] = smoother.update(moved[row], result.time_s, float(not poor))
        yield _alone(result, likely, threshold, wish)


def _relative_picture(result: FrameResult, wish: Wish) -> FrameResult:
    """A picture's result relative to a baseline that is known; as it is without one."""
    if not isinstance(wish, Baseline) or result.faces.expression is None:
        return result
    return _alone(result, np.full(result.faces.expression.values.shape, np.nan), np.nan, wish)


def _alone(result: FrameResult, likely: np.ndarray, threshold: float, rest: Baseline | None) -> FrameResult:
    """A result with smoothed values and those relative to a baseline, without a course."""
    faces = result.faces
    assert faces.expression is not None
    moved = units = None
    if rest is not None:
        moved = relative(faces.expression.values, rest)
        if faces.mesh is not None and rest.units is not None:
            units = units_from_mesh(faces.mesh, rest.units)
    notes = () if rest is None else (rest.origin,) * len(faces)
    shares = InTime(faces.expression.names, likely, likely.max(1) < threshold, moved, units, baseline=notes)
    return replace(result, faces=replace(faces, in_time=shares))


class _FrameShares:
    """Gives each result of a clip, in the order in which the builder got them, what its frame is in the course."""

    def __init__(self, course: Course) -> None:
        self._threshold = course.threshold
        self._tracks = {track.id: track for track in course.tracks}
        self._next = dict.fromkeys(self._tracks, 0)

    def __call__(self, result: FrameResult) -> FrameResult:
        """The same result with `faces.in_time`."""
        faces = result.faces
        if not len(faces) or faces.track_id is None or faces.expression is None:
            return result
        places = []
        for number in faces.track_id.tolist():
            places.append((self._tracks[number], self._next[number]))
            self._next[number] += 1
        return replace(result, faces=replace(faces, in_time=_share(faces, places, self._threshold)))


def _share(faces: Faces, places: list[tuple[Track, int]], threshold: float) -> InTime:
    """What the faces of one frame are in their tracks, each given with its row."""
    tracks = [track for track, _ in places]
    nothing = np.full(len(tracks[0].names), np.nan)
    some_rest = any(track.baseline_note for track in tracks)
    some_mesh = faces.mesh is not None
    likely = np.array([track.smoothed[row] for track, row in places])
    return InTime(
        names=tracks[0].names,
        smoothed=likely,
        uncertain=likely.max(1) < threshold,
        relative=np.array(
            [nothing if track.relative is None else track.relative[row] for track, row in places]
        )
        if some_rest
        else None,
        units=_units_share(places) if some_rest and some_mesh else None,
        blink=np.array([track.blink is not None and track.blink[row] for track, row in places])
        if some_mesh
        else None,
        talking=np.array([track.talking is not None and track.talking[row] for track, row in places])
        if some_mesh
        else None,
        event=tuple(
            " ".join(
                event.label for event in track.events if event.onset_s <= track.time_s[row] <= event.offset_s
            )
            for track, row in places
        ),
        baseline=tuple(track.baseline_note for track in tracks) if some_rest else (),
    )


def _units_share(places: list[tuple[Track, int]]) -> ActionUnits:
    """Relative action units; NaN of a face without a rest."""
    values = np.full((len(places), len(RULES)), np.nan, np.float32)
    for row, (track, place) in enumerate(places):
        if track.units is not None and track.baseline is not None and track.baseline.units is not None:
            values[row] = track.units.values[place]
    return ActionUnits(tuple(rule.unit for rule in RULES), values, "intensity", "mesh")
