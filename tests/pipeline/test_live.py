"""Live sources on this machine alone: servers on the loopback that send made pictures at a known pace."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.pipeline import live
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.clips import Span
from mien.pipeline.live import LiveSource, live_source, read_live
from mien.types.media import Failure, FrameResult

Talk = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Talk], int]]:
    """Starts a server that talks to one caller; gives its port."""
    opened = []

    def start(talk: Talk) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        opened.append(server)

        def run() -> None:
            try:
                caller, _ = server.accept()
                with caller:
                    talk(caller)
            except OSError:
                pass  # the caller hung up, as the tests want

        threading.Thread(target=run, daemon=True).start()
        return server.getsockname()[1]

    yield start
    for server in opened:
        server.close()


def jpeg(shade: int, size_wh: tuple[int, int] = (64, 48)) -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", size_wh, (shade, shade, shade)).save(stored, "JPEG", quality=95)
    return stored.getvalue()


def pictures(count: int, pause_s: float, first: int = 0, then_s: float = 0.0) -> Talk:
    """A camera as a web server: JPEG pictures one after the other, each brighter, and then the line is cut."""

    def talk(caller: socket.socket) -> None:
        caller.recv(4096)
        caller.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=next\r\n\r\n")
        for index in range(first, first + count):
            content = jpeg(10 + 4 * index)
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
            caller.sendall(head.encode() + content + b"\r\n")
            time.sleep(pause_s)
        time.sleep(then_s)

    return talk


def test_what_is_a_live_source() -> None:
    for text in (
        "camera:0",
        "camera:12",
        "rtsp://h/x",
        "RTSP://h/x",
        "http://h:80/x.mjpg",
        "https://h",
        "udp://h:1",
    ):
        assert live_source(text) == LiveSource(text)
    for text in ("camera.mp4", "camera:", "camera:x", "a/rtsp:/x", "clip.mp4", "rtsp", "/dev/video0"):
        assert live_source(text) is None


def test_no_password_is_shown() -> None:
    assert str(LiveSource("rtsp://me:secret@host/door")) == "rtsp://host/door"
    for address in (
        "rtsp://me:sec@ret@host/door",
        "rtsp://me:sec/ret@host/door",
        "http://host/door?user=me&password=secret",
    ):
        assert str(LiveSource(address)) in ("rtsp://host/door", "http://host/door")


def test_frames_come_in_order_and_a_source_that_vanishes_is_an_error(serve: Callable[[Talk], int]) -> None:
    source = LiveSource(f"http://127.0.0.1:{serve(pictures(30, 0.03))}/camera")
    frames = []
    with pytest.raises(
        InputError, match=r"expected http://127.0.0.1:\d+/camera to go on, got .* after (29|30) frames"
    ):
        for frame in read_live(source):
            frames.append(frame)
    assert np.diff([frame.time_s for frame in frames]).min() > 0
    assert len(frames) + sum(frame.dropped for frame in frames) == frames[-1].frame + 1
    assert [frame.frame for frame in frames] == sorted({frame.frame for frame in frames})
    # Each picture is what its number says, so that no number was given to another one.
    shades = [frame.image.mean() for frame in frames]
    assert shades == pytest.approx([10 + 4 * frame.frame for frame in frames], abs=3)


def test_a_slow_reader_gets_the_newest_frame_and_the_number_dropped(serve: Callable[[Talk], int]) -> None:
    source = LiveSource(f"http://127.0.0.1:{serve(pictures(50, 0.04))}/camera")
    frames, late = [], []
    with pytest.raises(InputError):
        for frame in read_live(source):
            frames.append(frame)
            if len(frames) == 1:
                begun = time.monotonic() - frame.time_s
            late.append(time.monotonic() - begun - frame.time_s)
            time.sleep(0.4)
    assert sum(frame.dropped for frame in frames) > 10
    assert len(frames) + sum(frame.dropped for frame in frames) == frames[-1].frame + 1
    # Without dropping, the delay would grow by 0.36 s a frame.
    assert len(frames) >= 4
    assert late[-2] - late[1] < 0.36


def test_one_frame_in_so_many_seconds_and_an_end(serve: Callable[[Talk], int]) -> None:
    source = LiveSource(f"http://127.0.0.1:{serve(pictures(200, 0.02))}/camera")
    frames = list(read_live(source, Span(start_s=0.3, end_s=1.2, every_s=0.3)))
    assert 1 <= len(frames) <= 3
    assert all(0.3 <= frame.time_s < 1.2 for frame in frames)
    assert np.diff([frame.time_s for frame in frames]).min(initial=1) > 0.15


def test_a_stream_with_times_of_its_own_keeps_them(
    serve: Callable[[Talk], int], tmp_path: Path, make_clip
) -> None:
    """MPEG-TS over a plain line, sent at once: times are the stream's, not those of arrival."""
    times_ms = [0, 40, 120, 500, 520, 1000]
    shades = [np.full((48, 64, 3), 20 + 30 * index, np.uint8) for index in range(6)]
    content = make_clip(tmp_path / "a.ts", shades, times_ms=times_ms, options={"bf": "0"}).read_bytes()

    def talk(caller: socket.socket) -> None:
        caller.sendall(content)

    frames = []
    with pytest.raises(InputError, match=r"to go on, got its end after 6 frames"):
        for frame in read_live(LiveSource(f"tcp://127.0.0.1:{serve(talk)}")):
            frames.append(frame)
    assert [frame.time_s for frame in frames] == pytest.approx(
        [times_ms[frame.frame] / 1000 for frame in frames], abs=1e-3
    )


def test_a_source_that_falls_silent_is_left(
    serve: Callable[[Talk], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE_S", 2.0)
    source = LiveSource(f"http://127.0.0.1:{serve(pictures(10, 0.02, then_s=60))}/camera")
    frames = []
    with pytest.raises(InputError, match=r"to go on, got .* after"):
        for frame in read_live(source):
            frames.append(frame)
    assert frames


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        InputError, match=r"expected rtsp://127.0.0.1:\d+/x to answer within 10 s, got: .*Check that"
    ):
        next(read_live(LiveSource(f"rtsp://127.0.0.1:{port}/x")))
    with pytest.raises(InputError, match=r"expected camera:99 to answer within 10 s, got: "):
        monkeypatch.setattr(live.sys, "platform", "linux")
        next(read_live(LiveSource("camera:99")))
    monkeypatch.setattr(live.sys, "platform", "win32")
    with pytest.raises(InputError, match=r"expected Linux or macOS to read camera:0 from, got win32\."):
        next(read_live(LiveSource("camera:0")))


def test_leaving_early_ends_the_thread(serve: Callable[[Talk], int]) -> None:
    source = LiveSource(f"http://127.0.0.1:{serve(pictures(400, 0.02))}/camera")
    frames = read_live(source)
    next(frames)
    frames.close()
    limit = time.monotonic() + 20
    while any(thread.name == f"mien {source}" for thread in threading.enumerate()):
        assert time.monotonic() < limit, "the thread goes on"
        time.sleep(0.05)


def test_the_analyzer_keeps_the_rows_and_records_the_failure(
    serve: Callable[[Talk], int], portrait, analyzer: Analyzer
) -> None:
    stored = io.BytesIO()
    Image.fromarray(portrait).save(stored, "JPEG", quality=92)
    content = stored.getvalue()

    def talk(caller: socket.socket) -> None:
        caller.recv(4096)
        caller.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=next\r\n\r\n")
        for _ in range(12):
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
            caller.sendall(head.encode() + content + b"\r\n")
            time.sleep(0.05)

    address = f"http://127.0.0.1:{serve(talk)}/camera"
    *results, failure = analyzer.stream([address])
    assert isinstance(failure, Failure) and failure.path == address
    assert "The rows before it stand" in failure.error
    assert all(isinstance(result, FrameResult) and result.path == address for result in results)
    assert results
    assert all(result.faces.track_id.tolist() == [0] for result in results)
    assert len(results) + sum(result.dropped for result in results) == results[-1].frame + 1


RTSP_ANSWERS = {
    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
    "PLAY": "Session: 1\r\n",
}


def test_an_rtsp_camera(serve: Callable[[Talk], int], tmp_path: Path, make_clip) -> None:
    """The least that RFC 2326 asks of a server: MPEG-TS in RTP packets (payload type 33, RFC 2250) on the same line."""
    shades = [np.full((48, 64, 3), 20 + 8 * index, np.uint8) for index in range(25)]
    content = make_clip(tmp_path / "a.ts", shades, options={"bf": "0", "g": "5"}).read_bytes()
    sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:0\r\n"

    def talk(caller: socket.socket) -> None:
        lines = caller.makefile("rb")
        verb = ""
        while verb != "PLAY":
            verb, number = lines.readline().decode().split(" ")[0], ""
            while (line := lines.readline().decode().strip()) != "":
                number = line.split(":")[1].strip() if line.lower().startswith("cseq") else number
            extra, body = RTSP_ANSWERS.get(verb, ""), ""
            if verb == "DESCRIBE":
                extra, body = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n", sdp
            caller.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{extra}\r\n{body}".encode())
        for sequence, start in enumerate(range(0, len(content), 7 * 188)):
            part = content[start : start + 7 * 188]
            rtp = (
                bytes([0x80, 33])
                + sequence.to_bytes(2, "big")
                + (sequence * 900).to_bytes(4, "big")
                + bytes(4)
                + part
            )
            caller.sendall(b"$\0" + len(rtp).to_bytes(2, "big") + rtp)
            time.sleep(0.01)

    frames = []
    with pytest.raises(InputError, match=r"to go on, got"):
        for frame in read_live(LiveSource(f"rtsp://127.0.0.1:{serve(talk)}/door")):
            frames.append(frame)
    assert frames
    assert [frame.image.mean() for frame in frames] == pytest.approx(
        [20 + 8 * frame.frame for frame in frames], abs=4
    )


def test_av_can_read_cameras_here() -> None:
    """The wheels of PyAV bring FFmpeg's camera input for Linux; elsewhere the error says what to do."""
    names = {name for format_ in av.formats_available for name in format_.split(",")}
    assert "rtsp" in names
    assert not live.sys.platform.startswith("linux") or "v4l2" in names
