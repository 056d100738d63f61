"""A part of a clip: the same frames, indices and times as those of the whole, and little of the rest decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from mien.errors import InputError, OptionError
from mien.pipeline import decoding
from mien.pipeline.clips import Span, read_animation, read_clip

KINDS = [
    ("a.mp4", "libx264", {"g": "10", "bf": "0"}),
    ("b.mp4", "libx264", {"g": "10", "bf": "3", "b_strategy": "0"}),
    ("open.mp4", "libx264", {"g": "10", "bf": "2", "b_strategy": "0", "x264-params": "open-gop=1"}),
    ("a.mkv", "libx264", {"g": "10", "bf": "3", "b_strategy": "0"}),
    ("a.mov", "libx264", {"g": "10", "bf": "3"}),
    ("a.webm", "libvpx-vp9", {"g": "10"}),
    ("a.avi", "mjpeg", {}),
    ("a.avi", "mpeg4", {"g": "10", "bf": "2"}),
    ("a.ts", "libx264", {"g": "10", "bf": "2"}),
    ("a.gif", "gif", {}),
]
IDS = [f"{name}-{codec}" for name, codec, _ in KINDS]


def shades(count: int) -> list[np.ndarray]:
    """Frames that can be told apart by their brightness, with a line that moves."""
    frames = []
    for index in range(count):
        frame = np.full((48, 64, 3), 20 + 5 * index, np.uint8)
        frame[:, index % 64] = 255
        frames.append(frame)
    return frames


def seen(path: Path, span: Span | None = None) -> list[tuple[int, float, float]]:
    """Index, time and brightness of each frame that is given."""
    frames = []
    for frame in read_clip(path, span):
        frames.append((frame.frame, frame.time_s, float(frame.image.mean())))
    return frames


@pytest.mark.parametrize(("name", "codec", "options"), KINDS, ids=IDS)
def test_a_part_is_that_part_of_the_whole(
    name: str, codec: str, options: dict, tmp_path: Path, make_clip
) -> None:
    path = make_clip(tmp_path / name, shades(40), codec, options=options)
    whole = seen(path)
    first = whole[0][1]
    assert [frame for frame, _, _ in whole] == list(range(40))
    for start_s, end_s in ((0.0, None), (0.43, None), (0.4, 0.8), (0.81, 1.2), (1.3, None), (0.0, 0.5)):
        start_s, end_s = first + start_s, None if end_s is None else first + end_s
        expected = [
            frame
            for frame in whole
            if frame[1] >= start_s - 1e-9 and (end_s is None or frame[1] < end_s - 1e-9)
        ]
        assert len(expected) > 5
        assert seen(path, Span(start_s, end_s)) == expected


@pytest.mark.parametrize(
    ("name", "codec"), [("v.mp4", "libx264"), ("v.mkv", "libx264"), ("v.webm", "libvpx-vp9")]
)
def test_a_part_of_a_variable_frame_rate_is_exact(name: str, codec: str, tmp_path: Path, make_clip) -> None:
    random = np.random.default_rng(3)
    times_ms = np.cumsum(random.integers(3, 400, 40)).tolist()
    path = make_clip(tmp_path / name, shades(40), codec, times_ms, {"g": "8"})
    for start in (0, 7, 8, 23, 39):
        part = seen(path, Span(times_ms[start] / 1000))
        assert [frame for frame, _, _ in part] == list(range(start, 40))
        assert [time_s for _, time_s, _ in part] == pytest.approx(
            [t / 1000 for t in times_ms[start:]], abs=1e-6
        )


@pytest.mark.parametrize(("name", "codec", "options"), KINDS[:-2], ids=IDS[:-2])
def test_what_lies_before_the_key_frame_is_not_decoded(
    name: str, codec: str, options: dict, tmp_path: Path, make_clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / name, shades(40), codec, options=options)
    decoded: list[int] = []
    original = decoding.Reading._time
    monkeypatch.setattr(
        decoding.Reading,
        "_time",
        lambda self, frame, stream: decoded.append(1) or original(self, frame, stream),
    )
    with av.open(str(path)) as container:
        first = float(next(container.decode(video=0)).time)
    part = seen(path, Span(first + 1.3, first + 1.36))
    assert [frame for frame, _, _ in part] == [33]
    assert len(decoded) < 20, "decoded from the beginning"


def test_every_counts_from_the_start_of_the_part(tmp_path: Path, make_clip) -> None:
    path = make_clip(tmp_path / "a.mp4", shades(40), options={"g": "10"})
    assert [frame for frame, _, _ in seen(path, Span(0.4, 1.2, every_s=0.2))] == [10, 15, 20, 25]


def test_a_start_after_the_end_says_so(tmp_path: Path, make_clip) -> None:
    said = r"expected a start within the clip, got 99 s of a clip whose last frame is at 1\.560 s\. Choose"
    for group in ("10", "99"):  # sought, and decoded from the beginning
        path = make_clip(tmp_path / f"{group}.mp4", shades(40), options={"g": group})
        with pytest.raises(InputError, match=said):
            seen(path, Span(99.0))


def test_a_part_between_two_frames_says_so(tmp_path: Path, make_clip) -> None:
    path = make_clip(tmp_path / "a.mp4", shades(40), options={"g": "10"})
    said = r"expected frames from 0\.41 s before 0\.43 s, got none; the next is at 0\.440 s\. Choose a longer part"
    with pytest.raises(InputError, match=said):
        seen(path, Span(0.41, 0.43))


def test_a_clip_that_breaks_off_after_the_part_is_no_matter_of_the_part(
    tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    content = make_clip(tmp_path / "whole.avi", shades(40), "mjpeg").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: round(len(content) * 0.6)])
    assert len(seen(cut, Span(0.2, 0.4))) == 5
    with pytest.raises(InputError, match="The rows before it stand"):
        seen(cut, Span(0.2))


def test_times_without_packets_times_are_decoded_from_the_beginning(tmp_path: Path, make_clip) -> None:
    path = make_clip(tmp_path / "raw.h264", shades(30), options={"g": "10", "bf": "0"})
    assert decoding.find_landing(path, 0.8) is None
    frames = []
    with pytest.raises(InputError, match=r"got none for 30 of 30, whose times are counted on"):
        for frame in read_clip(path, Span(0.8)):
            frames.append(frame.frame)
    assert frames == list(range(20, 30))


def test_a_part_of_an_animated_picture(tmp_path: Path, moving) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    first, *rest = (Image.fromarray(image) for image in moving(10))
    first.save(path, save_all=True, append_images=rest, duration=100)
    assert [frame.frame for frame in read_animation(path, Span(0.25, 0.6))] == [3, 4, 5]
    with pytest.raises(InputError, match=r"expected a start within the clip, got 7 s of"):
        list(read_animation(path, Span(7.0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_s": -1.0}, "expected start_s of at least 0 seconds, got -1.0"),
        ({"end_s": float("nan")}, "expected end_s of at least 0 seconds, got nan"),
        ({"start_s": 2.0, "end_s": 2.0}, r"expected end_s after start_s \(2 s\), got 2"),
        ({"every_s": float("inf")}, "expected every_s over 0 seconds, got inf"),
    ],
)
def test_parts_that_are_none_are_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Span(**options)


@pytest.mark.data
def test_real_clips_give_every_frame_and_the_same_part(photos_root: Path) -> None:
    found = sorted(path for path in photos_root.rglob("*") if path.suffix in (".mp4", ".mov", ".gif"))
    assert len(found) == 10
    for path in found:
        with av.open(str(path)) as container:
            times = [frame.time for frame in container.decode(video=0)]
        given = [(frame.frame, frame.time_s) for frame in read_clip(path)]
        assert given == list(enumerate(times)), path
        middle = len(times) // 2
        part = [(frame.frame, frame.time_s) for frame in read_clip(path, Span(times[middle]))]
        assert part == given[middle:], path
