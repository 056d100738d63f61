from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.labels.expressions import EXPRESSIONS
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.overlay import COLOURS, OverlayWriter, _free_place, _overlap, draw
from mien.types.faces import Faces
from mien.types.media import FrameResult
from mien.types.scores import Scores


def test_every_class_has_its_own_colour() -> None:
    assert set(COLOURS) == set(EXPRESSIONS)
    assert len(set(COLOURS.values())) == len(EXPRESSIONS)


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
    assert decoded[0].width == side - side % 2
    first = decoded[0].to_ndarray(format="rgb24").astype(int)
    assert 0.5 < np.abs(first - frames[0][: first.shape[0], : first.shape[1]]).mean() < 40


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
