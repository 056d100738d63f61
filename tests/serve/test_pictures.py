"""`POST /v1/analyze` and the live socket."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from mien.pipeline.pictures import decode_picture
from mien.pipeline.table import rows_of
from mien.types.media import FrameResult


def rows_alone(analyzer, content, name):
    """The rows that the analyzer gives for one picture, without a service."""
    image = decode_picture(content)
    faces = analyzer.analyze_image(image)
    result = FrameResult(name, 0, None, faces, (image.shape[1], image.shape[0]))
    return rows_of(result) if len(faces) else []


@pytest.fixture(scope="module")
def pictures(picture, portrait, hopper, page, tools):
    small = np.ascontiguousarray(hopper[::2, ::2])
    return [
        picture,
        tools.png(small),
        tools.png(page[:300, :400]),
        tools.png(portrait[:, ::-1]),
        tools.png(portrait * 0),
    ]


def test_a_picture_is_answered_with_the_rows_of_the_table(client, analyzer, picture, tools):
    answer = client.post("/v1/analyze", files=[tools.part(picture)])
    assert answer.status_code == 200
    told = answer.json()
    assert told["model"] == {
        "name": "expression", "sha256": analyzer.runner.weights.sha256,
        "labels": list(analyzer.runner.weights.labels), "threshold": 0.75,
    }  # fmt: skip
    rows = rows_alone(analyzer, picture, "a.png")
    assert len(rows) == 1 and rows[0]["expression"] == "happy"
    assert told["results"] == [{"name": "a.png", "width": 256, "height": 256, "faces": rows, "error": None}]


def test_batching_gives_the_same_bytes_as_one_by_one(client, analyzer, pictures, tools):
    def ask(number):
        return client.post("/v1/analyze", files=[tools.part(pictures[number % 5], f"{number}")])

    batches = client.service.metrics.batches
    before = batches._sum.get()
    alone = [ask(number).content for number in range(10)]
    with ThreadPoolExecutor(10) as threads:
        together = [answer.content for answer in threads.map(ask, range(10))]
    assert together == alone
    assert [json.loads(content)["results"][0]["faces"] for content in alone[:5]] == [
        rows_alone(analyzer, content, str(number)) for number, content in enumerate(pictures)
    ]
    assert batches._sum.get() - before == 20


def test_waiting_pictures_are_analysed_together(start, pictures, tools, monkeypatch):
    with start(batch=4, batch_wait_ms=50) as client:
        sizes = []
        read = client.service.batcher.analyzer.analyze_images
        monkeypatch.setattr(
            client.service.batcher.analyzer,
            "analyze_images",
            lambda images: sizes.append(len(images)) or read(images),
        )
        files = [tools.part(pictures[0], f"{number}") for number in range(6)]
        assert client.post("/v1/analyze", files=files).status_code == 200
    assert sum(sizes) == 6 and max(sizes) > 1 and max(sizes) <= 4


def test_one_bad_picture_does_not_spoil_the_others(client, picture, tools):
    answer = client.post(
        "/v1/analyze", files=[tools.part(b"nonsense", "bad"), tools.part(picture), tools.part(b"", "empty")]
    )
    bad, good, empty = answer.json()["results"]
    assert answer.status_code == 200
    assert (bad["error"]["kind"], bad["faces"], bad["width"]) == ("not_a_picture", [], None)
    assert good["error"] is None and len(good["faces"]) == 1
    assert "zero bytes" in empty["error"]["message"]


def test_a_picture_under_which_the_analyzer_fails_does_not_spoil_the_others(
    start, picture, portrait, tools, monkeypatch
):
    with start(batch_wait_ms=50) as client:
        analyzer = client.service.batcher.analyzer
        read = analyzer.analyze_images

        def fails(images):
            if any(not image.any() for image in images):
                raise RuntimeError("black")
            return read(images)

        monkeypatch.setattr(analyzer, "analyze_images", fails)
        with ThreadPoolExecutor(4) as threads:
            contents = [picture, tools.png(portrait * 0), picture]
            answers = [
                answer.status_code
                for answer in threads.map(
                    lambda content: client.post("/v1/analyze", files=[tools.part(content)]), contents
                )
            ]
    assert answers == [200, 500, 200]


def test_where_no_picture_can_be_read_the_status_says_so(client, tools):
    assert tools.kind_of(client.post("/v1/analyze", files=[tools.part(b"nonsense")])) == (
        415,
        "not_a_picture",
    )


def test_a_picture_without_a_face_has_no_rows(client, portrait, tools):
    answer = client.post("/v1/analyze", files=[tools.part(tools.png(portrait * 0))])
    assert answer.json()["results"][0]["faces"] == [] and answer.status_code == 200


def test_exif_turns_the_picture(client, portrait, tools):
    stream, exif = io.BytesIO(), Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(portrait[:200])).save(stream, "jpeg", exif=exif, quality=95)
    result = client.post("/v1/analyze", files=[tools.part(stream.getvalue())]).json()["results"][0]
    assert (result["width"], result["height"], len(result["faces"])) == (256, 200, 1)


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        ({"content": b"x"}, 415, "not_multipart"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 415, "not_multipart"),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            400,
            "bad_request",
        ),
        ({"content": b"--b", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "bad_request"),
        ({"data": {"a": "b"}, "files": [("file", ("a", b"x"))]}, 422, "bad_option"),
        ({"files": [("other", ("a", b"x"))]}, 400, "bad_request"),
        ({"files": [("file", (None, b"x"))]}, 422, "bad_option"),
    ],
)  # fmt: skip
def test_what_is_no_form_of_pictures_is_refused(client, tools, sent, status, kind):
    assert tools.kind_of(client.post("/v1/analyze", **sent)) == (status, kind)


def test_a_live_socket_answers_one_picture_after_the_other(client, analyzer, picture, tools):
    rows = rows_alone(analyzer, picture, "live")
    with client.websocket_connect(tools.live) as socket:
        for frame in range(2):
            socket.send_bytes(picture)
            told = socket.receive_json()
            assert (told["width"], told["height"]) == (256, 256) and told["ms"] > 0
            assert told["faces"] == [{**rows[0], "frame": frame}]
        socket.send_bytes(b"nonsense")
        assert socket.receive_json()["error"]["kind"] == "not_a_picture"
        socket.send_text("hello")
        assert socket.receive_json()["error"]["kind"] == "bad_request"
        socket.send_bytes(picture)
        assert len(socket.receive_json()["faces"]) == 1
