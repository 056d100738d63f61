from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from mien.labels.expressions import EXPRESSIONS
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.confidence import decimals, percent
from mien.pipeline.overlay import COLOURS, UNRELIABLE, OverlayWriter, _free_place, _overlap, draw
from mien.pipeline.running import GROUND, LOST_S, POOR, ROWS, SURE, UNSURE, RunningBand
from mien.types.faces import Faces, Quality
from mien.types.media import FrameResult
from mien.types.scores import Scores


def test_every_class_has_its_own_colour() -> None:
    assert set(COLOURS) == set(EXPRESSIONS)
    assert len(set(COLOURS.values())) == len(EXPRESSIONS)


def test_grey_is_for_faces_too_poor_to_judge_alone() -> None:
    for name, colour in COLOURS.items():
        channels = ImageColor.getrgb(colour)
        assert max(channels) - min(channels) > 60, name


def test_an_answer_is_never_written_as_certain(
    analyzer: Analyzer, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [percent(share) for share in (0.5, 0.99, 0.9956, 1.0)] == ["50%", "99%", ">99%", ">99%"]
    assert [decimals(share) for share in (0.5, 0.99, 0.9956, 1.0)] == ["0.50", "0.99", ">.99", ">.99"]
    said: list[str] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda pen, place, text, **_: said.append(text))
    draw(astronaut, analyzer.analyze_image(astronaut))
    assert "happy >99%" in said


def test_a_drawn_picture_differs_at_the_face_and_nowhere_far(
    analyzer: Analyzer, astronaut: np.ndarray
) -> None:
    faces = analyzer.analyze_image(astronaut)
    before = astronaut.copy()
    drawn = np.asarray(draw(astronaut, faces)).astype(int)
    assert drawn.shape == astronaut.shape
    assert np.array_equal(astronaut, before)
    changed = np.abs(drawn - astronaut).max(2) > 0
    left, top, right, bottom = faces.box_xyxy_px[0].round().astype(int)
    assert changed[top - 2 : top + 3, left:right].any(0).mean() > 0.95
    assert not changed[bottom + 80 :].any()
    assert not changed[:, : left - 40].any()


def test_without_a_face_nothing_is_drawn(portrait: np.ndarray) -> None:
    assert np.array_equal(np.asarray(draw(portrait, Faces.empty())), portrait)


def test_boxes_over_the_border_and_tiny_pictures_can_be_drawn() -> None:
    image = np.full((6, 6, 3), 100, np.uint8)
    box = np.array([[-20.0, -20, 40, 40], [2, 2, 2.4, 2.4]], np.float32)
    faces = Faces(box, np.ones(2, np.float32), np.zeros((2, 5, 2), np.float32))
    assert draw(image, faces).size == (6, 6)


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    """Two faces side by side, one a little higher: above the second is taken, so its label goes elsewhere."""
    taken: list[tuple[float, float, float, float]] = []
    for left, top in ((50.0, 60.0), (85.0, 62.0), (120.0, 60.0)):
        box = np.array([left, top, left + 30, top + 40], np.float32)
        chip = _free_place(box, (70.0, 14.0), (400, 300), taken)
        assert all(_overlap(chip, other) == 0 for other in taken)
        assert chip[0] >= 0 and chip[2] <= 400 and chip[1] >= 0 and chip[3] <= 300
        taken.append(chip)


def test_a_class_that_is_not_miens_can_be_drawn(portrait: np.ndarray) -> None:
    scores = Scores(("bored", "happy"), np.array([[0.9, 0.1]], np.float32))
    box = np.array([[40.0, 40, 220, 220]], np.float32)
    faces = Faces(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32), expression=scores)
    assert not np.array_equal(np.asarray(draw(portrait, faces)), portrait)


def test_the_track_is_drawn_beside_the_box(portrait: np.ndarray) -> None:
    box = np.array([[60.0, 60, 200, 220]], np.float32)
    faces = Faces(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))
    plain = np.asarray(draw(portrait, faces))
    drawn = [np.asarray(draw(portrait, replace(faces, track_id=np.array([number])))) for number in (1, 2)]
    assert not np.array_equal(drawn[0], drawn[1])
    changed = np.argwhere((drawn[0] != plain).any(2))
    assert len(changed)
    assert changed[:, 0].max() < 60, "something other than the label changed"


def test_pictures_and_failures(tmp_path: Path, analyzer: Analyzer, portrait_file: Path) -> None:
    out = tmp_path / "new" / "drawn"
    with OverlayWriter(out) as overlay:
        list(analyzer.stream([portrait_file, tmp_path / "gone.jpg"], observer=overlay))
    assert [path.name for path in out.iterdir()] == ["portrait_png.png"]
    drawn, plain = Image.open(out / "portrait_png.png"), Image.open(portrait_file)
    assert drawn.size == plain.size
    assert not np.array_equal(np.asarray(drawn), np.asarray(plain))


def test_two_inputs_of_one_name_are_both_kept(
    tmp_path: Path, analyzer: Analyzer, portrait: np.ndarray
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(portrait).save(tmp_path / folder / "x.png")
    with OverlayWriter(tmp_path / "out") as overlay:
        list(analyzer.stream([tmp_path / "a", tmp_path / "b"], observer=overlay))
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("side", [256, 151])
def test_a_drawn_clip_has_the_frames_and_times_of_its_source(
    side: int, tmp_path: Path, analyzer: Analyzer, moving, make_clip
) -> None:
    times_ms = [0, 40, 50, 210, 500, 1000]
    frames = [image[:side, :side] for image in moving(6)]
    codec, name = ("libx264", "a.mp4") if side % 2 == 0 else ("libvpx-vp9", "a.webm")
    path = make_clip(tmp_path / name, frames, codec, times_ms)
    with OverlayWriter(tmp_path / "out") as overlay:
        list(analyzer.stream(path, observer=overlay))
    (drawn,) = (tmp_path / "out").iterdir()
    assert drawn.suffix == ".mp4"
    with av.open(str(drawn)) as container:
        decoded = list(container.decode(video=0))
    assert [frame.time for frame in decoded] == pytest.approx([t / 1000 for t in times_ms], abs=1e-3)
    even = side - side % 2
    band = RunningBand(even, 11)
    assert (decoded[0].width, decoded[0].height) == (even, even + band.size_wh_px[1])
    first = decoded[0].to_ndarray(format="rgb24").astype(int)
    assert 0.5 < np.abs(first[:even] - frames[0][:even, :even]).mean() < 40


def test_a_clip_and_a_picture_in_turn(
    tmp_path: Path, analyzer: Analyzer, moving, make_clip, portrait_file
) -> None:
    clips = [make_clip(tmp_path / name, moving(3)) for name in ("a.mp4", "b.mp4")]
    with OverlayWriter(tmp_path / "out") as overlay:
        list(analyzer.stream([clips[0], portrait_file, clips[1]], observer=overlay))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_mp4.mp4", "b_mp4.mp4", "portrait_png.png"]


def test_an_error_leaves_no_half_clip_under_its_name(tmp_path: Path, portrait: np.ndarray) -> None:
    """`A file gets its name when it is whole`, as with tables."""
    with pytest.raises(RuntimeError, match="a bug"), OverlayWriter(tmp_path) as overlay:
        overlay(FrameResult("a.mp4", 0, 0.0, Faces.empty(), (256, 256)), portrait)
        raise RuntimeError("a bug")
    assert not list(tmp_path.iterdir())


HAPPY, SAD = (SURE, COLOURS["happy"]), (SURE, COLOURS["sad"])


def colours_in(band: RunningBand, row: int, ago_s: float) -> list[str]:
    """What colours a row of the band shows so many seconds before now, from top to bottom."""
    x = band.size_wh_px[0] - 1 - round(ago_s * band.columns / 10)
    line = np.asarray(band.draw())[row * band.row_px : (row + 1) * band.row_px, x]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in line.tolist()]


def test_the_band_runs_with_now_at_its_right_edge() -> None:
    band = RunningBand(640, 12)
    for index in range(150):  # 6 s: happy for 2, away for 2, sad for 2
        looks = [{0: HAPPY}, {}, {0: SAD}][index // 50]
        band.add(looks, index / 25)
    for ago_s in (0, 1.9):
        assert COLOURS["sad"] in colours_in(band, 0, ago_s) and COLOURS["happy"] not in colours_in(
            band, 0, ago_s
        )
    assert COLOURS["happy"] in colours_in(band, 0, 4.1) and COLOURS["happy"] in colours_in(band, 0, 5.8)
    for ago_s in (2.1, 3.9, 6.1, 9.0):
        assert set(colours_in(band, 0, ago_s)) == {GROUND}, ago_s
    assert all(set(colours_in(band, row, 1.0)) == {GROUND} for row in range(1, ROWS))


def test_a_frame_holds_until_the_next_and_a_clock_that_goes_back_stands() -> None:
    band = RunningBand(640, 12)
    band.add({0: HAPPY}, 0.0)
    band.add({0: SAD}, 3.0)
    assert COLOURS["happy"] in colours_in(band, 0, 0.1) and COLOURS["happy"] in colours_in(band, 0, 2.9)
    band.add({0: HAPPY}, 1.0)
    assert COLOURS["happy"] in colours_in(band, 0, 0.0) and COLOURS["happy"] in colours_in(band, 0, 2.9)
    band.add({0: SAD}, 500.0)
    assert COLOURS["happy"] in colours_in(band, 0, 9.9)


def test_doubt_is_hatched_and_a_poor_face_is_low_and_grey() -> None:
    band = RunningBand(640, 20)
    for index in range(101):
        band.add({0: (UNSURE, COLOURS["sad"]), 1: (POOR, UNRELIABLE), 2: SAD}, index / 25)
    picture = np.asarray(band.draw())[:, -100:]
    shares = [
        (np.abs(picture[row * band.row_px : (row + 1) * band.row_px] - np.array(ImageColor.getrgb(colour))).max(2) == 0).mean()
        for row, colour in enumerate((COLOURS["sad"], UNRELIABLE, COLOURS["sad"]))
    ]  # fmt: skip
    assert 0.15 < shares[0] < 0.4 and 0.15 < shares[1] < 0.4 and shares[2] > 0.7
    poor = colours_in(band, 1, 1.0)
    assert UNRELIABLE not in poor[: len(poor) // 2]


def test_a_face_keeps_its_row_and_one_that_waits_gets_that_of_a_lost_one() -> None:
    band = RunningBand(640, 12)
    for index in range(25):
        band.add(dict.fromkeys(range(6), HAPPY), index / 25)
    waiting = np.asarray(band.draw())[ROWS * band.row_px + 2 :, : band.left_px]
    assert waiting.max() > 150, "+2 is not said"
    assert [band._ids[row] for row in range(ROWS)] == [0, 1, 2, 3]
    present = dict.fromkeys((0, 1, 3, 4, 5), SAD)
    band.add(present, 1.0)
    assert band._ids == [0, 1, 2, 3]
    band.add(present, 1.0 + LOST_S)
    assert band._ids == [0, 1, 4, 3]
    assert set(colours_in(band, 2, 1.5)) == {GROUND}, "what another face showed stands in the row"


def test_the_band_takes_no_more_memory_with_time() -> None:
    band = RunningBand(200, 11)
    sizes = set()
    for index in range(3000):
        band.add({index // 100: HAPPY, index // 70 + 1000: SAD}, index / 25)
        if index % 300 == 299:
            kept = {name: value for name, value in vars(band).items() if name not in ("_font", "_small")}
            sizes.add(len(pickle.dumps(kept)) // 100)
            assert band.draw().size == band.size_wh_px
    assert max(sizes) - min(sizes) <= 1
    assert band.size_wh_px[1] % 2 == 0


@pytest.mark.parametrize("width", [2, 17, 64, 4000])
def test_the_band_is_as_wide_as_any_picture(width: int) -> None:
    band = RunningBand(width, 11)
    for index in range(30):
        band.add({123456: HAPPY}, index / 25)
    assert band.draw().size == band.size_wh_px and band.size_wh_px[0] == width


def test_a_clip_has_its_faces_below_its_picture(tmp_path: Path, portrait: np.ndarray) -> None:
    """The band does not depend on what is in the picture, and no face is covered."""
    box = np.array([[40.0, 40, 220, 220]] * 2, np.float32)
    scores = Scores(("happy", "sad"), np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    good = np.ones(2, np.float32)
    quality = Quality(good, good, good, good, good, ("", "too small (9 px)"))
    faces = Faces(
        box, good, np.zeros((2, 5, 2), np.float32), scores, np.array([False, False]), quality=quality,
        track_id=np.array([7, 3]),
    )  # fmt: skip
    with OverlayWriter(tmp_path) as overlay:
        for index in range(26):
            overlay(FrameResult("a.mp4", index, index / 25, faces, (256, 256)), portrait)
    with av.open(str(tmp_path / "a_mp4.mp4")) as container:
        last = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)][-1]
    band = RunningBand(256, 11)
    rows = last[256:][: 2 * band.row_px, -15:]
    happy, poor = rows[4 : band.row_px - 4].mean((0, 1)), rows[band.row_px :].max((0, 1))
    assert happy == pytest.approx(ImageColor.getrgb(COLOURS["happy"]), abs=25)
    assert poor == pytest.approx(ImageColor.getrgb(UNRELIABLE), abs=40)
    assert last[256:, 30:200].max() < 200, "something is shown of a time before the clip"
