"""Every limit, with its status and its kind."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack, suppress

import numpy as np
import pytest

from mien.errors import OptionError
from mien.serve import disk as disk_module
from mien.serve.batching import Batcher, PixelRoom
from mien.serve.refusals import KINDS
from mien.serve.settings import LIMITS, Settings
from mien.serve.uploads import timely


def analyze(client, tools, *contents):
    return tools.kind_of(client.post("/v1/analyze", files=[tools.part(content) for content in contents]))


def test_every_limit_is_a_setting_over_zero(tmp_path):
    for name in LIMITS:
        with pytest.raises(OptionError, match=f"expected {name} over 0, got 0"):
            Settings(home=tmp_path, **{name: 0})


def test_request_mb_told_in_the_header(start, tools):
    with start(request_mb=0.1) as client:
        assert analyze(client, tools, bytes(200_000)) == (413, "too_large")


def test_request_mb_counted_on_the_way(start):
    def body():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield bytes(10_000)

    with start(request_mb=0.1) as client:
        answer = client.post(
            "/v1/analyze", content=body(), headers={"content-type": "multipart/form-data; boundary=b"}
        )
        assert answer.request.headers.get("content-length") is None
        assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "too_large")


def test_megapixels_before_anything_is_decoded(start, tools, monkeypatch):
    with start(megapixels=0.05) as client:
        monkeypatch.setattr("mien.serve.batching.decode_picture", lambda *_: pytest.fail("decoded"))
        assert analyze(client, tools, tools.png(np.zeros((250, 201), np.uint8))) == (413, "too_many_pixels")


def test_files(start, picture, tools):
    with start(files=2) as client:
        assert analyze(client, tools, picture, picture, picture) == (413, "too_many_files")


def test_request_s_while_the_body_comes():
    async def slow():
        yield b"x"
        await asyncio.sleep(10)

    async def read():
        return [piece async for piece in timely(slow(), 100, "request_s", lambda count: 0.05)]

    with pytest.raises(Exception, match="expected the whole body in time") as caught:
        asyncio.run(read())
    assert (caught.value.status, caught.value.kind) == (408, "too_slow")


def test_slowest_kb_s_lets_a_body_come_as_long_as_it_is_fast_enough():
    async def steady():
        for _ in range(20):
            await asyncio.sleep(0.01)
            yield bytes(1000)

    async def read(rate):
        return sum([len(piece) async for piece in timely(steady(), 10**6, "", lambda n: 0.1 + n / rate)])

    assert asyncio.run(read(20_000)) == 20_000
    with pytest.raises(Exception, match="in time"):
        asyncio.run(read(10**9))


def test_request_s_while_others_are_read(start, picture, tools, monkeypatch):
    with start(request_s=0.3) as client:
        monkeypatch.setattr(
            client.service.batcher.analyzer, "analyze_images", lambda images: time.sleep(0.6) or []
        )
        answer = client.post("/v1/analyze", files=[tools.part(picture)])
        assert tools.kind_of(answer) == (503, "busy") and answer.headers["retry-after"] == "5"


def test_concurrency_of_requests(start, picture, tools, monkeypatch):
    with start(concurrency=1) as client:
        began, go = threading.Event(), threading.Event()
        read = client.service.batcher.analyzer.analyze_images
        monkeypatch.setattr(
            client.service.batcher.analyzer,
            "analyze_images",
            lambda images: began.set() or (go.wait(10) and read(images)),
        )
        first = []
        thread = threading.Thread(
            target=lambda: first.append(client.post("/v1/analyze", files=[tools.part(picture)]))
        )
        thread.start()
        assert began.wait(10)
        answer = client.post("/v1/analyze", files=[tools.part(picture)])
        assert tools.kind_of(answer) == (429, "too_many_requests") and answer.headers["retry-after"] == "1"
        go.set()
        thread.join()
        assert first[0].status_code == 200
        assert client.post("/v1/analyze", files=[tools.part(picture)]).status_code == 200


def test_concurrency_of_live_sockets(start, tools):
    with start(concurrency=1) as client, ExitStack() as stack:
        stack.enter_context(client.websocket_connect(tools.live))
        with pytest.raises(Exception) as caught, client.websocket_connect(tools.live):
            pass
        assert caught.value.status_code == 429
        assert caught.value.json()["error"]["kind"] == "too_many_requests"


def test_concurrency_of_streams(start, clip, tools):
    with start(concurrency=1) as client:
        job = tools.wait_for(client, tools.begin(client, clip))
        leave = client.service.results._gate.take()
        assert tools.kind_of(client.get(job["links"]["events"])) == (429, "too_many_requests")
        assert tools.kind_of(client.get(job["links"]["result"])) == (429, "too_many_requests")
        leave()
        leave()
        assert client.get(job["links"]["result"]).status_code == 200
        assert client.get(job["links"]["events"]).status_code == 200


def test_pixels_of_all_requests_wait_in_line():
    async def use():
        room, order = PixelRoom(10), []

        async def one(name, pixels):
            async with room.of(pixels):
                order.append(name)
                await asyncio.sleep(0.01)

        await asyncio.gather(one("a", 6), one("b", 10), one("c", 1))
        return order, room.free

    assert asyncio.run(use()) == (["a", "b", "c"], 10)


def test_a_client_who_leaves_holds_the_room_until_the_picture_is_decoded(analyzer, portrait, picture):
    async def use():
        batcher, free, go = Batcher(analyzer, 4, 0.0, 100_000_000), [], threading.Event()
        batcher._image = lambda content: go.wait(10) and portrait
        asking = asyncio.get_running_loop().create_task(batcher.read(picture))
        while batcher._room.free == batcher.pixels:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.sleep(0.05)
        free.append(batcher._room.free < batcher.pixels)
        go.set()
        with suppress(asyncio.CancelledError):
            await asking
        await batcher.stop()
        return [*free, batcher._room.free == batcher.pixels]

    assert asyncio.run(use()) == [True, True]


def test_clip_mb(start, clip, tools):
    with start(clip_mb=0.001) as client:
        answer = client.post("/v1/jobs", files=[tools.part(clip + bytes(30_000))])
        assert tools.kind_of(answer) == (413, "too_large")
        assert not list(client.service.jobs.disk.uploads.iterdir())


def test_length_s(start, clip, tools):
    with start(length_s=0.2) as client:
        job = tools.wait_for(client, tools.begin(client, clip))
        assert (job["state"], job["error"]["kind"]) == ("failed", "too_long")
        assert KINDS["too_long"] == 413 and "0.2 s" in job["error"]["message"]


def test_frame_megapixels(start, clip, tools):
    with start(frame_megapixels=0.06) as client:
        job = tools.wait_for(client, tools.begin(client, clip))
        assert (job["state"], job["error"]["kind"]) == ("failed", "too_many_pixels")


def test_job_s(start, long_clip, tools):
    with start(job_s=0.7) as client:
        job = tools.wait_for(client, tools.begin(client, long_clip))
        assert (job["state"], job["error"]["kind"]) == ("failed", "too_slow")


def test_jobs(start, clip, long_clip, tools):
    with start(jobs=1) as client:
        job = tools.begin(client, long_clip)
        assert tools.kind_of(client.post("/v1/jobs", files=[tools.part(clip)])) == (429, "too_many_jobs")
        client.delete(job["links"]["self"])
        tools.begin(client, clip)


def test_disk_mb_before_an_upload(start, clip, tools):
    with start(disk_mb=0.2) as client:
        answer = client.post("/v1/jobs", files=[tools.part(clip + bytes(200_000))])
        assert tools.kind_of(answer) == (507, "disk")
        assert not list(client.service.jobs.disk.uploads.iterdir())


def test_disk_mb_while_a_job_runs(start, long_clip, tools, monkeypatch):
    with start() as client:
        job = tools.begin(client, long_clip)
        assert tools.wait_for(client, job, "running")["state"] == "running"
        monkeypatch.setattr(client.service.jobs.disk, "limit_mb", 0.01)
        job = tools.wait_for(client, job)
        assert (job["state"], job["error"]["kind"]) == ("failed", "disk")


def test_the_disk_itself_is_never_filled(start, clip, tools, monkeypatch):
    with start() as client:
        monkeypatch.setattr(disk_module, "SPARE_BYTES", 10**18)
        assert tools.kind_of(client.post("/v1/jobs", files=[tools.part(clip)])) == (507, "disk")


def test_memory_mb(start, clip, tools):
    with start(memory_mb=60) as client:
        job = tools.wait_for(client, tools.begin(client, clip))
        assert job["state"] == "failed"
        assert job["error"]["kind"] in ("memory", "internal", "not_a_clip")
        assert client.get("/readyz").status_code == 200
