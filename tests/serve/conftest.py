"""A service of our own on a folder of its own, and what is sent to it."""

from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

HAS_EXTRA = importlib.util.find_spec("fastapi") is not None
collect_ignore_glob = [] if HAS_EXTRA else ["test_*.py"]

Start = Callable[..., Any]


def pytest_report_header() -> str | None:
    return None if HAS_EXTRA else "tests/serve: left out, they need pip install 'mien[serve]' httpx"


@contextmanager
def started(**told: Any) -> Iterator[Any]:
    """A client of a service that runs while it is used."""
    from fastapi.testclient import TestClient

    from mien.serve.app import create_app
    from mien.serve.settings import Settings

    app = create_app(Settings(threads=1, **told))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        client.service = app.state.service  # type: ignore[attr-defined]
        yield client


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A service with the usual limits, shared by tests that change nothing of it for long."""
    with started(home=tmp_path_factory.mktemp("home")) as one:
        yield one


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a service with limits of a test's own, on the test's folder."""

    def begin(**told: Any) -> Any:
        return started(**{"home": tmp_path / "home", **told})

    return begin


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


def part(content: bytes, name: str = "a.png") -> tuple[str, tuple[str, bytes]]:
    """A part `file` of a form."""
    return "file", (name, content)


@pytest.fixture(scope="session")
def picture(portrait: np.ndarray) -> bytes:
    """One face, as a PNG."""
    return png(portrait)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, make_clip: Any, moving: Any) -> bytes:
    """Twelve frames of one face, as an MP4."""
    return make_clip(tmp_path_factory.mktemp("clip") / "face.mp4", moving(12)).read_bytes()


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory, make_clip: Any, moving: Any) -> bytes:
    """Enough frames to be stopped in the middle."""
    return make_clip(tmp_path_factory.mktemp("clip") / "long.mp4", moving(20) * 5).read_bytes()


def begin(client: Any, clip: bytes, name: str = "face.mp4", **options: str) -> dict[str, Any]:
    """Send a clip; the job."""
    answer = client.post("/v1/jobs", files=[part(clip, name)], data=options)
    assert answer.status_code == 202, answer.text
    return answer.json()


def wait_for(client: Any, job: dict[str, Any], *states: str, seconds: float = 60) -> dict[str, Any]:
    """The job when it is in one of the states, or finished."""
    end = time.monotonic() + seconds
    while True:
        now = client.get(job["links"]["self"]).json()
        if now["state"] in (*states, "done", "failed", "cancelled"):
            return now
        assert time.monotonic() < end, now
        time.sleep(0.02)


def emptied(folder: Path, seconds: float = 5) -> bool:
    """Whether a folder is empty, now or in a moment: a clip is deleted right after its job's end is on the disk."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not list(folder.iterdir()):
            return True
        time.sleep(0.02)
    return False


LIVE = "ws://localhost/v1/live"


def kind_of(answer: Any) -> tuple[int, str]:
    """Status and kind of a refusal, whose shape is checked."""
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"kind", "message"}
    assert "expected" in body["error"]["message"]
    return answer.status_code, body["error"]["kind"]


@pytest.fixture(scope="session")
def tools() -> SimpleNamespace:
    """The functions above, for tests."""
    return SimpleNamespace(
        png=png, part=part, begin=begin, wait_for=wait_for, kind_of=kind_of, live=LIVE, emptied=emptied
    )


@pytest.fixture
def real(tmp_path: Path, service_process: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Starts services as processes, and ends them after the test."""
    running: list[Any] = []

    def begin(*options: str, home: str = "home") -> Any:
        running.append(service_process(tmp_path / home, *options))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
