"""Which face is which over time: `track_id`, from motion where a face was just seen, from its looks where it was not.

Causal: an id depends on the frames so far alone, so a live source and a file get the same ones. Motion is a Kalman
filter of constant velocity (Kalman, "A New Approach to Linear Filtering and Prediction Problems", J. Basic Eng. 82,
1960) on the box's middle and the logarithm of its side; faces and tracks are paired exactly, at the least cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mien.faces.boxes import iou
from mien.metrics.assignment import assignment
from mien.pipeline.cuts import CutFinder
from mien.types.faces import Faces
from mien.types.media import LUMA

GATE = 11.34
"""Squared distance in standard deviations: 99 % of a chi-square of 3 degrees of freedom."""

Describe = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From an RGB image and five points of N faces, (N, 5, 2), to unit vectors (N, D) that tell people apart."""


@dataclass(frozen=True)
class TrackLimits:
    """What makes two faces one. Cosines are those of `crop_cue`, or for `found_again_by` of the network given.

    Attributes:
        differs: under this cosine two crops are two faces, wherever they are.
        found_again: from this cosine on a face is one that was lost, wherever it is.
        found_again_by: the same for a network that tells people apart.
        crowded: a face whose box overlaps another's by so much teaches nothing about its looks.
        looks: crops remembered of a face.
        name_every_s: how often the network looks at a face that is not lost.
        remembered: faces remembered; of more, the one not seen for longest goes.
    """

    differs: float = 0.3
    found_again: float = 0.75
    found_again_by: float = 0.45
    crowded: float = 0.1
    looks: int = 8
    name_every_s: float = 1.0
    remembered: int = 256


class Tracker:
    """Gives each face of a frame the id of its track. One tracker a clip; ids count from 0 in order of appearance.

    First, faces are paired with tracks whose place is still known, by place, size and looks. Then what is left is
    compared by looks alone with all tracks that are not in the picture: those lost behind something, out of the picture,
    or before a cut. The rest are new faces.

    Args:
        describe: a network that tells people apart, for the second step; without one the crop itself is compared, which
            finds a face again while it looks about the same (pose, light), and gives it a new id otherwise.
        limits: what makes two faces one.
    """

    def __init__(self, describe: Describe | None = None, limits: TrackLimits | None = None) -> None:
        self.describe = describe
        self.limits = limits or TrackLimits()
        self._cut = CutFinder()
        self._tracks: list[_Track] = []
        self._ids = self._frames = 0
        self._time_s = -np.inf
        self._step_s = 0.04

    def update(self, image: np.ndarray, faces: Faces, crops: np.ndarray, time_s: float) -> np.ndarray:
        """The ids of a frame's faces, int64 (N,); whole numbers from 0.

        Args:
            image: RGB uint8 (H, W, 3).
            faces: found in it.
            crops: their aligned crops, uint8 (N, S, S, 3).
            time_s: presentation time; one that is not later than the last counts as one more step like the last.
        """
        self._pass_time(time_s, self._cut(image))
        cues = crop_cue(crops)
        clear = _shared(faces.box_xyxy_px) <= self.limits.crowded
        owners: list[_Track | None] = [None] * len(faces)
        near = [track for track in self._tracks if track.motion.known]
        for row, column in assignment(self._near_cost(near, faces, cues), 1.0):
            owners[column] = near[row]
        names = self._names(owners, image, faces, clear)
        self._find_again(owners, cues, names)
        for index, owner in enumerate(owners):
            if owner is None:
                owner = owners[index] = _Track(self._ids, self.limits.looks)
                self._tracks.append(owner)
                self._ids += 1
            owner.motion.correct(faces.box_xyxy_px[index])
            owner.seen = self._frames
            owner.looks.learn(cues[index], bool(clear[index]))
            if index in names:
                owner.names.learn(names[index], bool(clear[index]))
                owner.named_s = self._time_s
        self._forget()
        return np.array([owner.id for owner in owners if owner is not None], np.int64)

    def _pass_time(self, time_s: float, cut: bool) -> None:
        """Move all tracks on; after a cut no place is known."""
        if time_s > self._time_s > -np.inf:
            self._step_s = time_s - self._time_s
        self._time_s = time_s
        self._frames += 1
        for track in self._tracks:
            if cut:
                track.motion.known = False
            elif track.motion.known:
                track.motion.predict(self._step_s)

    def _near_cost(self, tracks: list[_Track], faces: Faces, cues: np.ndarray) -> np.ndarray:
        """Cost (T, N) from 0 to 1 of each pair by place and looks; infinite where it cannot be."""
        cost = np.full((len(tracks), len(faces)), np.inf)
        limits = self.limits
        for row, track in enumerate(tracks):
            away, alike = track.motion.distance(faces.box_xyxy_px), track.looks.alike(cues)
            can_be = (away < GATE) & (alike >= limits.differs)
            cost[row, can_be] = (away / GATE + (1 - alike) / (1 - limits.differs))[can_be] / 2
        return cost

    def _names(
        self, owners: list[_Track | None], image: np.ndarray, faces: Faces, clear: np.ndarray
    ) -> dict[int, np.ndarray]:
        """What the network says of the faces without a track, and now and then of the others."""
        if self.describe is None:
            return {}
        due = [
            index
            for index, owner in enumerate(owners)
            if owner is None
            or (clear[index] and abs(self._time_s - owner.named_s) >= self.limits.name_every_s)
        ]
        if not due:
            return {}
        return dict(zip(due, self.describe(image, faces.landmarks_xy_px[due]), strict=True))

    def _find_again(
        self, owners: list[_Track | None], cues: np.ndarray, names: dict[int, np.ndarray]
    ) -> None:
        """Give faces without a track the lost one that looks most like them, in place."""
        left = [index for index, owner in enumerate(owners) if owner is None]
        lost = [track for track in self._tracks if track not in owners]
        if not left or not lost:
            return
        if self.describe is None:
            alike, least = [track.looks.alike(cues[left]) for track in lost], self.limits.found_again
        else:
            asked = np.stack([names[index] for index in left])
            alike, least = [track.names.alike(asked) for track in lost], self.limits.found_again_by
        for row, column in assignment(1 - np.stack(alike), 1 - least):
            owners[left[column]] = lost[row]

    def _forget(self) -> None:
        """Keep memory constant: of too many tracks drop those not seen for longest."""
        self._tracks.sort(key=lambda track: track.seen, reverse=True)
        del self._tracks[self.limits.remembered :]


class _Track:
    """One face over time: where it is going, and how it has looked."""

    def __init__(self, number: int, looks: int) -> None:
        self.id = number
        self.motion = _Motion()
        self.looks, self.names = _Looks(looks), _Looks(looks)
        self.named_s = -np.inf
        self.seen = 0


class _Looks:
    """Unit vectors of one face: the last one, and earlier ones that differed from all that were known."""

    new_under = 0.9

    def __init__(self, count: int) -> None:
        self.known: deque[np.ndarray] = deque(maxlen=count)
        self.last: np.ndarray | None = None

    def alike(self, vectors: np.ndarray) -> np.ndarray:
        """The highest cosine with each of (N, D) vectors, (N,); -1 where nothing is known."""
        if self.last is None:
            return np.full(len(vectors), -1.0)
        return (np.stack([*self.known, self.last]) @ vectors.T).max(0)

    def learn(self, vector: np.ndarray, clear: bool) -> None:
        """Remember how it looks now; of a face that is not seen clearly only if nothing is known."""
        if self.last is not None and not clear:
            return
        if self.alike(vector[None])[0] < self.new_under:
            self.known.append(vector)
        self.last = vector


class _Motion:
    """Middle and logarithm of the side of a box, each with its speed.

    All three have one covariance, in sides of the box, since noise grows with the size of a face.
    """

    drift = 8.0
    """Spectral density of the acceleration, sides squared a second cubed: 2.8 sides a second of speed gained in 1 s."""
    noise = 0.06
    """Standard deviation of a found box, sides."""
    first_speed = 3.0
    """Standard deviation of the speed of a new face, sides a second."""
    lost = 1.2
    """Standard deviation of the place, sides, from which on it is not known any more."""

    def __init__(self) -> None:
        self.state = np.zeros((3, 2))
        self.spread_of = np.diag([np.inf, self.first_speed**2])
        self.known = False

    @property
    def spread(self) -> float:
        """Standard deviation of the place, sides."""
        return float(np.sqrt(self.spread_of[0, 0]))

    def predict(self, step_s: float) -> None:
        """Move on."""
        move = np.array([[1.0, step_s], [0.0, 1.0]])
        gained = np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]])
        self.state = self.state @ move.T
        self.spread_of = move @ self.spread_of @ move.T + self.drift * gained
        self.known = self.spread < self.lost

    def distance(self, boxes: np.ndarray) -> np.ndarray:
        """Squared distance of boxes (N, 4) from the predicted one, in standard deviations, (N,)."""
        away = (_measured(boxes) - self.state[:, 0]) / self._units()
        return (away**2).sum(1) / (self.spread_of[0, 0] + self.noise**2)

    def correct(self, box: np.ndarray) -> None:
        """Take a found box (4,) in; the first one after a place was not known begins anew."""
        found = _measured(box[None])[0]
        if not self.known:
            self.state = np.stack([found, np.zeros(3)], 1)
            self.spread_of = np.diag([self.noise**2, self.first_speed**2])
            self.known = True
            return
        gain = self.spread_of[:, 0] / (self.spread_of[0, 0] + self.noise**2)
        self.state = self.state + (found - self.state[:, 0])[:, None] * gain
        self.spread_of = self.spread_of - np.outer(gain, self.spread_of[0])

    def _units(self) -> np.ndarray:
        side = np.exp(self.state[2, 0])
        return np.array([side, side, 1.0])


def crop_cue(crops: np.ndarray) -> np.ndarray:
    """How aligned crops look, as unit vectors float32 (N, 768): brightness, and directions of edges, half each.

    Brightness is a grid of 16 x 16 cells without its mean. Edges are 8 directions in 8 x 8 cells, each cell of length
    1 (after Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005). It tells two people
    apart in one light; it does not know a person again in another photograph.

    Args:
        crops: RGB uint8 (N, S, S, 3), S at least 16.
    """
    if not len(crops):
        return np.zeros((0, 768), np.float32)
    grey = crops.astype(np.float32) @ np.array(LUMA, np.float32)
    tone = _cells(grey, 16)
    right, down = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    strength = np.sqrt(np.hypot(right, down))
    sector = np.floor(np.arctan2(down, right) / (np.pi / 4)).astype(int) % 8
    edges = np.stack([_cells(np.where(sector == side, strength, 0), 8) for side in range(8)], -1)
    edges /= np.linalg.norm(edges, axis=-1, keepdims=True) + 1e-6
    parts = tone - tone.mean((1, 2), keepdims=True), edges
    flat = [part.reshape(len(crops), -1) for part in parts]
    return np.hstack(
        [part / (np.linalg.norm(part, axis=1, keepdims=True) + 1e-6) for part in flat]
    ) / np.sqrt(2)


def _cells(pictures: np.ndarray, count: int) -> np.ndarray:
    """Means (N, count, count) over square cells of (N, H, W); what does not fill a cell at the end is left out."""
    side = pictures.shape[1] // count
    inside = pictures[:, : side * count, : side * count]
    return inside.reshape(len(pictures), count, side, count, side).mean((2, 4))


def _measured(boxes: np.ndarray) -> np.ndarray:
    """Middle x, y and logarithm of the side, (N, 3), of boxes (N, 4)."""
    boxes = np.asarray(boxes, float)
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    return np.column_stack([(boxes[:, :2] + boxes[:, 2:]) / 2, np.log(extent).mean(1)])


def _shared(boxes: np.ndarray) -> np.ndarray:
    """The largest overlap of each box with another of the frame, (N,)."""
    overlap = iou(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    return overlap.max(1, initial=0)
