"""Ids over made scenes whose people are known: boxes that move, and crops of textures that stand for looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mien.pipeline.cuts import CutFinder
from mien.pipeline.tracking import Tracker, TrackLimits, crop_cue
from mien.types.faces import Faces

SIDE = 40.0


def looks(person: int, seed: int) -> np.ndarray:
    """An aligned crop of somebody: a texture of their own, in changing light and with noise."""
    own = np.random.default_rng(1000 + person).uniform(30, 220, (8, 8, 3)).repeat(8, 0).repeat(8, 1)
    random = np.random.default_rng(seed)
    return np.clip(own * random.uniform(0.9, 1.1) + random.normal(0, 6, own.shape), 0, 255).astype(np.uint8)


def faces_at(places: Sequence[tuple[float, float]], side: float = SIDE) -> Faces:
    centres = np.array(places, np.float32).reshape(-1, 2)
    boxes = np.concatenate([centres - side / 2, centres + side / 2], 1)
    points = np.repeat(centres[:, None], 5, 1) + np.arange(10).reshape(5, 2)
    return Faces(boxes, np.ones(len(boxes), np.float32), points.astype(np.float32))


def scene(seed: int = 0) -> np.ndarray:
    """A picture with a place of its own, the same for one seed."""
    random = np.random.default_rng(seed)
    return random.integers(0, 255, (9, 16, 3), np.uint8).repeat(20, 0).repeat(20, 1)


Frame = Sequence[tuple[int, tuple[float, float]]]
"""Who is where."""


class Clip:
    """Feeds frames to a tracker and notes which id each person got."""

    def __init__(self, tracker: Tracker | None = None, rate: float = 25.0) -> None:
        self.tracker, self.rate, self.count = tracker or Tracker(), rate, 0
        self.given: dict[int, list[int]] = {}

    def show(self, frame: Frame, shot: int = 0, time_s: float | None = None) -> list[int]:
        crops = (
            np.stack([looks(person, self.count) for person, _ in frame])
            if frame
            else np.zeros((0, 64, 64, 3), np.uint8)
        )
        when = self.count / self.rate if time_s is None else time_s
        self.count += 1
        ids = self.tracker.update(scene(shot), faces_at([place for _, place in frame]), crops, when).tolist()
        for (person, _), number in zip(frame, ids, strict=True):
            self.given.setdefault(person, []).append(number)
        return ids

    def ids(self) -> dict[int, set[int]]:
        return {person: set(numbers) for person, numbers in self.given.items()}


def test_ids_count_from_0_in_order_of_appearance() -> None:
    clip = Clip()
    assert clip.show([]) == []
    assert clip.show([(5, (50, 50)), (6, (150, 50))]) == [0, 1]
    assert clip.show([(6, (150, 50)), (5, (50, 50)), (7, (100, 120))]) == [1, 0, 2]


def test_two_who_cross_keep_their_ids() -> None:
    clip = Clip()
    for step in range(60):
        first, second = (20 + 4 * step, 60.0), (256 - 4 * step, 66.0)
        # While they overlap only the one in front is found.
        hidden = abs(first[0] - second[0]) < 0.6 * SIDE
        clip.show([(1, first)] if hidden else [(1, first), (2, second)])
    assert clip.ids() == {1: {0}, 2: {1}}


def test_a_face_behind_something_is_found_again() -> None:
    clip = Clip()
    for step in range(60):
        clip.show([] if 20 <= step < 35 else [(1, (20 + 4 * step, 60))])
    assert clip.ids() == {1: {0}}


def test_somebody_who_looks_too_different_does_not_take_a_track_over() -> None:
    clip = Clip(Tracker(limits=TrackLimits(differs=0.5)))
    for step in range(40):
        clip.show([(1 if step < 20 else 2, (100, 60))])
    assert clip.ids() == {1: {0}, 2: {1}}


def test_who_comes_back_elsewhere_after_long_is_known_again() -> None:
    clip = Clip()
    for step in range(10):
        clip.show([(1, (30 + step, 60)), (2, (200, 60))])
    for _ in range(100):
        clip.show([(2, (200, 60))])
    assert clip.show([(2, (200, 60)), (1, (250, 130)), (3, (60, 130))]) == [1, 0, 2]


def test_after_a_cut_looks_alone_decide() -> None:
    clip = Clip()
    for _ in range(10):
        clip.show([(1, (60, 60)), (2, (200, 60))], shot=0)
    for _ in range(10):
        clip.show([(2, (60, 60)), (3, (200, 60))], shot=1)
    for _ in range(10):
        clip.show([(1, (62, 60)), (2, (200, 60))], shot=0)
    assert clip.ids() == {1: {0}, 2: {1}, 3: {2}}


def test_a_changing_look_is_followed_where_the_place_is_sure() -> None:
    """A head that turns: after 30 steps the crop is another one, but each step is small."""
    tracker, ids = Tracker(), []
    for step in range(30):
        mixed = (looks(1, 0) * (1 - step / 29) + looks(2, 0) * (step / 29)).astype(np.uint8)
        ids += tracker.update(scene(), faces_at([(100, 60)]), mixed[None], step / 25).tolist()
    assert set(ids) == {0}


def test_uneven_and_standing_times() -> None:
    random = np.random.default_rng(0)
    clip, time_s = Clip(), 0.0
    for step in range(60):
        moved = float(random.uniform(0.004, 0.15))
        time_s += moved
        clip.show(
            [(1, (20 + 60 * time_s, 60)), (2, (300 - 60 * time_s, 120))],
            time_s=time_s if step % 9 else time_s - 1,
        )
    assert clip.ids() == {1: {0}, 2: {1}}


def test_a_track_of_two_frames_and_an_empty_clip() -> None:
    clip = Clip()
    for step in range(10):
        clip.show([(1, (60, 60))] if step in (4, 5) else [])
    assert clip.given == {1: [0, 0]}


def test_ids_do_not_depend_on_what_comes_later() -> None:
    short, long = Clip(), Clip()
    frames = [[(1, (20 + 4 * step, 60)), (2, (200 - 4 * step, 60))] for step in range(40)]
    first = [short.show(frame) for frame in frames[:25]]
    assert [long.show(frame) for frame in frames][:25] == first


def test_memory_has_an_end() -> None:
    clip = Clip(Tracker(limits=TrackLimits(remembered=5)))
    places = [(60 + 200 * person, 60) for person in range(40)]
    for person in range(40):
        assert clip.show([(person, places[person])]) == [person]
        assert len(clip.tracker._tracks) <= 5
    assert clip.show([(36, places[0])]) == [36], "remembered"
    assert clip.show([(3, places[0])]) == [40], "forgotten"


class Names:
    """A network that knows people by where they stand in a list, whatever they look like."""

    def __init__(self) -> None:
        self.people: list[int] = []
        self.asked = 0

    def __call__(self, image: np.ndarray, landmarks_xy_px: np.ndarray) -> np.ndarray:
        self.asked += len(landmarks_xy_px)
        return np.eye(8, dtype=np.float32)[[self.people[0]] * len(landmarks_xy_px)]


def test_a_network_knows_people_again_whose_looks_changed_and_is_asked_seldom() -> None:
    names = Names()
    tracker, ids = Tracker(names), []
    for step in range(100):
        names.people = [3]
        dressed = 1 if step < 50 else 2  # other light, other pose: the crop is another one after the cut
        ids += tracker.update(
            scene(dressed), faces_at([(100, 60)]), looks(dressed, step)[None], step / 25
        ).tolist()
    assert set(ids) == {0}
    assert names.asked < 10
    names.people = [4]
    assert tracker.update(scene(9), faces_at([(100, 60)]), looks(2, 0)[None], 4.0).tolist() == [1]


def test_cues_of_one_are_alike_and_of_two_are_not() -> None:
    cues = crop_cue(np.stack([looks(1, 0), looks(1, 1), looks(2, 2)]))
    assert cues.shape == (3, 768)
    assert np.linalg.norm(cues, axis=1) == pytest.approx(np.ones(3), abs=1e-3)
    assert cues[0] @ cues[1] > TrackLimits().found_again
    assert cues[0] @ cues[2] < TrackLimits().found_again
    assert crop_cue(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 768)
    assert np.isfinite(crop_cue(np.full((1, 64, 64, 3), 7, np.uint8))).all()


def test_cuts_are_seen_and_flashes_pans_and_crossers_are_none() -> None:
    finder = CutFinder()
    still = scene(0)
    assert not finder(still)
    for shift in range(1, 12):
        assert not finder(np.roll(still, 4 * shift, axis=1)), "a pan"
    assert not finder(np.clip(np.roll(still, 44, axis=1) * 1.6 + 20, 0, 255).astype(np.uint8)), "a flash"
    crossed = np.roll(still, 44, axis=1).copy()
    crossed[40:160, 100:150] = 250
    assert not finder(crossed), "somebody crosses"
    assert finder(scene(1)), "a cut"
    assert not finder(scene(1))


def test_black_frames_and_tiny_ones() -> None:
    finder = CutFinder()
    black = np.zeros((90, 160, 3), np.uint8)
    assert [finder(frame) for frame in (black, black, scene(1), black)] == [False, False, True, True]
    assert not CutFinder()(np.zeros((1, 1, 3), np.uint8))


def test_frames_far_apart_are_not_each_a_cut() -> None:
    """One frame in some seconds: each differs, and that is usual there."""
    finder = CutFinder()
    found = [finder(scene(shot)) for shot in range(30)]
    assert found[1]
    assert not any(found[15:])
