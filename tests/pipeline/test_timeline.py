from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from mien.errors import MissingExtraError, OptionError
from mien.labels.expressions import EXPRESSIONS
from mien.pipeline.clips import read_clip
from mien.pipeline.overlay import COLOURS, UNRELIABLE
from mien.pipeline.plot_events import GAP, MOST_LANES, TIP, apart, in_lanes
from mien.pipeline.plot_page import DPI, LEFT, ROOM, clock, colours_of, fitted, inches, length
from mien.pipeline.strips import (
    blinks_a_minute,
    doubtful,
    holds_s,
    shares_of,
    span_s,
    strip_of,
)
from mien.pipeline.thumbnails import SIDE_PX, cut_thumbnails
from mien.pipeline.timeline import PlotWriter, draw_summary, draw_track, left_out, shown
from mien.types.track import Baseline, Event
from mien.types.units import ActionUnits

pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'mien[plot]'")
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")

HAPPY = Event("happy", 2.0, 3.0, 4.0, 0.93, 75, False, False)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def column(picture: np.ndarray, course, time_s: float) -> np.ndarray:
    """The pixels (H, 3) over a time."""
    start_s, end_s = span_s(course)
    return picture[:, round((LEFT + ROOM * (time_s - start_s) / (end_s - start_s)) * DPI)]


def count(line: np.ndarray, colour: str) -> int:
    return int((np.abs(line - ImageColor.getrgb(colour)).max(-1) <= 2).sum())


def test_an_event_has_its_colour_at_its_time_and_nowhere_else(track_of, course_of) -> None:
    """The probabilities are all neutral, so that the colour of happy comes from the event's bar alone."""
    course = course_of(track_of(["neutral"] * 250, events=[HAPPY]))
    picture = pixels(draw_track(course, course.tracks[0]))
    for time_s in (2.05, 2.5, 3.9):
        assert count(column(picture, course, time_s), COLOURS["happy"]) > 25, time_s
    for time_s in (1.9, 4.1, 8.0):
        assert count(column(picture, course, time_s), COLOURS["happy"]) < 6, time_s  # its 1 % of the area


def test_an_area_is_as_high_as_its_probability(track_of, course_of) -> None:
    track = track_of(["neutral"] * 125 + ["sad"] * 125, probability=0.75)
    picture = pixels(draw_track(course_of(track), track))
    early, late = (
        [count(column(picture, course_of(track), time_s), COLOURS[name]) for name in ("neutral", "sad")]
        for time_s in (2.05, 7.05)
    )
    assert early[0] == pytest.approx(0.75 * 1.9 * DPI, abs=6)
    assert late[1] == pytest.approx(0.75 * 1.9 * DPI, abs=6)
    assert early[1] < 0.05 * 1.9 * DPI


def test_a_gap_is_empty_and_a_poor_face_is_grey(track_of, course_of) -> None:
    whole = track_of(["happy"] * 250)
    kept = np.r_[0:50, 150:250]
    track = replace(
        whole,
        **{
            name: getattr(whole, name)[kept]
            for name in ("frame", "time_s", "box_xyxy_px", "raw", "smoothed", "uncertain", "reliable")
        },
    )
    track.reliable[100:] = False
    course = course_of(track)
    for picture in (pixels(draw_track(course, track)), pixels(draw_summary(course))):
        lines = {time_s: column(picture, course, time_s) for time_s in (1.05, 4.05, 7.05, 9.05)}
        happy = {time_s: count(line, COLOURS["happy"]) for time_s, line in lines.items()}
        grey = {time_s: count(line, UNRELIABLE) for time_s, line in lines.items()}
        assert happy[1.05] > 50 and happy[7.05] > 50 and happy[4.05] == happy[9.05] == 0
        assert grey[9.05] > 12 and max(grey[1.05], grey[4.05], grey[7.05]) < 3


def test_an_answer_that_is_not_certain_is_pale(track_of, course_of) -> None:
    track = track_of(["sad"] * 250)
    track.uncertain[125:] = True
    course = course_of(track)
    summary, page = pixels(draw_summary(course)), pixels(draw_track(course, track))
    for picture in (summary, page):
        assert count(column(picture, course, 2.05), COLOURS["sad"]) > 40
        assert count(column(picture, course, 8.05), COLOURS["sad"]) == 0
    pale = "#99c7e0"
    assert count(column(summary, course, 8.05), pale) > 20
    assert count(column(summary, course, 2.05), pale) == 0


def test_each_track_has_its_row(track_of, course_of) -> None:
    course = course_of(track_of(["happy"] * 250), track_of(["angry"] * 100, 3, first=150))
    picture = pixels(draw_summary(course))
    line = column(picture, course, 8.05)
    rows = {
        name: np.flatnonzero(np.abs(line - ImageColor.getrgb(COLOURS[name])).max(1) <= 2)
        for name in ("happy", "angry")
    }
    assert len(rows["happy"]) == pytest.approx(0.3 * DPI, abs=3) == len(rows["angry"])
    assert rows["happy"].max() < rows["angry"].min()
    assert count(column(picture, course, 3.05), COLOURS["angry"]) == 0


def test_blinks_speech_and_a_mesh_that_was_not_read(track_of, course_of) -> None:
    blink, talking = np.zeros(250, bool), np.zeros(250, bool)
    blink[50:54] = blink[60:64] = True
    talking[100:150] = True
    values = np.ones((250, 1), np.float32)
    values[200:] = np.nan
    units = ActionUnits((12,), values, "intensity", "mesh")
    track = track_of(["neutral"] * 250, blink=blink, talking=talking, units=units)
    plain = track_of(["neutral"] * 250)
    course = course_of(track)
    picture, without = pixels(draw_track(course, track)), pixels(draw_track(course, plain))
    assert len(picture) > len(without)
    dark = [int((column(picture, course, time_s).max(1) < 60).sum()) for time_s in (2.08, 3.0)]
    assert dark[0] - dark[1] > 20
    said = [count(column(picture, course, time_s), "#666666") for time_s in (5.05, 7.05)]
    assert said[0] - said[1] > 20
    missing = [count(column(picture, course, time_s), "#e2e2e2") for time_s in (9.05, 7.05)]
    assert missing[0] - missing[1] > 40


def test_no_mesh_is_not_said_of_a_time_out_of_sight(track_of, course_of) -> None:
    frame = np.r_[0:50, 150:200]
    units = ActionUnits((12,), np.full((100, 1), np.nan, np.float32), "intensity", "mesh")
    off = np.zeros(100, bool)
    track = track_of(["neutral"] * 100, frame=frame, time_s=frame / 25, blink=off, talking=off, units=units)
    course = course_of(track)
    picture = pixels(draw_track(course, track))
    said = {time_s: count(column(picture, course, time_s), "#e2e2e2") for time_s in (1.05, 4.05, 7.05)}
    assert min(said[1.05], said[7.05]) > 50 and said[4.05] < 5


def test_a_baseline_is_said(track_of, course_of) -> None:
    track = track_of(["neutral"] * 250)
    rest = Baseline(EXPRESSIONS, np.full(8, 1 / 8), 100, "auto")
    moved = replace(track, baseline=rest, baseline_note="auto: its calmest fifth, 100 frames")
    pictures = [pixels(draw_track(course_of(one), one)) for one in (track, moved)]
    assert len(pictures[1]) > len(pictures[0])
    titles = [(picture[30:70].min(2) < 100).any(0).nonzero()[0].max() for picture in pictures]
    assert titles[1] > titles[0] + DPI


@pytest.mark.parametrize("frames", [0, 1, 2, 54_000])
def test_from_no_frame_to_very_many(frames: int, track_of, course_of) -> None:
    labels = (["neutral", "happy"] * ((frames + 1) // 2))[:frames]
    course = course_of(*([track_of(labels)] if frames else []), frames=frames)
    pictures = [draw_summary(course), *(draw_track(course, track) for track in course.tracks)]
    for png in pictures:
        assert pixels(png).shape[1] == 10 * DPI


def test_what_is_not_told_is_not_drawn(track_of, course_of) -> None:
    track = track_of(["happy"] * 250)
    track.raw[100:] = track.smoothed[100:] = np.nan
    course = course_of(track)
    picture = pixels(draw_track(course, track))
    assert count(column(picture, course, 2.05), COLOURS["happy"]) > 300
    assert count(column(picture, course, 8.05), COLOURS["happy"]) == 0
    assert doubtful(course, track)[100:].all()


def test_names_of_files_are_written_as_they_are_and_fit(track_of, course_of) -> None:
    """`$` begins no formula, and a letter that the font lacks is no warning."""
    for name in ("a$x_1$b$.mp4", "名前\n.mp4", "long_" * 60 + ".mp4", "\udcff.mp4"):
        course = course_of(track_of(["neutral"] * 250), path=f"gone/{name}", trouble="\\frac{ $")
        pictures = [draw_summary(course)]
        if "long" in name:
            pictures.append(draw_track(course, course.tracks[0]))
        for png in pictures:
            assert (pixels(png)[:, -20:] == 255).all(), "something runs over the right border"
    text = fitted("long_" * 60, 3.0)
    assert inches(text) <= 3.0 and text.startswith("long") and text.endswith("long_") and "…" in text


def test_of_many_tracks_the_longest_are_shown_and_the_others_counted(track_of, course_of) -> None:
    course = course_of(*(track_of(["neutral"] * (20 + 5 * number), number) for number in range(15)))
    assert [track.id for track in shown(course)] == list(range(3, 15))
    assert left_out(course) == "3 more left out, in sight for 1.20 s at most"
    assert left_out(course_of(*course.tracks[:12])) == ""


@pytest.mark.parametrize(
    ("time_s", "step_s", "text"),
    [
        (0, 1, "0:00"),
        (59.6, 1, "1:00"),
        (75, 1, "1:15"),
        (3725, 1, "1:02:05"),
        (59.96, 0.1, "1:00.0"),
        (7.5, 0.1, "0:07.5"),
        (7.25, 0.05, "0:07.25"),
        (0.04, 0.01, "0:00.04"),
    ],
)
def test_times_are_written_in_minutes_and_seconds(time_s: float, step_s: float, text: str) -> None:
    assert clock(time_s, step_s) == text


def test_lengths_are_written_as_they_are_read() -> None:
    assert [length(time_s) for time_s in (0.08, 19.68, 1544.2)] == ["0.08 s", "19.7 s", "25:44 min"]


@pytest.mark.parametrize(("count_of", "length_s"), [(3, 20.0), (25, 60.0), (300, 600.0)])
def test_no_label_lies_over_a_bar_or_another_label(count_of: int, length_s: float) -> None:
    random = np.random.default_rng(0)
    starts = np.sort(random.uniform(0, length_s - 6, count_of))
    events = [
        Event(str(random.choice(EXPRESSIONS[1:])), start, start + 0.1, start + random.uniform(0.2, 6), 0.9, 0,
              bool(random.random() < 0.2), bool(random.random() < 0.2))
        for start in starts.tolist()
    ]  # fmt: skip
    inch = length_s / ROOM
    placed = in_lanes(events, (0.0, length_s))
    assert [event for event, _, _ in placed] == events
    assert max(lane for _, lane, _ in placed) < MOST_LANES
    assert any(label is not None for _, _, label in placed)
    for place, (_, lane, label) in enumerate(placed):
        if label is None:
            continue
        assert label[0] >= 0 and label[1] <= length_s
        for other, (bar, other_lane, other_label) in enumerate(placed):
            if other_lane != lane or other == place:
                continue
            before, after = (TIP if cut else GAP for cut in (bar.cut_before, bar.cut_after))
            assert (
                label[1] <= bar.onset_s - (before - GAP) * inch
                or label[0] >= bar.offset_s + (after - GAP) * inch
            )
            assert other_label is None or label[1] <= other_label[0] or label[0] >= other_label[1]


def test_faces_stand_side_by_side_near_their_times() -> None:
    places = apart([0.0, 4.9, 5.0, 5.1, 10.0], 0.0, 10.0, 1.0)
    assert places[0] == 0.5 and places[-1] == 9.5
    assert (np.diff(places) >= 1 - 1e-9).all()


def test_classes_of_ones_own_have_colours_that_can_be_told_apart() -> None:
    colours = colours_of(("bored", "happy", "asleep"))
    assert colours["happy"] == COLOURS["happy"]
    assert len(set(colours.values())) == 3 and "#ffffff" not in colours.values()


def test_columns_are_means_over_the_time_that_frames_hold(track_of, course_of) -> None:
    """Against sums over thousandths of a second."""
    random = np.random.default_rng(1)
    frame = np.sort(random.choice(250, 120, replace=False))
    track = track_of(
        ["neutral"] * 120, frame=frame, time_s=frame / 25.0, smoothed=random.dirichlet(np.ones(8), 120)
    )
    track.reliable[30:60] = False
    track.smoothed[70:75] = np.nan
    course = course_of(track)
    strip = strip_of(course, track, 20)
    assert strip.edges_s[0] == 0 and strip.edges_s[-1] == pytest.approx(10)
    since, until = holds_s(course, track)
    assert (until - since).max() < 0.0401, "a face that is away is not seen"
    fine_s = np.arange(0.0005, 10, 0.001)
    row = np.searchsorted(since, fine_s, side="right") - 1
    held = (row >= 0) & (fine_s < until[row])
    for place in range(20):
        rows = row[held & (fine_s >= strip.edges_s[place]) & (fine_s < strip.edges_s[place + 1])]
        assert strip.seen[place] == bool(len(rows))
        if len(rows):
            assert strip.smoothed[place] == pytest.approx(np.nanmean(track.smoothed[rows], 0), abs=0.01)
            assert strip.poor[place] == ((~track.reliable[rows]).mean() >= 0.5)


def test_frames_far_apart_are_no_gap(track_of, course_of) -> None:
    """Neither in a clip whose own frames come at odd times, nor where one frame in a second was asked for."""
    odd_s = np.array([0.0, 0.04, 0.05, 0.21, 0.5, 1.5, 1.54])
    track = track_of(["happy"] * 7, time_s=odd_s)
    course = replace(course_of(track, frames=7), end_s=1.54)
    assert np.array_equal(holds_s(course, track)[1][:-1], odd_s[1:])
    sparse = track_of(["happy"] * 10, frame=np.arange(10) * 25, time_s=np.arange(10.0))
    course = replace(course_of(sparse, frames=10), end_s=9.0)
    assert shares_of(course, sparse).seen_s == pytest.approx(10)


def test_shares_are_of_the_time_that_can_be_judged(track_of, course_of) -> None:
    track = track_of(["happy"] * 60 + ["neutral"] * 40 + ["sad"] * 100 + ["angry"] * 50)
    track.reliable[100:200] = False
    track.smoothed[200:] = 1 / 8
    shares = shares_of(course_of(track), track)
    assert shares.seen_s == pytest.approx(10)
    assert (shares.poor_s, shares.uncertain_s) == pytest.approx((4, 2))
    assert shares.expression_s["happy"] == pytest.approx(2.4) and shares.expression_s["sad"] == 0
    assert shares.certain_s == pytest.approx(4)


def test_lasting_doubt_counts_and_a_flicker_does_not(track_of, course_of) -> None:
    track = track_of(["happy"] * 250)
    track.uncertain[40:42] = True
    track.uncertain[100:200] = True
    vague = doubtful(course_of(track), track)
    assert not vague[:80].any() and vague[110:190].all() and not vague[220:].any()


def test_blinks_a_minute_want_time_and_frames(track_of, course_of) -> None:
    blink = np.zeros(500, bool)
    blink[[20, 21, 22, 200, 201, 480]] = True
    units = ActionUnits((12,), np.ones((500, 1), np.float32), "intensity", "mesh")
    track = track_of(["neutral"] * 500, blink=blink, units=units)
    course = course_of(track, frames=500)
    assert blinks_a_minute(course, track) == pytest.approx(9.0)
    assert blinks_a_minute(course, replace(track, blink=None)) is None
    untold = replace(units, values=np.where(np.arange(500)[:, None] < 300, np.nan, 1).astype(np.float32))
    assert blinks_a_minute(course, replace(track, units=untold)) is None
    sparse = replace(track, time_s=track.time_s * 10, frame=track.frame * 10)
    assert blinks_a_minute(replace(course, end_s=course.end_s * 10), sparse) is None


def test_thumbnails_are_the_faces_of_their_frames(
    tmp_path: Path, moving, make_clip, track_of, course_of
) -> None:
    path = make_clip(tmp_path / "a.mp4", moving(30))
    boxes = np.array([[60 + 2 * index, 60, 140 + 2 * index, 160] for index in range(30)], np.float32)
    event = replace(HAPPY, onset_s=0.4, apex_s=0.8, offset_s=1.0, apex_row=20)
    track = track_of(["happy"] * 30, box_xyxy_px=boxes, events=[event])
    course = course_of(track, frames=30, path=str(path))
    cuts = cut_thumbnails(course, course.tracks)
    assert list(cuts) == [(0, 20)] and cuts[0, 20].shape == (SIDE_PX, SIDE_PX, 3)
    image = [frame.image for frame in read_clip(path)][20]
    wanted = Image.fromarray(image[45:175, 75:205]).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(wanted).astype(int) - cuts[0, 20]).mean() < 3
    with_face, without = pixels(draw_track(course, track, cuts)), pixels(draw_track(course, track))
    assert len(with_face) > len(without) + 0.6 * DPI


def test_a_frame_that_is_another_by_now_gives_no_thumbnail(
    tmp_path: Path, moving, make_clip, track_of, course_of
) -> None:
    path = make_clip(tmp_path / "a.mp4", moving(10))
    other = track_of(["happy"] * 10, time_s=np.arange(10) / 10.0)
    assert not cut_thumbnails(course_of(other, frames=10, path=str(path)), [other])
    gone = track_of(["happy"] * 10)
    assert not cut_thumbnails(course_of(gone, frames=10, path=str(tmp_path / "gone.mp4")), [gone])


def test_two_clips_of_one_name_are_both_kept(tmp_path: Path, track_of, course_of) -> None:
    plots = PlotWriter(tmp_path / "new" / "plots")
    for folder in ("a", "b"):
        plots(course_of(track_of(["happy"] * 10, 4), frames=10, path=f"{folder}/x.mp4"))
    names = sorted(path.name for path in plots.folder.iterdir())
    assert names == ["x_mp4.png", "x_mp4_2.png", "x_mp4_2_track4.png", "x_mp4_track4.png"]


def test_a_long_name_of_a_clip_can_be_written(tmp_path: Path, track_of, course_of) -> None:
    PlotWriter(tmp_path)(course_of(track_of(["happy"] * 10), frames=10, path="é" * 124 + ".mp4"))
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_wrong_is_said_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="expected a folder"):
        PlotWriter(tmp_path / "file")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"mien\[plot\]"):
        PlotWriter(tmp_path)
