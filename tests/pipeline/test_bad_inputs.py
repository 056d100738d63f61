"""Broken, odd and hostile files: each says what is wrong, and the files after it are analysed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.pipeline.analyzer import Analyzer
from mien.types.media import Failure, FrameResult


def jpeg(path: Path, image: np.ndarray) -> bytes:
    Image.fromarray(image).save(path, quality=90)
    return path.read_bytes()


def zero_bytes(path: Path, image: np.ndarray) -> None:
    path.write_bytes(b"")


def text(path: Path, image: np.ndarray) -> None:
    path.write_text("this is a shopping list: milk, bread")


def web_page(path: Path, image: np.ndarray) -> None:
    path.write_text("<!DOCTYPE html><html><body>404 not found</body></html>")


def truncated_jpeg(path: Path, image: np.ndarray) -> None:
    content = jpeg(path, image)
    path.write_bytes(content[: len(content) // 2])


def truncated_png(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, format="PNG")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def only_a_header(path: Path, image: np.ndarray) -> None:
    path.write_bytes(jpeg(path, image)[:20])


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes of PNG whose header promises a huge picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bomb(path: Path, image: np.ndarray) -> None:
    path.write_bytes(png_that_claims(60_000, 60_000))


def audio_only(path: Path, image: np.ndarray) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())


BAD = [
    ("empty.jpg", zero_bytes, "expected a picture, got a file of zero bytes. Copy or export it again."),
    ("list.jpg", text, "expected a picture (*), got text that begins 'this is a shopping list*Convert it"),
    ("page.png", web_page, "expected a picture (*), got a web page. Convert it to JPEG or PNG."),
    ("half.jpg", truncated_jpeg, "expected a whole picture, got one that breaks off or is damaged (*). Copy"),
    ("half.png", truncated_png, "expected a whole picture, got one that breaks off or is damaged (*). Copy"),
    ("head.jpg", only_a_header, "expected a *, got *"),
    ("bomb.png", bomb, "expected at most 150 million pixels, got *. Make it smaller first."),
    ("empty.mp4", zero_bytes, "expected a clip, got a file of zero bytes. Copy or export it again."),
    (
        "list.mp4",
        text,
        "expected a clip (*), got a file that cannot be opened as one (*copy or export it again.",
    ),
    (
        "list.webm",
        text,
        "expected a clip (*), got a file that cannot be opened as one (*copy or export it again.",
    ),
    (
        "sound.mp4",
        audio_only,
        "expected a clip with pictures, got a file without a video stream. Choose another",
    ),
    ("empty.gif", zero_bytes, "expected a *, got a file of zero bytes. Copy or export it again."),
    ("list.gif", text, "expected a *, got *"),
]


def fits(message: str, pattern: str) -> bool:
    """Whether the parts of a pattern, split at `*`, occur in a message one after the other."""
    place = 0
    for part in pattern.split("*"):
        place = message.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


@pytest.mark.parametrize(
    ("name", "make", "message"), BAD, ids=[f"{make.__name__}-{name}" for name, make, _ in BAD]
)
def test_a_bad_file_says_what_is_wrong_and_the_rest_goes_on(
    name: str,
    make: Callable[[Path, np.ndarray], None],
    message: str,
    tmp_path: Path,
    portrait: np.ndarray,
    portrait_file: Path,
    analyzer: Analyzer,
) -> None:
    bad = tmp_path / name
    make(bad, portrait)
    failure, good = analyzer.stream([bad, portrait_file])
    assert isinstance(failure, Failure)
    assert failure.path == str(bad)
    assert fits(failure.error, message), failure.error
    assert isinstance(good, FrameResult)
    assert len(good.faces) == 1


def test_a_missing_path_an_empty_folder_and_a_pattern_without_a_match(
    tmp_path: Path, portrait_file: Path, analyzer: Analyzer
) -> None:
    (tmp_path / "hollow").mkdir()
    endless = tmp_path / ("a" * 300 + ".jpg")
    paths = [tmp_path / "gone.jpg", endless, tmp_path / "hollow", str(tmp_path / "*.webp"), portrait_file]
    gone, too_long, hollow, pattern, good = analyzer.stream(paths)
    assert "expected a file, got a path that is not there. Check the spelling." in gone.error
    assert too_long.error == gone.error
    assert "expected pictures or clips in this folder, got none" in hollow.error
    assert "expected the pattern to match files, got no match" in pattern.error
    assert {failure.kind for failure in (gone, hollow, pattern)} == {"InputNotFoundError"}
    assert len(good.faces) == 1


def test_a_folder_with_every_bad_file_still_gives_its_good_one(
    tmp_path: Path, portrait: np.ndarray, portrait_file: Path, analyzer: Analyzer
) -> None:
    for name, make, _ in BAD:
        make(tmp_path / name, portrait)
    results = list(analyzer.stream(tmp_path))
    good = [result for result in results if isinstance(result, FrameResult)]
    assert [result.path for result in good] == [str(portrait_file)]
    assert len(results) == len(BAD) + 1


@pytest.mark.parametrize("size", [(1, 1), (20_000, 20), (20, 20_000), (2, 3)])
def test_odd_sizes_are_pictures_without_a_face(
    size: tuple[int, int], tmp_path: Path, analyzer: Analyzer
) -> None:
    path = tmp_path / "odd.png"
    Image.new("RGB", size, "#806040").save(path)
    (result,) = analyzer.stream(path)
    assert isinstance(result, FrameResult)
    assert len(result.faces) == 0
    assert result.size_wh_px == size


def test_a_png_named_jpg_is_read(tmp_path: Path, portrait: np.ndarray, analyzer: Analyzer) -> None:
    path = tmp_path / "wrong.jpg"
    Image.fromarray(portrait).save(path, format="PNG")
    (result,) = analyzer.stream(path)
    assert len(result.faces) == 1


def test_a_png_named_mp4_is_read_or_refused_in_one_row(
    tmp_path: Path, portrait: np.ndarray, analyzer: Analyzer
) -> None:
    path = tmp_path / "picture.mp4"
    Image.fromarray(portrait).save(path, format="PNG")
    (result,) = analyzer.stream(path)
    if isinstance(result, Failure):
        assert fits(result.error, "expected *, got *")
    else:
        assert len(result.faces) == 1


def test_an_mp4_named_jpg_is_read_as_the_clip_it_is(
    tmp_path: Path, moving, make_clip, analyzer: Analyzer
) -> None:
    path = make_clip(tmp_path / "clip.mp4", moving(5)).rename(tmp_path / "clip.jpg")
    results = list(analyzer.stream(path))
    assert [result.frame for result in results] == list(range(5))
    assert all(len(result.faces) == 1 for result in results)


def test_a_clip_cut_in_the_middle_without_its_index(
    tmp_path: Path, moving, make_clip, analyzer: Analyzer
) -> None:
    content = make_clip(tmp_path / "whole.mp4", moving(20)).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    (failure,) = analyzer.stream(cut)
    assert fits(failure.error, "expected a clip (*), got a file that cannot be opened as one (*cut off")


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("c.mp4", "libx264", {"g": "1"}),
        ("c.webm", "libvpx-vp9", {"g": "1", "lag-in-frames": "0"}),
        ("c.avi", "mjpeg", {}),
    ],
)
def test_a_clip_cut_in_the_middle_gives_its_good_frames_and_then_says_so(
    name: str, codec: str, options: dict, tmp_path: Path, moving, make_clip, analyzer: Analyzer
) -> None:
    path = tmp_path / name
    if name.endswith(".mp4"):
        content = faststart(tmp_path, moving(20), options)
    else:
        content = make_clip(path, moving(20), codec, options=options).read_bytes()
    path.write_bytes(content[: round(len(content) * 0.6)])
    *good, failure = analyzer.stream(path)
    assert isinstance(failure, Failure), "a clip that breaks off must not look whole"
    assert fits(failure.error, "expected *got *The rows before it stand; copy or export the clip again")
    assert 4 <= len(good) <= 16
    assert [result.frame for result in good] == list(range(len(good)))


def faststart(folder: Path, frames: list[np.ndarray], options: dict) -> bytes:
    """An MP4 with its index in front, so that a part of it can be opened."""
    path = folder / "front.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def test_a_truncated_animation_gives_its_good_frames_and_then_says_so(
    tmp_path: Path, moving, analyzer: Analyzer
) -> None:
    path = tmp_path / "a.png"
    first, *rest = (Image.fromarray(image) for image in moving(6))
    first.save(path, save_all=True, append_images=rest, duration=100)
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * 0.7)])
    *good, last = analyzer.stream(path)
    assert isinstance(last, Failure)
    assert fits(
        last.error, "expected a whole animation, got one that breaks off after frame *Export it again."
    )
    assert good
    assert [result.frame for result in good] == list(range(len(good)))


def test_a_file_that_may_not_be_read(
    tmp_path: Path, portrait_file: Path, analyzer: Analyzer, monkeypatch
) -> None:
    locked = tmp_path / "locked.png"
    locked.write_bytes(b"x")
    original = Path.open

    def refuse(self: Path, *args, **options):
        if self == locked:
            raise PermissionError(13, "Permission denied")
        return original(self, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    failure, good = analyzer.stream([locked, portrait_file])
    assert failure.error == "expected a readable file, got: Permission denied. Check its permissions."
    assert len(good.faces) == 1
