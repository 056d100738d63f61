"""A browser, and the page on a service of our own. Asked for by `pytest -m browser`: together they take minutes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from mien.errors import WeightsError
from mien.weights.fetch import fetched_members

HERE = Path(__file__).parent
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream"),
    "--use-fake-ui-for-media-stream",
)
OpenPage = Callable[..., Any]


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    if "browser" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(
        reason="a real browser takes minutes; ask for it: pytest -m browser tests/browser"
    )
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium with a camera that plays a clip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    if not any(found):
        pytest.skip("needs Chromium, such as Debian's package chromium")
    camera = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    write_camera(camera)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=next(filter(None, found)),
            args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"],
        )
        yield chromium
        chromium.close()


def write_camera(path: Path) -> None:
    """Three seconds of a face that moves a little, 640 x 480, as motion JPEG: the shipped astronaut."""
    from mien.demo import PICTURES
    from mien.pipeline.pictures import read_picture

    portrait = read_picture(PICTURES / "astronaut.jpg")[:480]
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"qscale": "3"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for index in range(75):
            image = np.full((480, 640, 3), 90, np.uint8)
            left = 64 + round(12 * np.sin(index / 12))
            image[:, left : left + 512] = portrait
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def runtime() -> None:
    """Skips where the runtime of the browser was not fetched."""
    try:
        fetched_members("onnxruntime_web")
    except WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def serve(
    tmp_path_factory: pytest.TempPathFactory, service_process: Callable[..., Any]
) -> Iterator[Callable[..., str]]:
    """Starts the service, once for each case; gives its address. Not `in_browser`: it has no runtime for the browser."""
    for name in ("fastapi", "uvicorn", "websockets", "python_multipart"):
        pytest.importorskip(name, reason=f"needs {name.replace('_', '-')}: pip install 'mien[serve]'")
    running: dict[tuple[bool, str], Any] = {}

    def start(in_browser: bool = True, token: str = "") -> str:
        key = (in_browser, token)
        if key not in running:
            folder = tmp_path_factory.mktemp("service")
            environment = {} if in_browser else {"MIEN_HOME": str(folder)}
            if token:
                environment["MIEN_TOKEN"] = token
            running[key] = service_process(folder / "serve", **environment)
        return running[key].base + "/"

    yield start
    for one in running.values():
        one.stop()


@pytest.fixture
def open_page(browser: Any, serve: Callable[..., str]) -> Iterator[OpenPage]:
    """Opens the page; fails a test in which it asked another host for anything, or wrote an error."""
    asked: list[str] = []
    wrong: list[str] = []
    contexts = []

    def open_one(in_browser: bool = True, token: str = "", ready: bool = True, **context: Any) -> Any:
        address = serve(in_browser, token)
        made = browser.new_context(
            permissions=["camera"], **{"viewport": {"width": 1280, "height": 860}, **context}
        )
        contexts.append(made)
        page = made.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        if ready:
            page.wait_for_selector(f"body[data-where={'browser' if in_browser else 'service'}]")
        return page

    yield open_one
    for made in contexts:
        made.close()
    assert asked and {urlsplit(url).hostname for url in asked if not url.startswith(("blob:", "data:"))} == {
        "127.0.0.1"
    }
    assert not wrong
