from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mien.faces.quality import QualityLimits, assess, sharpness
from mien.methods.runner import ExpressionRunner
from mien.pipeline.analyzer import Analyzer
from mien.types.faces import Quality

LIMITS = QualityLimits(
    min_size_px=24,
    max_yaw_rad=0.9,
    max_pitch_rad=0.8,
    min_inside=0.7,
    min_detection_score=0.6,
    min_contrast=0.04,
)
"""Written out where a message holds the number; the light and sharpness limits are those that ship."""


def judged(
    crop: np.ndarray,
    inside: float = 1.0,
    side: float = 100.0,
    score: float = 0.9,
    pose: tuple[float, float, float] = (0, 0, 0),
    limits: QualityLimits | None = None,
) -> Quality:
    box = np.array([[10, 10, 10 + side, 10 + side * 1.3]], np.float32)
    arrays = (np.array([inside]), box, np.array([score]), np.array([pose]))
    return assess(crop[None], *arrays, limits or LIMITS)


@pytest.fixture(scope="module")
def crop(analyzer: Analyzer, runner: ExpressionRunner, astronaut: np.ndarray) -> np.ndarray:
    """The aligned face of the astronaut."""
    points = analyzer.detector.detect([astronaut])[0].landmarks_xy_px
    return runner.crop(astronaut, points)[0][0]


def test_a_good_face_has_no_reason(crop: np.ndarray) -> None:
    quality = judged(crop)
    assert quality.reasons == ("",)
    assert quality.reliable.tolist() == [True]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"side": 20.0}, "too small (20px, limit 24px)"),
        ({"inside": 0.5}, "cut off by the border (0.5, limit 0.7)"),
        ({"score": 0.55}, "weak detection (0.55, limit 0.6)"),
        ({"pose": (1.0, 0, 0)}, "turned away (1 rad, limit 0.9 rad)"),
        ({"pose": (-1.0, 0, 0)}, "turned away (1 rad, limit 0.9 rad)"),
        ({"pose": (0, -0.85, 0)}, "tilted up or down (0.85 rad, limit 0.8 rad)"),
        ({"pose": (0, 0, 2.0)}, ""),
    ],
)
def test_reasons_of_place_and_pose(crop: np.ndarray, options: dict, reason: str) -> None:
    assert judged(crop, **options).reasons == (reason,)


def test_a_blurred_face(crop: np.ndarray) -> None:
    soft = np.asarray(Image.fromarray(crop).filter(ImageFilter.GaussianBlur(4)))
    assert judged(soft).reasons[0].startswith("blurred (")
    assert ";" not in judged(soft).reasons[0]


def test_a_dark_face(crop: np.ndarray) -> None:
    reason = judged((crop * 0.15).astype(np.uint8)).reasons[0]
    assert "too dark (" in reason
    assert "too bright" not in reason


def test_a_bright_face(crop: np.ndarray) -> None:
    reason = judged((255 - (255 - crop.astype(float)) * 0.12).astype(np.uint8)).reasons[0]
    assert "too bright (" in reason
    assert "too dark" not in reason


def test_a_flat_face() -> None:
    quality = judged(np.full((48, 48, 3), 128, np.uint8))
    assert "too little contrast (0, limit 0.04)" in quality.reasons[0]
    assert "blurred (0, limit" in quality.reasons[0]
    assert quality.contrast[0] == pytest.approx(0, abs=1e-6)
    assert quality.brightness[0] == pytest.approx(128 / 255, abs=1e-4)


def test_several_reasons_are_joined(crop: np.ndarray) -> None:
    assert judged(crop, side=10.0, score=0.3).reasons[0].split("; ") == [
        "too small (10px, limit 24px)",
        "weak detection (0.3, limit 0.6)",
    ]


def test_limits_decide(crop: np.ndarray) -> None:
    assert judged(crop, side=20.0, limits=QualityLimits(min_size_px=16)).reasons == ("",)
    assert "too small" in judged(crop, side=100.0, limits=QualityLimits(min_size_px=160)).reasons[0]


def test_each_face_is_judged_for_itself(crop: np.ndarray) -> None:
    crops = np.stack([crop, np.zeros_like(crop)])
    quality = assess(
        crops, np.ones(2), np.array([[0, 0, 50, 50]] * 2), np.ones(2), np.zeros((2, 3)), QualityLimits()
    )
    assert quality.reliable.tolist() == [True, False]


def test_no_face() -> None:
    none = np.zeros(0)
    quality = assess(
        np.zeros((0, 48, 48, 3), np.uint8), none, np.zeros((0, 4)), none, np.zeros((0, 3)), QualityLimits()
    )
    assert len(quality) == 0
    assert quality.reliable.shape == (0,)


def test_sharpness_falls_with_blur_and_hardly_with_light(crop: np.ndarray) -> None:
    def measured(pixels: np.ndarray) -> float:
        return float(sharpness(pixels.mean(2, dtype=np.float32)[None] / 255)[0])

    picture = Image.fromarray(crop)
    values = [
        measured(crop),
        *(measured(np.asarray(picture.filter(ImageFilter.GaussianBlur(r)))) for r in (1, 2, 4)),
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 4 * values[3]
    assert measured((crop * 0.6).astype(np.uint8)) == pytest.approx(values[0], rel=0.2)


def test_reasons_reach_the_analysis(analyzer: Analyzer, astronaut: np.ndarray, page: np.ndarray) -> None:
    assert analyzer.analyze_image(astronaut).quality.reasons == ("",)
    reasons = analyzer.analyze_image(page).quality.reasons
    assert sum(reason.startswith("too small (2") for reason in reasons) == 1
    dark = analyzer.analyze_image((astronaut * 0.12).astype(np.uint8))
    assert all("too dark" in reason for reason in dark.quality.reasons)
    soft = np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(6)))
    assert all("blurred" in reason for reason in analyzer.analyze_image(soft).quality.reasons)


def test_a_face_cut_off_by_the_border(analyzer: Analyzer, hopper: np.ndarray) -> None:
    cut = np.ascontiguousarray(hopper[:, 270:])
    faces = analyzer.analyze_image(cut)
    for reason, inside in zip(faces.quality.reasons, faces.quality.inside, strict=True):
        assert ("cut off" in reason) == (inside < 0.7)
