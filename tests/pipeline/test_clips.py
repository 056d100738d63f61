"""Clips written on the spot with known frames and known times."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.pipeline import clips
from mien.pipeline.clips import Span, clip_info, is_animated, read_animation, read_clip

FORMATS = [
    ("a.mp4", "libx264"),
    ("a.mov", "libx264"),
    ("a.mkv", "libx264"),
    ("a.webm", "libvpx-vp9"),
    ("a.avi", "mjpeg"),
    ("a.avi", "mpeg4"),
]


@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_every_frame_once_in_order_at_its_time(
    name: str, codec: str, tmp_path: Path, moving, make_clip
) -> None:
    path = make_clip(tmp_path / name, moving(14), codec)
    frames = list(read_clip(path))
    assert [frame.frame for frame in frames] == list(range(14))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(14)], abs=1e-3)
    for frame in frames:
        assert frame.image.shape == (256, 256, 3)
        assert frame.image.dtype == np.uint8


@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_the_frames_are_those_that_were_written(
    name: str, codec: str, tmp_path: Path, moving, make_clip
) -> None:
    written = moving(10)
    for frame, image in zip(read_clip(make_clip(tmp_path / name, written, codec)), written, strict=True):
        errors = [np.abs(frame.image.astype(int) - other).mean() for other in written]
        assert int(np.argmin(errors)) == frame.frame
        # Red stays red: a swap of channels would put the orange suit far off.
        assert np.abs(frame.image.mean((0, 1)) - image.mean((0, 1))).max() < 8


def test_a_gif_has_its_frames_and_times(tmp_path: Path, moving) -> None:
    path = tmp_path / "a.gif"
    first, *rest = (Image.fromarray(image) for image in moving(5))
    first.save(path, save_all=True, append_images=rest, duration=[100, 200, 50, 300, 100], loop=0)
    assert is_animated(path)
    frames = list(read_clip(path))
    assert [frame.frame for frame in frames] == list(range(5))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.3, 0.35, 0.65], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx-vp9"), ("a.mkv", "libx264")]
)
def test_times_of_a_variable_frame_rate_are_exact(
    name: str, codec: str, tmp_path: Path, moving, make_clip
) -> None:
    times_ms = [0, 40, 50, 210, 211, 500, 1500, 1533]
    path = make_clip(tmp_path / name, moving(8), codec, times_ms)
    assert [frame.time_s for frame in read_clip(path)] == pytest.approx(
        [t / 1000 for t in times_ms], abs=1e-6
    )


def test_frames_that_refer_to_later_ones_come_in_order_of_presentation(
    tmp_path: Path, moving, make_clip
) -> None:
    path = make_clip(tmp_path / "b.mp4", moving(16), options={"bf": "3", "b_strategy": "0"})
    with av.open(str(path)) as container:
        kinds = {int(frame.pict_type) for frame in container.decode(video=0)}
    assert 3 in kinds, "the clip holds no B frame, so this test would show nothing"
    times = [frame.time_s for frame in read_clip(path)]
    assert times == pytest.approx([index / 25 for index in range(16)], abs=1e-3)


@pytest.mark.parametrize(
    ("every_s", "expected"),
    [
        (0.04, list(range(25))),
        (0.001, list(range(25))),
        (0.08, list(range(0, 25, 2))),
        (0.2, [0, 5, 10, 15, 20]),
        (0.5, [0, 13]),
        (10.0, [0]),
    ],
)
def test_one_frame_in_so_many_seconds(
    every_s: float, expected: list, tmp_path: Path, moving, make_clip
) -> None:
    path = make_clip(tmp_path / "a.mp4", moving(25))
    frames = list(read_clip(path, Span(every_s=every_s)))
    assert [frame.frame for frame in frames] == expected
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in expected], abs=1e-3)


def test_one_frame_in_so_many_seconds_does_not_drift(tmp_path: Path, make_clip) -> None:
    small = [np.full((32, 32, 3), index, np.uint8) for index in range(150)]
    frames = [frame.frame for frame in read_clip(make_clip(tmp_path / "a.mp4", small), Span(every_s=0.1))]
    assert len(frames) == 60
    assert frames[-1] == 148


def test_a_pause_longer_than_the_step_does_not_flood(tmp_path: Path, moving, make_clip) -> None:
    times_ms = [0, 40, 2000, 2040, 2080, 2120, 2160, 2200]
    frames = list(read_clip(make_clip(tmp_path / "a.mp4", moving(8), times_ms=times_ms), Span(every_s=0.1)))
    given = [frame.frame for frame in frames]
    assert given[:2] == [0, 2]
    assert 3 not in given, "40 ms after the last one given, though one in 100 ms was asked for"


def test_a_pause_in_an_animated_picture_does_not_flood(tmp_path: Path, moving) -> None:
    path = tmp_path / "a.png"
    first, *rest = (Image.fromarray(image) for image in moving(6))
    first.save(path, save_all=True, append_images=rest, duration=[40, 2000, 40, 40, 40, 40])
    given = [frame.frame for frame in read_animation(path, Span(every_s=0.1))]
    assert given[:2] == [0, 2]
    assert 3 not in given


def test_reading_is_lazy(tmp_path: Path, make_clip, monkeypatch: pytest.MonkeyPatch) -> None:
    shades = [np.full((64, 64, 3), index % 200, np.uint8) for index in range(300)]
    path = make_clip(tmp_path / "long.mp4", shades, options={"bf": "0", "g": "10"})
    turned = []
    original = clips.upright
    monkeypatch.setattr(clips, "upright", lambda frame: turned.append(1) or original(frame))
    assert [frame.frame for frame in itertools.islice(read_clip(path), 3)] == [0, 1, 2]
    assert len(turned) == 3


def test_left_out_frames_are_not_converted(tmp_path: Path, moving, make_clip, monkeypatch) -> None:
    path = make_clip(tmp_path / "a.mp4", moving(25))
    turned = []
    original = clips.upright
    monkeypatch.setattr(clips, "upright", lambda frame: turned.append(1) or original(frame))
    assert len(list(read_clip(path, Span(every_s=0.2)))) == len(turned) == 5


def test_the_header(tmp_path: Path, moving, make_clip) -> None:
    info = clip_info(make_clip(tmp_path / "a.mp4", moving(25)))
    assert info.frames == 25
    assert info.duration_s == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_phone_rotation_is_undone(turns: int, portrait: np.ndarray) -> None:
    """FFmpeg's rotation is counter-clockwise, in degrees: what has to be done to the stored frame."""

    class Stored:
        format = av.VideoFormat("yuv420p")
        rotation = {1: 90, 2: 180, 3: -90}[turns]

        def to_ndarray(self, format: str) -> np.ndarray:
            assert format == "rgb24"
            return np.rot90(portrait[:200], -turns)

    assert np.array_equal(clips.upright(Stored()), portrait[:200])


def with_rotation(path: Path, degrees: int) -> None:
    """Write a turn into the track's matrix, as phones do."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # version 0: 36 bytes of fields after the 4 of version and flags
    one, minus = (0x10000).to_bytes(4, "big"), (0xFFFF0000).to_bytes(4, "big")
    zero, last = bytes(4), (0x40000000).to_bytes(4, "big")
    linear = {90: (zero, one, minus, zero), 180: (minus, zero, zero, minus), 270: (zero, minus, one, zero)}
    a, b, c, d = linear[degrees]
    content[place : place + 36] = a + b + zero + c + d + zero + zero + zero + last
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_clip_filmed_with_a_turned_phone_is_upright(
    degrees: int, tmp_path: Path, portrait, make_clip
) -> None:
    """A matrix of 90 degrees says: turn the stored frame clockwise by 90 to show it."""
    upright = np.ascontiguousarray(portrait[:200])
    stored = np.rot90(upright, degrees // 90)
    path = make_clip(tmp_path / "phone.mp4", [stored] * 3)
    with_rotation(path, degrees)
    for frame in read_clip(path):
        assert frame.image.shape == upright.shape
        assert np.abs(frame.image.astype(int) - upright).mean() < 6


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_animated_pictures(suffix: str, tmp_path: Path, moving) -> None:
    path, written = tmp_path / f"a{suffix}", moving(4)
    first, *rest = (Image.fromarray(image) for image in written)
    options = {"lossless": True} if suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=[100, 200, 50, 300], **options)
    assert is_animated(path)
    frames = list(read_animation(path))
    assert [frame.frame for frame in frames] == list(range(4))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.3, 0.35])
    for frame, image in zip(frames, written, strict=True):
        assert np.array_equal(frame.image, image)


def test_every_works_on_animated_pictures(tmp_path: Path, moving) -> None:
    path = tmp_path / "a.png"
    first, *rest = (Image.fromarray(image) for image in moving(10))
    first.save(path, save_all=True, append_images=rest, duration=100)
    assert [frame.frame for frame in read_animation(path, Span(every_s=0.3))] == [0, 3, 6, 9]


def test_a_still_picture_is_not_animated(tmp_path: Path, portrait_file: Path) -> None:
    assert not is_animated(portrait_file)
    (tmp_path / "a.png").write_bytes(b"")
    assert not is_animated(tmp_path / "a.png")


def test_frames_over_the_limit_are_refused(tmp_path: Path, moving, make_clip, monkeypatch) -> None:
    path = make_clip(tmp_path / "a.mp4", moving(2))
    monkeypatch.setattr(clips, "MAX_PIXELS", 256 * 256 - 1)
    with pytest.raises(InputError, match="got 256 x 256"):
        next(read_clip(path))


@pytest.mark.data
def test_real_clips_of_a_face_that_comes_and_goes(photos_root: Path, analyzer) -> None:
    results = list(analyzer.stream(photos_root / "pyfeat" / "noface_face.mov", every_s=0.25))
    seen = [len(result.faces) for result in results]
    assert seen[0] == 0
    assert seen[-1] == 1
