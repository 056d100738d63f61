"""The reading in the browser against Python's: parts on drawn input, and whole rows on pictures.

Tolerances, as docs/page.md states them: rows are rounded alike, so that a difference is at most one step of the last
digit (0.01 px in boxes, 0.0001 in poses and scores); points within 0.001 px, probabilities within 0.001.
"""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.demo import demo_pictures
from mien.faces.boxes import iou, non_maximum_suppression
from mien.faces.following import Follower
from mien.faces.pose import pose_from_points
from mien.faces.quality import QualityLimits
from mien.faces.yunet import YuNet
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.overlay import COLOURS
from mien.pipeline.pictures import read_picture
from mien.pipeline.table import rows_of
from mien.transforms.align import fit_similarity, warp
from mien.types.media import FrameResult

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DATA_PICTURES = (
    *("pyfeat/multi_face.jpg", "pyfeat/single_face.jpg", "pyfeat/0-f1-su-ph.jpg", "pyfeat/15-f13-anc-ph.jpg"),
    *("pyfeat/45-m7-di-ph.jpg", "pyfeat/BWPictureHuman.jpg", "dlib_faces/2007_007763.jpg"),
    *("dlib_faces/2008_002470.jpg", "dlib_faces/2008_007676.jpg", "dlib_faces/bald_guys.jpg"),
)
STEP = {
    "_px": 0.01,
    "p_": 1e-3,
    "confidence": 1e-3,
    "_rad": 2e-4,
    "valence": 1e-3,
    "arousal": 1e-3,
    "detection_score": 2e-4,
}

READ = """async ([content, name]) => {
  const { Engine, DECODING } = await import("/assets/reading/engine.js");
  window.engine ??= await Engine.start("");
  const raw = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  return window.engine.read(await createImageBitmap(new Blob([raw]), DECODING), name);
}"""


@pytest.fixture(scope="module")
def page(browser: Any, serve: Any, runtime: None) -> Any:
    context = browser.new_context()
    page = context.new_page()
    page.goto(serve())
    yield page
    context.close()


def as_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def as_png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def assert_agrees(page: Any, analyzer: Analyzer, content: bytes, image: np.ndarray) -> None:
    faces = analyzer.analyze_image(image)
    expected = rows_of(FrameResult("x", 0, None, faces, image.shape[1::-1]))
    answer = page.evaluate(READ, [as_text(content), "x"])
    assert (answer["width"], answer["height"]) == image.shape[1::-1]
    assert [list(row) for row in answer["rows"]] == [list(row) for row in expected]
    for found, row in zip(answer["rows"], expected, strict=True):
        for name, value in row.items():
            step = next((step for part, step in STEP.items() if part in name), None)
            if value is None or step is None:
                assert found[name] == value, name
            else:
                assert found[name] == pytest.approx(value, abs=1.001 * step), name
    if len(faces):
        assert np.abs(np.array(answer["points"]) - faces.landmarks_xy_px).max() <= 1e-3


@pytest.mark.parametrize("path", demo_pictures(), ids=lambda path: Path(path).stem)
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_shipped_pictures(page: Any, analyzer: Analyzer, path: str, kind: str) -> None:
    image = read_picture(Path(path))
    assert_agrees(page, analyzer, as_png(image) if kind == "png" else Path(path).read_bytes(), image)


@pytest.mark.data
@pytest.mark.parametrize("name", DATA_PICTURES)
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_ten_pictures(page: Any, analyzer: Analyzer, photos_root: Path, name: str, kind: str) -> None:
    image = read_picture(photos_root / name)
    assert_agrees(
        page, analyzer, as_png(image) if kind == "png" else (photos_root / name).read_bytes(), image
    )


@pytest.mark.parametrize("what", ["dark", "blurred", "tight", "flat"])
def test_poor_pictures(page: Any, analyzer: Analyzer, portrait: np.ndarray, what: str) -> None:
    """Reasons, and the search in a black frame."""
    small = Image.fromarray(portrait).resize((20, 20)).resize((256, 256))
    image = {
        "dark": (portrait * 0.15).astype(np.uint8),
        "blurred": np.asarray(small),
        "tight": portrait[30:160, 60:190],
        "flat": np.full((90, 120, 3), 128, np.uint8),
    }[what]
    assert_agrees(page, analyzer, as_png(image), image)


def test_alpha_is_laid_on_white(page: Any, analyzer: Analyzer, portrait: np.ndarray) -> None:
    alpha = np.full((256, 256, 1), 255, np.uint8)
    alpha[:, :40] = 0
    content = as_png(np.concatenate([portrait, alpha], 2))
    image = portrait.copy()
    image[:, :40] = 255
    assert_agrees(page, analyzer, content, image)


def test_resizing_is_pillows(page: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (97, 143, 3), np.uint8)
    for size in [(143, 97), (64, 48), (20, 13), (286, 194), (143, 50), (7, 97)]:
        expected = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        found = page.evaluate(
            """async ([pixels, width, height, size]) => {
              const { resized } = await import("/assets/reading/pixels.js");
              return [...resized({ data: Uint8ClampedArray.from(pixels), width, height }, ...size).data];
            }""",
            [with_alpha(image), 143, 97, size],
        )
        assert np.array_equal(np.reshape(found, (size[1], size[0], 4))[..., :3], np.asarray(expected)), size


def with_alpha(image: np.ndarray) -> list[int]:
    return np.concatenate([image, image[..., :1]], 2).ravel().tolist()


def test_alignment_is_pythons(page: Any) -> None:
    draw = np.random.default_rng(1)
    image = draw.integers(0, 256, (120, 150, 3), np.uint8)
    for scale in (0.4, 1.0, 3.3):
        source, target = draw.uniform(0, 100, (5, 2)), draw.uniform(0, 100, (5, 2))
        turn = np.array([[0.8, -0.6, 20.0], [0.6, 0.8, -8.0]]) / scale
        crop, inside = warp(image, turn, 32)
        fitted, found, share = page.evaluate(
            """async ([source, target, pixels, turn]) => {
              const { fitSimilarity, warp } = await import("/assets/reading/align.js");
              const { crop, inside } = warp({ data: Uint8ClampedArray.from(pixels), width: 150, height: 120 }, turn, 32);
              return [fitSimilarity(source, target), [...crop.data], inside];
            }""",
            [source.tolist(), target.tolist(), with_alpha(image), turn.tolist()],
        )
        assert np.allclose(fitted, fit_similarity(source, target), atol=1e-9)
        assert np.array_equal(np.reshape(found, (32, 32, 4))[..., :3], crop)
        assert share == pytest.approx(inside)


def test_suppression_and_pose_are_pythons(page: Any) -> None:
    draw = np.random.default_rng(2)
    corners = draw.uniform(0, 60, (80, 2))
    boxes, scores = (
        np.concatenate([corners, corners + draw.uniform(5, 40, (80, 2))], 1),
        draw.uniform(0, 1, 80),
    )
    points = draw.uniform(0, 100, (20, 5, 2))
    kept, shared, poses = page.evaluate(
        """async ([boxes, scores, points]) => {
          const { iou, nonMaximumSuppression } = await import("/assets/reading/boxes.js");
          const { poseFromPoints } = await import("/assets/reading/pose.js");
          return [nonMaximumSuppression(boxes, scores, 0.3), boxes.map((box) => iou(boxes[0], box)), points.map(poseFromPoints)];
        }""",
        [boxes.tolist(), scores.tolist(), points.tolist()],
    )
    assert kept == non_maximum_suppression(boxes, scores, 0.3).tolist()
    assert np.allclose(shared, iou(boxes[:1], boxes)[0])
    assert np.allclose(poses, pose_from_points(points), atol=1e-5)


def test_numbers_are_written_as_python_does(page: Any) -> None:
    draw = random.Random(3)
    values = [
        0.0,
        0.5,
        1.5,
        2.5,
        24.0,
        0.012,
        *(draw.uniform(-1, 1) * 10 ** draw.randint(-6, 5) for _ in range(200)),
    ]
    written, even = page.evaluate(
        """async (values) => {
          const { general, roundEven } = await import("/assets/reading/numbers.js");
          return [values.map((value) => general(value, 3)), values.map(roundEven)];
        }""",
        values,
    )
    assert written == [f"{value:.3g}" for value in values]
    assert even == [round(value) for value in values]


def test_following_is_pythons(page: Any, detector: YuNet, moving: Any) -> None:
    frames = moving(9)
    found = page.evaluate(
        """async (contents) => {
          const { Engine, DECODING } = await import("/assets/reading/engine.js");
          const engine = await Engine.start("");
          const boxes = [];
          for (const content of contents) {
            const raw = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const bitmap = await createImageBitmap(new Blob([raw]), DECODING);
            const { rows } = await engine.read(bitmap, "camera", { live: 1 });
            boxes.push(rows.map((row) => [row.x1_px, row.y1_px, row.x2_px, row.y2_px]));
          }
          return boxes;
        }""",
        [as_text(as_png(frame)) for frame in frames],
    )
    expected = Follower(detector, 8).detect(frames)
    whole = detector.detect(frames)
    assert (
        np.abs(expected[1].box_xyxy_px - whole[1].box_xyxy_px).max() > 0.02
    )  # squares were searched, not frames
    for boxes, faces in zip(found, expected, strict=True):
        assert np.abs(np.array(boxes) - faces.box_xyxy_px).max() <= 0.0101


def test_limits_colours_and_hints_are_pythons(page: Any) -> None:
    limits, colours, hints = page.evaluate(
        """async () => {
          const { LIMITS } = await import("/assets/reading/quality.js");
          const { colourOf, hintsOf } = await import("/assets/words.js");
          const names = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"];
          const reasons = ["too small", "blurred", "too dark", "too bright", "too little contrast", "turned away",
            "tilted up or down", "cut off by the border", "weak detection"];
          return [LIMITS, Object.fromEntries(names.map((name) => [name, colourOf(name)])),
            reasons.map((reason) => hintsOf({ reason: `${reason} (1, limit 2)` }))];
        }"""
    )
    assert limits == vars(QualityLimits())
    assert colours == dict(COLOURS)
    assert all(len(hint) == 1 for hint in hints)
