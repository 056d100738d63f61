from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError, OptionError
from mien.pipeline.baseline import rest_of
from mien.pipeline.course import AUTO_LEAST_S, CourseBuilder, baseline_wish, held_back, live_in_time
from mien.pipeline.smoothing import smoothed
from mien.types.faces import Faces, Quality
from mien.types.media import FrameResult
from mien.types.scores import Scores
from mien.types.track import Course

NAMES = ("neutral", "happy", "sad")
THRESHOLD = 0.6


def frame(
    number: int, time_s: float, people: dict[int, list[float]], poor: frozenset[int] = frozenset()
) -> FrameResult:
    """A frame in which each person shows some probabilities."""
    count = len(people)
    values = np.array(list(people.values()), np.float32).reshape(count, len(NAMES))
    scores = Scores(NAMES, values)
    ones = np.ones(count, np.float32)
    faces = Faces(
        np.tile(np.array([0, 0, 50, 50], np.float32), (count, 1)),
        ones,
        np.zeros((count, 5, 2), np.float32),
        expression=scores,
        uncertain=scores.confidence < THRESHOLD,
        quality=Quality(
            ones, ones, ones, ones, ones, tuple("blurred" if one in poor else "" for one in people)
        ),
        track_id=np.array(list(people), np.int64),
    )
    return FrameResult("clip.mp4", number, time_s, faces, (64, 48))


def smile(time_s: float) -> list[float]:
    """Neutral, happy from 2 to 4 s."""
    return [0.1, 0.85, 0.05] if 2 <= time_s < 4 else [0.8, 0.1, 0.1]


def clip(seconds: float = 6.0, rate: float = 25.0) -> list[FrameResult]:
    """Person 3 is there all the time, person 1 in every second frame."""
    results = []
    for number in range(int(seconds * rate)):
        people = {1: [0.2, 0.1, 0.7]} if number % 2 else {}
        results.append(frame(number, number / rate, {**people, 3: smile(number / rate)}))
    return results


def through(results: list[FrameResult], **options) -> tuple[list[FrameResult], Course]:
    courses: list[Course] = []
    found = list(held_back(iter(results), CourseBuilder(THRESHOLD, **options), courses.append))
    return found, courses[0]


def test_each_frame_gets_its_own_row_of_its_own_track() -> None:
    results = clip()
    found, course = through(results)
    assert [track.id for track in course.tracks] == [1, 3] and course.frames == len(results) == len(found)
    times = np.arange(150) / 25
    alone = smoothed(np.array([smile(time_s) for time_s in times], np.float32), times)
    seen = np.array([result.faces.in_time.smoothed[-1] for result in found])
    np.testing.assert_allclose(seen, alone)
    for before, after in zip(results, found, strict=True):
        assert after.faces.expression is not None and before.faces.expression is not None
        np.testing.assert_array_equal(after.faces.expression.values, before.faces.expression.values)
        assert after.faces.in_time.names[after.faces.in_time.smoothed[-1].argmax()] in ("neutral", "happy")
        if len(after.faces) == 2:
            assert after.faces.in_time.smoothed[0].argmax() == 2
    (event,) = course.tracks[1].events
    assert event.label == "happy" and event.onset_s == pytest.approx(2, abs=0.08)
    assert event.offset_s == pytest.approx(4, abs=0.08) and event.intensity is None
    going = [result.frame for result in found if result.faces.in_time.event[-1] == "happy"]
    assert going == list(range(going[0], going[-1] + 1)) and 48 <= going[0] <= 51


def test_a_poor_face_is_no_witness_and_an_unsure_one_stays_so() -> None:
    results = [
        frame(n, n / 25, {0: [0.02, 0.02, 0.96] if 50 <= n < 75 else [0.9, 0.05, 0.05]}) for n in range(100)
    ]
    poor = [
        frame(n, n / 25, {0: [0.02, 0.02, 0.96]}, frozenset([0])) if 50 <= n < 75 else result
        for n, result in enumerate(results)
    ]
    heard, course = through(results)
    ignored, _ = through(poor)
    assert heard[62].faces.in_time.smoothed[0].argmax() == 2
    assert ignored[62].faces.in_time.smoothed[0].argmax() == 0
    assert not course.tracks[0].uncertain.any()
    doubtful, _ = through([frame(n, n / 25, {0: [0.34, 0.33, 0.33]}) for n in range(50)])
    assert all(result.faces.in_time.uncertain[0] for result in doubtful)


def test_what_breaks_a_clip_off_comes_after_its_rows() -> None:
    def broken(error: BaseException) -> Iterator[FrameResult]:
        yield from clip(2)
        raise error

    for error in (InputError("expected a whole clip, got half"), KeyboardInterrupt()):
        courses: list[Course] = []
        results = held_back(broken(error), CourseBuilder(THRESHOLD), courses.append)
        assert sum(1 for _ in (next(results) for _ in range(50))) == 50
        with pytest.raises(type(error)):
            next(results)
        assert courses[0].trouble == (str(error) or "stopped")


def test_an_event_does_not_go_on_while_the_face_is_away() -> None:
    happy = [0.05, 0.9, 0.05]
    away = [frame(n, n / 25 + (10 if n >= 50 else 0), {0: happy}) for n in range(100)]
    _, course = through(away)
    first, second = course.tracks[0].events
    assert first.offset_s == pytest.approx(49 / 25) and second.onset_s == pytest.approx(12)
    assert first.cut_before and first.cut_after and second.cut_before


def test_times_that_go_back_and_a_track_of_two_frames_are_no_trouble() -> None:
    results = clip(1)
    results[10] = replace(results[10], time_s=0.1)
    found, _ = through(results)
    assert found[10].time_s == 0.1 and np.isfinite(found[10].faces.in_time.smoothed).all()
    short, course = through([frame(n, n / 25, {0: smile(0)}) for n in range(2)], baseline="auto")
    assert len(short) == 2 and course.tracks[0].baseline is None
    assert short[0].faces.in_time.baseline == (f"none: in sight for 0.08 s, {AUTO_LEAST_S:g} s wanted",)
    assert np.isnan(short[0].faces.in_time.relative).all()


def test_a_rest_in_a_stretch_of_the_clip_is_each_persons_own() -> None:
    sad_at_rest = [0.3, 0.05, 0.65]
    results = [frame(n, n / 25, {0: sad_at_rest, 1: smile(n / 25)}) for n in range(150)]
    found, course = through(results, baseline=(0.0, 1.0))
    assert course.tracks[0].baseline_note == "0 to 1 s, 25 frames"
    shares = found[100].faces.in_time
    assert shares.relative[0].argmax() == 0 and results[100].faces.expression.values[0].argmax() == 2
    np.testing.assert_allclose(shares.relative[1], results[100].faces.expression.values[1], atol=1e-6)
    _, nothing = through(results, baseline=(50.0, 60.0))
    assert nothing.tracks[0].relative is None
    assert nothing.tracks[0].baseline_note.startswith("none: no frame that can be relied on")


def test_a_live_source_is_smoothed_by_what_was_before() -> None:
    results = clip()
    found = list(live_in_time(iter(results), THRESHOLD, None, None))
    times = np.arange(150) / 25
    alone = smoothed(np.array([smile(time_s) for time_s in times], np.float32), times, causal=True)
    np.testing.assert_allclose([result.faces.in_time.smoothed[-1] for result in found], alone)
    rest = rest_of(np.array([[0.3, 0.05, 0.65]]), NAMES, origin="rest.png")
    (moved,) = live_in_time(iter(results[1:2]), THRESHOLD, rest, None)
    assert moved.faces.in_time.baseline == ("rest.png", "rest.png")
    for wish, observer in (("auto", None), ((0.0, 1.0), None), (None, lambda course: None)):
        with pytest.raises(OptionError, match="Record it"):
            next(live_in_time(iter(results), THRESHOLD, wish, observer))


def test_a_picture_can_have_the_rest_of_a_file() -> None:
    rest = rest_of(np.array([[0.3, 0.05, 0.65]]), NAMES, origin="rest.png")
    picture = replace(frame(0, 0, {0: [0.3, 0.05, 0.65]}), time_s=None)
    (found,) = held_back(iter([picture]), CourseBuilder(THRESHOLD, rest), None)
    assert found.faces.in_time.relative[0].argmax() == 0 and np.isnan(found.faces.in_time.smoothed).all()
    (same,) = held_back(iter([picture]), CourseBuilder(THRESHOLD), None)
    assert same.faces.in_time is None


def test_wishes_as_people_write_them(tmp_path: Path) -> None:
    assert baseline_wish("auto") == "auto"
    assert baseline_wish("0-5.5") == (0.0, 5.5) and baseline_wish("1:00-1:05") == (60.0, 65.0)
    rest = tmp_path / "3-4"
    rest.write_bytes(b"x")
    assert baseline_wish(str(rest)) == rest
    for wrong in ("5-2", "nowhere.png", "1.2.3-4", ":-5", "..-9"):
        with pytest.raises(OptionError, match="expected"):
            baseline_wish(wrong)
