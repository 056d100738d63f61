"""What several test files share: pictures, networks, clips drawn on the spot, and real data where it lies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.demo import PICTURES
from mien.explain.endpoint import LanguageModel
from mien.faces.yunet import YuNet
from mien.methods.runner import ExpressionRunner
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.pictures import read_picture
from mien.weights.store import load_weights

DATA = Path(os.environ.get("MIEN_DATA") or Path(__file__).parents[1] / "../shared/data").resolve()

ClipMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    if not DATA.is_dir():
        pytest.skip("real data is not beside the project; set MIEN_DATA to the folder that holds it")
    return DATA


@pytest.fixture(scope="session")
def ferplus_root(data_folder: Path) -> Path:
    if not (data_folder / "fer2013_ferplus" / "train.npz").is_file():
        pytest.skip("FER2013 with FER+ votes is not in the data folder (MIEN_DATA)")
    return data_folder / "fer2013_ferplus"


@pytest.fixture(scope="session")
def muxspace_root(data_folder: Path) -> Path:
    if not (data_folder / "muxspace" / "labels.csv").is_file():
        pytest.skip("muxspace is not in the data folder (MIEN_DATA)")
    return data_folder / "muxspace"


@pytest.fixture(scope="session")
def photos_root(data_folder: Path) -> Path:
    if not (data_folder / "photos").is_dir():
        pytest.skip("the test photographs are not in the data folder (MIEN_DATA)")
    return data_folder / "photos"


@pytest.fixture(scope="session")
def astronaut_path() -> Path:
    return PICTURES / "astronaut.jpg"


@pytest.fixture(scope="session")
def astronaut(astronaut_path: Path) -> np.ndarray:
    return _frozen(read_picture(astronaut_path))


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    return _frozen(read_picture(PICTURES / "grace_hopper.jpg"))


@pytest.fixture(scope="session")
def page() -> np.ndarray:
    return _frozen(read_picture(PICTURES / "page.jpg"))


def _frozen(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image.setflags(write=False)
    return image


@pytest.fixture(scope="session")
def portrait(astronaut: np.ndarray) -> np.ndarray:
    """Head and shoulders of the astronaut, 256 x 256: one face, quick to search."""
    return _frozen(astronaut[:256, 96:352])


@pytest.fixture(scope="session")
def detector() -> YuNet:
    return YuNet(load_weights("yunet"), threads=1)


@pytest.fixture(scope="session")
def runner() -> ExpressionRunner:
    return ExpressionRunner(load_weights("expression"), threads=1)


@pytest.fixture(scope="session")
def analyzer() -> Analyzer:
    return Analyzer(threads=1)


@pytest.fixture(scope="session")
def moving(portrait: np.ndarray) -> Callable[[int], list[np.ndarray]]:
    """So many frames of the portrait that moves to the right, two pixels a frame."""

    def frames(count: int) -> list[np.ndarray]:
        return [np.roll(portrait, 2 * index, axis=1) for index in range(count)]

    return frames


@pytest.fixture(scope="session")
def make_clip() -> ClipMaker:
    """Writes frames as a clip: path, frames, codec, and presentation times in thousandths of a second."""

    def make(
        path: Path,
        frames: Sequence[np.ndarray],
        codec: str = "libx264",
        times_ms: Sequence[int] | None = None,
        options: dict[str, str] | None = None,
    ) -> Path:
        pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        times_ms = times_ms or [40 * index for index in range(len(frames))]
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pix_fmt
            unit = Fraction(1, 25) if codec in ("mjpeg", "mpeg4") else Fraction(1, 1000)
            stream.codec_context.time_base = unit
            for image, time_ms in zip(frames, times_ms, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24").reformat(
                    format=pix_fmt
                )
                frame.pts, frame.time_base = round(time_ms / 1000 / unit), unit
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture
def portrait_file(tmp_path: Path, portrait: np.ndarray) -> Path:
    path = tmp_path / "portrait.png"
    Image.fromarray(portrait).save(path)
    return path


class LanguageServer:
    """An endpoint of our own: it answers with what a test puts there, and keeps what it was sent."""

    def __init__(self):
        self.requests, self.headers = [], []
        self.status, self.body, self.kind, self.wait_s, self.refuses_schema = (
            200,
            b"",
            "application/json",
            0.0,
            False,
        )
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.reply(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.model = LanguageModel(f"http://127.0.0.1:{self.http.server_port}/v1", timeout_s=5)

    def says(self, content, reason="stop"):
        self.body = json.dumps(
            {"choices": [{"message": {"content": content}, "finish_reason": reason}]}
        ).encode()

    def reply(self, handler):
        request = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.requests.append(request)
        self.headers.append(dict(handler.headers))
        time.sleep(self.wait_s)
        refused = self.refuses_schema and "response_format" in request
        handler.send_response(400 if refused else self.status)
        handler.send_header("Content-Type", self.kind)
        handler.send_header("Location", "http://example.org/")
        handler.end_headers()
        with contextlib.suppress(OSError):  # the client may have given up
            handler.wfile.write(b'{"error": "no response_format here"}' if refused else self.body)


@pytest.fixture
def language_server():
    server = LanguageServer()
    yield server
    server.http.shutdown()
    server.http.server_close()


class ServiceProcess:
    """The service as a process of its own, as the command starts it.

    Args:
        home: its folder.
        *options: of `mien serve`.
        **environment: variables that it sees besides ours.

    Attributes:
        port, base: where it listens.
        log: its lines, a JSON object each.
    """

    def __init__(self, home: Path, *options: str, **environment: str) -> None:
        self.home = home
        self._log = (home.parent / f"{home.name}-{time.monotonic_ns()}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mien.cli", "serve", "--port", "0", "--threads", "1", "--home", str(home), *options],
            stderr=self._log, env={**os.environ, **environment},
        )  # fmt: skip
        end = time.monotonic() + 120
        while not (found := [line for line in self.log if line["event"] == "listening"]):
            assert self.process.poll() is None and time.monotonic() < end, self.text
            time.sleep(0.05)
        self.port = found[0]["port"]
        self.base = f"http://127.0.0.1:{self.port}"

    @property
    def text(self) -> str:
        return Path(self._log.name).read_text()

    @property
    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.text.splitlines() if line.endswith("}")]

    def memory_mb(self) -> float:
        """Memory of the process itself that is in use, not that of its readers."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6

    def files(self) -> int:
        """Open files and sockets."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self, sign: int = signal.SIGTERM) -> int:
        self.process.send_signal(sign)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def service_process():
    return ServiceProcess
