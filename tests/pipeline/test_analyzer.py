from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import OptionError, ShapeError, UnknownNameError, WeightsError
from mien.labels.expressions import EXPRESSIONS
from mien.pipeline.analyzer import Analyzer
from mien.types.faces import Faces
from mien.types.media import Failure, FrameResult


def assert_same(first: Faces, second: Faces) -> None:
    assert len(first) == len(second)
    assert np.allclose(first.box_xyxy_px, second.box_xyxy_px, atol=1e-2)
    assert np.allclose(first.expression.values, second.expression.values, atol=2e-3)
    assert np.allclose(first.pose_ypr_rad, second.pose_ypr_rad, atol=1e-3)
    assert first.uncertain.tolist() == second.uncertain.tolist()
    assert first.quality.reasons == second.quality.reasons


def test_a_face_comes_with_everything(analyzer: Analyzer, astronaut: np.ndarray) -> None:
    faces = analyzer.analyze_image(astronaut)
    assert faces.expression.names == EXPRESSIONS
    assert faces.expression.top == ("happy",)
    assert faces.expression.values.shape == (1, 8)
    assert faces.expression.values.sum() == pytest.approx(1, abs=1e-5)
    assert faces.pose_ypr_rad.shape == (1, 3)
    assert faces.uncertain.tolist() == [False]
    assert faces.quality.reliable.tolist() == [True]
    assert faces.track_id is None


def test_a_picture_without_a_face_has_empty_and_not_missing_parts(analyzer: Analyzer) -> None:
    faces = analyzer.analyze_image(np.zeros((50, 60, 3), np.uint8))
    assert len(faces) == len(faces.expression) == len(faces.quality) == 0
    assert faces.pose_ypr_rad.shape == (0, 3)
    assert faces.uncertain.shape == (0,)


def test_a_batch_equals_single_pictures(analyzer: Analyzer, astronaut, hopper, page) -> None:
    blank = np.zeros((80, 90, 3), np.uint8)
    images = [astronaut, blank, page, hopper, astronaut[:, ::-1].copy(), blank]
    for image, faces in zip(images, analyzer.analyze_images(images), strict=True):
        assert_same(faces, analyzer.analyze_image(image))


def test_no_pictures(analyzer: Analyzer) -> None:
    assert analyzer.analyze_images([]) == []


def test_an_array_a_pillow_image_and_a_file_are_the_same(
    analyzer: Analyzer, portrait, portrait_file: Path
) -> None:
    array = analyzer.analyze_image(portrait)
    assert_same(array, analyzer.analyze_image(Image.fromarray(portrait)))
    (result,) = analyzer.stream(portrait_file)
    assert_same(array, result.faces)


def test_an_analysis_repeats_exactly(analyzer: Analyzer, page: np.ndarray) -> None:
    first, second = analyzer.analyze_image(page), analyzer.analyze_image(page)
    assert np.array_equal(first.expression.values, second.expression.values)
    assert np.array_equal(first.box_xyxy_px, second.box_xyxy_px)


def test_inputs_are_not_changed(analyzer: Analyzer, astronaut: np.ndarray) -> None:
    image = astronaut.copy()
    analyzer.analyze_image(image)
    assert np.array_equal(image, astronaut)


def test_a_view_with_odd_strides_is_taken(analyzer: Analyzer, astronaut: np.ndarray) -> None:
    mirrored = astronaut[:, ::-1]
    assert_same(analyzer.analyze_image(mirrored), analyzer.analyze_image(mirrored.copy()))


def test_bad_arrays_are_refused(analyzer: Analyzer) -> None:
    with pytest.raises(ShapeError, match="Scale floats by 255"):
        analyzer.analyze_image(np.zeros((9, 9, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detection_threshold": 0.0}, "detection_threshold between 0 and 1, got 0"),
        ({"detection_threshold": 1.5}, "detection_threshold between 0 and 1, got 1.5"),
        ({"detection_threshold": float("nan")}, "detection_threshold"),
        ({"min_face_px": 2}, "min_face_px from 8 to 4096, got 2"),
        ({"min_face_px": float("nan")}, "min_face_px"),
        ({"batch_frames": 0}, "batch_frames >= 1"),
        ({"threads": -1}, "threads >= 0, got -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Analyzer(**options)


def test_models_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'expression'"):
        Analyzer("expresion")
    with pytest.raises(WeightsError, match="expected an ONNX file at"):
        Analyzer(tmp_path / "gone.onnx")
    with pytest.raises(WeightsError, match="expected a network for expressions, got 'yunet'"):
        Analyzer("yunet")


def test_faces_of_a_clip_have_tracks_that_begin_anew_with_each_clip(
    tmp_path: Path, moving, make_clip, portrait_file: Path
) -> None:
    clips = [make_clip(tmp_path / name, moving(5)) for name in ("a.mp4", "b.mp4")]
    one_by_one, together = Analyzer(threads=1, batch_frames=1), Analyzer(threads=1)
    for reader in (one_by_one, together):
        *tracked, picture = reader.stream([*clips, portrait_file])
        assert [result.faces.track_id.tolist() for result in tracked] == [[0]] * 10
        assert picture.faces.track_id is None


def test_a_part_of_a_clip(tmp_path: Path, moving, make_clip, portrait_file: Path, analyzer: Analyzer) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving(20), options={"g": "5"})
    *results, picture = analyzer.stream([clip, portrait_file], start_s=0.3, end_s=0.5)
    assert [(result.frame, round(result.time_s, 3)) for result in results] == [
        (8, 0.32), (9, 0.36), (10, 0.4), (11, 0.44), (12, 0.48)
    ]  # fmt: skip
    assert picture.time_s is None
    with pytest.raises(OptionError, match="expected end_s after start_s"):
        list(analyzer.stream(clip, start_s=3.0, end_s=2.0))


def test_identity_needs_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="mien weights fetch sface"):
        Analyzer(identity=True)


@pytest.mark.parametrize("every_s", [0, -1.0, float("nan")])
def test_every_must_be_positive(every_s: float, analyzer: Analyzer, portrait_file: Path) -> None:
    with pytest.raises(OptionError, match="expected every_s over 0 seconds"):
        list(analyzer.stream(portrait_file, every_s=every_s))


def test_a_clip_gives_one_result_a_frame(analyzer: Analyzer, tmp_path: Path, moving, make_clip) -> None:
    path = make_clip(tmp_path / "a.mp4", moving(11))
    results = list(analyzer.stream(path))
    assert [result.frame for result in results] == list(range(11))
    assert all(result.path == str(path) and result.size_wh_px == (256, 256) for result in results)
    assert all(len(result.faces) == 1 for result in results)
    left = [float(result.faces.box_xyxy_px[0, 0]) for result in results]
    assert np.polyfit(range(11), left, 1)[0] == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animated_picture_gives_one_result_a_frame(
    suffix: str, analyzer: Analyzer, tmp_path: Path, moving
) -> None:
    path = tmp_path / f"a{suffix}"
    first, *rest = (Image.fromarray(image) for image in moving(4))
    first.save(path, save_all=True, append_images=rest, duration=100)
    results = list(analyzer.stream(path))
    assert [(result.frame, round(result.time_s, 3)) for result in results] == [
        (0, 0),
        (1, 0.1),
        (2, 0.2),
        (3, 0.3),
    ]
    assert all(len(result.faces) == 1 for result in results)


def test_a_still_gif_is_a_picture(analyzer: Analyzer, tmp_path: Path, portrait: np.ndarray) -> None:
    Image.fromarray(portrait).save(tmp_path / "a.gif")
    (result,) = analyzer.stream(tmp_path / "a.gif")
    assert result.time_s is None
    assert len(result.faces) == 1


def test_the_batch_of_frames_changes_nothing(tmp_path: Path, moving, make_clip, analyzer: Analyzer) -> None:
    path = make_clip(tmp_path / "a.mp4", moving(5))
    one_by_one = Analyzer(threads=1, batch_frames=1)
    for first, second in zip(analyzer.stream(path), one_by_one.stream(path), strict=True):
        assert (first.frame, first.time_s) == (second.frame, second.time_s)
        assert_same(first.faces, second.faces)


def test_results_keep_the_order_of_the_files(analyzer: Analyzer, tmp_path: Path, portrait_file: Path) -> None:
    paths = [tmp_path / "gone.jpg", portrait_file, tmp_path / "also_gone.jpg"]
    kinds = [type(result) for result in analyzer.stream(paths)]
    assert kinds == [Failure, FrameResult, Failure]


def test_the_stream_starts_before_later_files_exist(analyzer: Analyzer, portrait_file: Path) -> None:
    def names():
        yield portrait_file
        raise RuntimeError("the second name was asked for too early")

    assert isinstance(next(analyzer.stream(names())), FrameResult)


def test_observer_and_progress(
    analyzer: Analyzer, tmp_path: Path, moving, make_clip, portrait_file: Path
) -> None:
    seen, told = [], []
    clip = make_clip(tmp_path / "a.mp4", moving(10))
    results = list(
        analyzer.stream(
            [portrait_file, clip, tmp_path / "gone.jpg"],
            observer=lambda result, image: seen.append((result, image.shape)),
            progress=lambda path, done_s, length_s: told.append((path, done_s, length_s)),
        )
    )
    assert [result for result, _ in seen] == results[:-1]
    assert {shape for _, shape in seen} == {(256, 256, 3)}
    assert told[0] == (portrait_file, 0.0, 0.0)
    assert told[-1][0] == clip
    assert told[-1][1] == pytest.approx(0.36, abs=0.01)
    assert told[-1][2] == pytest.approx(0.4, abs=0.05)


def test_an_error_of_the_observer_is_not_taken_for_a_bad_file(
    analyzer: Analyzer, portrait_file: Path
) -> None:
    def full_disk(result: FrameResult, image: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        list(analyzer.stream(portrait_file, observer=full_disk))


@pytest.mark.data
def test_real_group_photographs(analyzer: Analyzer, photos_root: Path) -> None:
    (result,) = analyzer.stream(photos_root / "pyfeat" / "multi_face.jpg")
    assert len(result.faces) == 5
    (nobody,) = analyzer.stream(photos_root / "pyfeat" / "free-mountain-vector-01.jpg")
    assert len(nobody.faces) == 0
