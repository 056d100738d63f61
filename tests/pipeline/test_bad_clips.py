"""Clips that are odd or broken: every frame that can be had is given, and what was wrong is said at the end."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mien.errors import InputError
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.clips import ClipFrame, read_clip
from mien.types.media import Failure, FrameResult


def shades(count: int, size_wh: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    return [np.full((size_wh[1], size_wh[0], 3), 20 + 8 * index, np.uint8) for index in range(count)]


def given(path: Path) -> tuple[list[ClipFrame], str]:
    """The frames of a clip, and what was said at the end."""
    frames = []
    try:
        for frame in read_clip(path):
            frames.append(frame)
    except InputError as error:
        return frames, str(error)
    return frames, ""


def encode(path: Path, images: list[np.ndarray], codec: str, pix_fmt: str) -> Path:
    """Write RGB or RGBA pictures with a codec and pixel format."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgba" if image.shape[2] == 4 else "rgb24")
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("codec", "name"), [("mjpeg", "a.avi"), ("libvpx-vp9", "a.webm"), ("ffv1", "a.mkv")])
@pytest.mark.parametrize("size_wh", [(33, 47), (101, 64), (64, 17)])
def test_odd_sizes_are_kept(codec: str, name: str, size_wh: tuple[int, int], tmp_path: Path) -> None:
    pix_fmt = {"mjpeg": "yuvj444p", "ffv1": "yuv444p", "libvpx-vp9": "yuv420p"}[codec]
    frames, said = given(encode(tmp_path / name, shades(5, size_wh), codec, pix_fmt))
    assert said == ""
    assert [frame.image.shape for frame in frames] == [(size_wh[1], size_wh[0], 3)] * 5
    assert [int(frame.image.mean()) for frame in frames] == pytest.approx([20, 28, 36, 44, 52], abs=4)


@pytest.mark.parametrize(
    ("codec", "name", "pix_fmt"),
    [
        ("ffv1", "a.mkv", "yuv420p10le"),
        ("libx264", "a.mp4", "yuv420p10le"),
        ("libx265", "a.mov", "yuv420p10le"),
    ],
)
def test_ten_bits_become_eight(codec: str, name: str, pix_fmt: str, tmp_path: Path, portrait) -> None:
    path = encode(tmp_path / name, [np.ascontiguousarray(portrait)] * 3, codec, pix_fmt)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == pix_fmt
    frames, said = given(path)
    assert said == "" and len(frames) == 3
    assert all(frame.image.dtype == np.uint8 for frame in frames)
    assert np.abs(frames[0].image.astype(int) - portrait).mean() < 6


@pytest.mark.parametrize(
    ("codec", "name", "pix_fmt"),
    [("png", "a.mov", "rgba"), ("qtrle", "a.mov", "argb"), ("ffv1", "a.mkv", "yuva420p")],
)
def test_alpha_is_laid_on_white(codec: str, name: str, pix_fmt: str, tmp_path: Path) -> None:
    layered = np.zeros((48, 64, 4), np.uint8)
    layered[..., 0] = 200
    layered[:, :32, 3] = 255
    layered[:, 48:, 3] = 128
    frames, said = given(encode(tmp_path / name, [layered] * 2, codec, pix_fmt))
    assert said == "" and len(frames) == 2
    image = frames[1].image.astype(int)
    assert image.shape == (48, 64, 3)
    assert np.abs(image[:, 4:28] - [200, 0, 0]).max() < 6
    assert np.abs(image[:, 36:44] - 255).max() < 6
    assert np.abs(image[:, 52:60] - [227, 127, 127]).max() < 6


def with_matrix(path: Path, words: tuple[float, float, float, float]) -> Path:
    """Write any linear part into the track's matrix; 1 is 0x10000 there."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    a, b, c, d = (round(word * 0x10000).to_bytes(4, "big", signed=True) for word in words)
    content[place : place + 36] = a + b + bytes(4) + c + d + bytes(12) + (0x40000000).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("words", "turn"), [((0.8, 0.6, -0.6, 0.8), r"-?(37|36)"), ((0.0, 0.0, 0.0, 0.0), "nan|-?[0-9]+")]
)
def test_a_rotation_flag_that_is_none_is_said(
    words: tuple[float, float, float, float], turn: str, tmp_path: Path, make_clip
) -> None:
    path = with_matrix(make_clip(tmp_path / "a.mp4", shades(5)), words)
    frames, said = given(path)
    assert len(frames) == 5
    assert all(frame.image.shape == (48, 64, 3) for frame in frames)
    if any(words):
        assert "expected a rotation by quarter turns, got" in said
        assert "the frames are taken as stored" in said


def test_frames_that_a_capture_dropped_are_not_missing(tmp_path: Path, make_clip) -> None:
    """AVI counts them in its header; a clip that was cut off is short as well."""
    times_ms = [40 * index for index in range(30) if index % 4]
    path = make_clip(tmp_path / "gaps.avi", shades(len(times_ms)), codec="mjpeg", times_ms=times_ms)
    frames, said = given(path)
    assert len(frames) == len(times_ms) and said == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, said = given(path)
    assert 0 < len(frames) < len(times_ms) and "the clip breaks off" in said


def test_times_that_go_back_are_kept_and_said(tmp_path: Path, make_clip) -> None:
    """Two recordings put one after the other as bytes: the clock starts anew in the middle."""
    first = make_clip(tmp_path / "a.ts", shades(10), options={"bf": "0"})
    second = make_clip(tmp_path / "b.ts", shades(10), options={"bf": "0"})
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    frames, said = given(path)
    assert [frame.frame for frame in frames] == list(range(20))
    steps = np.diff([frame.time_s for frame in frames])
    assert steps.min() < 0, "the clock did not go back, so this test shows nothing"
    assert "expected times that rise, got 1 that do not, the first" in said
    assert "The rows before it stand" in said


def test_frames_without_a_time_are_counted_on_and_said(tmp_path: Path, make_clip) -> None:
    frames, said = given(make_clip(tmp_path / "raw.h264", shades(10), options={"bf": "0"}))
    assert [frame.frame for frame in frames] == list(range(10))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(10)])
    assert "expected a time for each frame, got none for 10 of 10, whose times are counted on" in said


def test_a_damaged_piece_in_the_middle_costs_only_itself(tmp_path: Path, make_clip) -> None:
    path = make_clip(tmp_path / "a.avi", shades(20), "mjpeg")
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    start, size = places[8]
    content[start + 8 : start + size] = bytes(size - 8)
    path.write_bytes(bytes(content))
    frames, said = given(path)
    assert [round(frame.time_s * 25) for frame in frames] == [index for index in range(20) if index != 8]
    assert "expected frames that can be decoded, got 1 damaged pieces" in said


def test_a_clip_without_a_frame_says_so(tmp_path: Path) -> None:
    path = tmp_path / "none.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    frames, said = given(path)
    assert frames == []
    assert said.startswith("expected a clip") and "got" in said


def test_a_cover_picture_is_not_the_clip(tmp_path: Path, make_clip, moving) -> None:
    """Sound files carry a picture of the cover as a video stream; the one that moves is meant."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        still = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24").reformat(
            format="yuvj420p"
        )
        container.mux(cover.encode(still))
        container.mux(cover.encode())
        for image in shades(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    frames, said = given(path)
    assert (len(frames), said) == (6, "")
    assert frames[0].image.shape == (48, 64, 3)


def test_a_face_of_two_frames_and_a_failure_become_rows(
    tmp_path: Path, make_clip, portrait, analyzer: Analyzer
) -> None:
    empty = np.full_like(portrait, 90)
    frames = [portrait if index in (3, 4) else empty for index in range(8)]
    path = make_clip(tmp_path / "raw.h264", frames, options={"bf": "0"}).rename(tmp_path / "raw.mp4")
    *results, failure = analyzer.stream(path)
    assert all(isinstance(result, FrameResult) for result in results)
    assert [len(result.faces) for result in results] == [0, 0, 0, 1, 1, 0, 0, 0]
    assert [result.faces.track_id.tolist() for result in results if len(result.faces)] == [[0], [0]]
    assert isinstance(failure, Failure)
    assert "got none for 8 of 8" in failure.error


def test_a_play_list_is_no_clip(tmp_path: Path, make_clip) -> None:
    part = make_clip(tmp_path / "part.ts", shades(25))
    lists = tmp_path / "list.m3u8", tmp_path / "list.txt"
    lists[0].write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{part}\n#EXT-X-ENDLIST\n")
    lists[1].write_text(f"ffconcat version 1.0\nfile {part.name}\n")
    for path in lists:
        with av.open(str(path)) as container:  # FFmpeg alone reads the file that is named
            assert container.streams.video
        assert given(path) == ([], given(path)[1])
        assert "expected a clip" in given(path)[1]
