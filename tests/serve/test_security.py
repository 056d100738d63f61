"""The security list of docs/service.md, one test a line."""

from __future__ import annotations

import hmac
import json
import logging
import re
import stat
import struct
import sys
import time
import zlib

import numpy as np
import pytest

from mien.errors import OptionError
from mien.serve.clip_kinds import clip_suffix
from mien.serve.disk import Disk
from mien.serve.guard import OPEN, OPEN_FOLDERS
from mien.serve.logs import JsonLines
from mien.serve.settings import Settings
from mien.serve.uploads import clean_name

TOKEN = "a-token-of-some-length"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}
PATHS = (
    ("POST", "/v1/analyze"), ("POST", "/v1/jobs"), ("GET", "/v1/jobs/" + 32 * "0"), ("GET", "/v1/models"),
    ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/models/expression.onnx"), ("GET", "/nothing"),
)  # fmt: skip


def test_only_this_machine_is_listened_to_unless_told():
    assert Settings().host == "127.0.0.1"
    assert all(Settings(host=host).loopback for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"))


def test_no_start_on_a_network_without_a_token():
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", ""):
        with pytest.raises(OptionError, match="MIEN_TOKEN"):
            Settings(host=host)
        assert not Settings(host=host, token=TOKEN).loopback


def test_weak_tokens_are_refused():
    for token in ("short", "with a space in the middle", "x" * 201, "line\nbreak-and-more-letters"):
        with pytest.raises(OptionError, match="16 to 200"):
            Settings(token=token)


def test_with_a_token_nothing_is_told_without_it(start, tools):
    with start(token=TOKEN) as client:
        for method, path in PATHS:
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": TOKEN},
                {"Authorization": "Bearer"},
            ):
                answer = client.request(method, path, headers=headers)
                assert tools.kind_of(answer) == (401, "bad_token"), path
                assert answer.headers["www-authenticate"].startswith("Bearer")
            assert client.request(method, path, headers=WITH_TOKEN).status_code != 401, path
        assert set(OPEN) == {"/", "/healthz", "/readyz"} and set(OPEN_FOLDERS) == {"/assets/", "/ort/"}
        for path in OPEN:
            assert client.get(path).status_code == 200


def test_a_live_socket_needs_the_token_too(start, tools, picture):
    with start(token=TOKEN) as client:
        for words in (None, ["mien"], ["mien", "bearer.wrong"]):
            with pytest.raises(Exception) as caught, client.websocket_connect(tools.live, subprotocols=words):
                pass
            assert caught.value.status_code == 401
        with client.websocket_connect(tools.live, subprotocols=["mien", f"bearer.{TOKEN}"]) as socket:
            assert socket.accepted_subprotocol == "mien"
        with client.websocket_connect(tools.live, headers=WITH_TOKEN) as socket:
            socket.send_bytes(picture)
            assert socket.receive_json()["width"] == 256


def test_tokens_are_compared_in_constant_time(start, monkeypatch):
    seen = []
    with start(token=TOKEN) as client:
        real = hmac.compare_digest
        monkeypatch.setattr(hmac, "compare_digest", lambda *pair: seen.append(pair) or real(*pair))
        client.get("/v1/models", headers=WITH_TOKEN)
    assert seen == [(TOKEN.encode(), TOKEN.encode())]


def test_the_token_is_in_no_text_of_the_settings_and_no_option_of_the_command():
    from mien.cli.main import parser

    assert TOKEN not in repr(Settings(token=TOKEN))
    with pytest.raises(SystemExit):
        parser().parse_args(["serve", "--token", TOKEN])


def test_another_host_name_is_refused_on_this_machine(client, tools):
    for host in (
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "",
        "[",
        "127.0.0.1.evil.example",
    ):
        assert tools.kind_of(client.get("/v1/models", headers={"Host": host})) == (400, "bad_host"), host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_pages_of_others_are_refused(client, tools, picture):
    for origin in ("https://evil.example", "null", "http://localhost:9999", "http://["):
        answer = client.post("/v1/analyze", files=[tools.part(picture)], headers={"Origin": origin})
        assert tools.kind_of(answer) == (403, "bad_origin")
        with (
            pytest.raises(Exception) as caught,
            client.websocket_connect(tools.live, headers={"Origin": origin}),
        ):
            pass
        assert caught.value.status_code == 403
    answer = client.post("/v1/analyze", files=[tools.part(picture)], headers={"Origin": "http://localhost"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


WRITES = {"on": False, "seen": []}


def _watch(event, arguments):
    if WRITES["on"] and event == "open":
        _, _, flags = arguments
        if flags & 3:  # for writing
            WRITES["seen"].append(arguments[0])


def test_pictures_are_never_written(client, tools, portrait):
    big = tools.png(np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), np.uint8))
    assert len(big) > 3_000_000  # far more than what web frameworks keep in memory
    sys.addaudithook(_watch)
    WRITES["on"] = True
    try:
        with open("/dev/null", "wb"):
            assert WRITES["seen"] == ["/dev/null"]  # the hook sees
        WRITES["seen"].clear()
        assert client.post("/v1/analyze", files=[tools.part(big)]).status_code == 200
        with client.websocket_connect(tools.live) as socket:
            socket.send_bytes(big)
            socket.receive_json()
    finally:
        WRITES["on"] = False
    assert WRITES["seen"] == []


def test_clips_are_private_while_they_wait_and_deleted_after(start, long_clip, clip, tools):
    with start() as client:
        disk = client.service.jobs.disk
        first, second = tools.begin(client, long_clip, "../../secret.mp4"), tools.begin(client, clip)
        files = list(disk.uploads.iterdir())
        assert len(files) == 2
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert re.fullmatch(r"[0-9a-f]{32}\.mp4", file.name)
        for folder in (disk.home, disk.uploads, disk.scratch):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(disk.database.stat().st_mode) == 0o600
        client.delete(first["links"]["self"])
        assert tools.wait_for(client, second)["state"] == "done"
        failed = tools.wait_for(client, tools.begin(client, clip[:300]))
        assert failed["state"] == "failed"
        assert tools.emptied(disk.uploads) and tools.emptied(disk.scratch)


def test_an_upload_that_is_refused_leaves_nothing(client, clip, tools):
    disk = client.service.jobs.disk
    for options, content in (
        ({"baseline": "/etc/passwd"}, clip),
        ({}, b"no clip"),
        ({"x": "y" * 2000}, clip),
    ):
        assert client.post("/v1/jobs", files=[tools.part(content)], data=options).status_code >= 400
        assert not list(disk.uploads.iterdir())
    assert client.service.clips._uploads.count == 0 and disk._promised == 0


def test_errors_tell_no_path_stack_or_text_of_ours(start, picture, tools, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("/home/somebody/secret.py said no")

    with start() as client:
        monkeypatch.setattr(client.service.batcher.analyzer, "analyze_images", fails)
        with caplog.at_level(logging.INFO):
            answer = client.post("/v1/analyze", files=[tools.part(picture)])
        assert tools.kind_of(answer) == (500, "internal")
        for word in ("secret", "home", "Traceback", "RuntimeError", ".py"):
            assert word not in answer.text
        assert answer.headers["x-request-id"] in answer.text
    lines = [JsonLines().format(record) for record in caplog.records]
    assert not any("secret" in line for line in lines)
    assert any("test_security.py" in line and "RuntimeError" in line for line in lines)


def test_answers_about_jobs_tell_no_path_of_ours(client, clip, tools, tmp_path):
    home = str(client.service.settings.home)
    jobs = [
        tools.wait_for(client, tools.begin(client, content)) for content in (clip, clip[:300], clip[:3000])
    ]
    assert {job["state"] for job in jobs} >= {"done", "failed"}
    for job in jobs:
        for path in (job["links"]["self"], job["links"]["events"], job["links"]["result"]):
            answer = client.get(path)
            assert home not in answer.text and "/uploads" not in answer.text


def test_two_users_do_not_see_each_other(client, clip, tools):
    mine, theirs = (
        tools.wait_for(client, tools.begin(client, clip, name)) for name in ("mine.mp4", "theirs.mp4")
    )
    assert mine["id"] != theirs["id"] and re.fullmatch("[0-9a-f]{32}", mine["id"])  # 128 bits
    for path in ("self", "result", "events"):
        assert "theirs" not in client.get(mine["links"][path]).text
        assert theirs["id"] not in client.get(mine["links"][path]).text
    assert tools.kind_of(client.get("/v1/jobs"))[0] == 405  # there is no list
    for guess in (
        "0" * 32,
        mine["id"][:-1],
        mine["id"].upper() + "x",
        "' OR 1=1 --",
        "%",
        "..%2F..%2Fjobs.sqlite3",
    ):
        for path in (f"/v1/jobs/{guess}", f"/v1/jobs/{guess}/result", f"/v1/jobs/{guess}/events"):
            assert client.get(path).status_code == 404, path
        assert client.delete(f"/v1/jobs/{guess}").status_code == 404


def test_answers_of_requests_at_once_are_not_mixed_up(client, pictures_of_two, tools):
    from concurrent.futures import ThreadPoolExecutor

    def ask(number):
        content, width = pictures_of_two[number % 2]
        result = client.post("/v1/analyze", files=[tools.part(content, f"{number}.png")]).json()["results"][0]
        return result["name"] == f"{number}.png" and result["width"] == width

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(24)))


@pytest.fixture(scope="module")
def pictures_of_two(portrait, tools):
    return [(tools.png(portrait), 256), (tools.png(np.ascontiguousarray(portrait[:, :200])), 200)]


def test_logs_hold_no_names_ids_tokens_or_pictures(start, picture, clip, tools, caplog):
    with caplog.at_level(logging.DEBUG, "mien.serve"), start(token=TOKEN) as client:
        client.headers.update(WITH_TOKEN)
        client.post("/v1/analyze", files=[tools.part(picture, "private-name.png")])
        client.get("/v1/private-path?query=private-query")
        job = tools.wait_for(client, tools.begin(client, clip, "private-name.mp4"))
        tools.wait_for(client, tools.begin(client, clip[:300], "private-name.mp4"))
        client.get(job["links"]["result"])
    text = "\n".join(JsonLines().format(record) for record in caplog.records)
    assert text.count("\n") > 5
    for word in ("private", TOKEN, job["id"], "IHDR", "ftyp", str(client.service.settings.home)):
        assert word not in text


def test_metrics_hold_nothing_that_a_client_wrote(client):
    client.get("/private-path")
    client.request("PRIVATE", "/v1/models")
    assert "private" not in client.get("/metrics").text.lower()


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\Users\\me\\face.png", "face.png"), ("/", "file"), ("", "file"),
        ("a\x00b\r\nSet-Cookie: x\u202egnp.png", "abSet-Cookie: xgnp.png"), ("x" * 5000, "x" * 200),
    ],
)  # fmt: skip
def test_path_tricks_in_names_lead_nowhere(client, picture, told, shown):
    assert clean_name(told) == shown
    quoted = told.encode().replace(b"\r\n", b"").replace(b"\\", b"\\\\")
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + quoted + b'"\r\n\r\n'
    answer = client.post(
        "/v1/analyze", content=head + picture + b"\r\n--b--\r\n",
        headers={"content-type": "multipart/form-data; boundary=b"},
    )  # fmt: skip
    if len(told) < 4096:
        assert answer.json()["results"][0]["name"] == shown
    else:
        assert answer.status_code == 400


def test_only_pictures_of_known_kinds_are_decoded(client, tools):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    for content in (eps, svg, b"%PDF-1.7", b"P6 10 10 255\n" + bytes(300), b"\x89HDF", clip_like()):
        answer = client.post("/v1/analyze", files=[tools.part(content)])
        assert tools.kind_of(answer) == (415, "not_a_picture")


def clip_like():
    return b"\x00\x00\x00\x20ftypisom" + bytes(500)


def test_pictures_like_zip_bombs_are_refused_before_they_are_decoded(client, tools):
    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    flat = zlib.compress(bytes(10_000_000), 9)
    for width, height in ((30_000, 30_000), (2**31 - 1, 2**31 - 1), (100_000_000, 1)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", flat) + chunk(b"IEND", b"")
        start_s = time.perf_counter()
        status, kind = tools.kind_of(client.post("/v1/analyze", files=[tools.part(bomb)]))
        assert (status, kind) == (413, "too_many_pixels"), (width, height)
        assert time.perf_counter() - start_s < 2


def test_play_lists_and_scripts_are_no_clips(client, tools):
    for content in (
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"v=0\nc=IN IP4 10.0.0.1\nm=video 5000 RTP/AVP 96\n", b"<?xml?><MPD></MPD>", b"http://localhost:8000/",
    ):  # fmt: skip
        assert clip_suffix(content) is None
        assert tools.kind_of(client.post("/v1/jobs", files=[tools.part(content, "a.mp4")])) == (
            415,
            "not_a_clip",
        )


def test_a_baseline_cannot_name_a_file(client, clip, tools, portrait_file):
    for baseline in (str(portrait_file), "/etc/passwd", "file:///etc/passwd", "auto\n", "1-2-3", "0:00-0:05"):
        answer = client.post("/v1/jobs", files=[tools.part(clip)], data={"baseline": baseline})
        assert tools.kind_of(answer) == (422, "bad_option"), baseline


def test_static_paths_lead_nowhere_else(client):
    for path in (
        "/assets/../app.py", "/assets/%2e%2e/app.py", "/assets/..%2fapp.py", "/assets//etc/passwd", "/models/../app.py",
        "/models/..%2f..%2fapp.py", "/ort/..%2f..%2fetc%2fpasswd", "/assets/", "/models/yunet_2023mar.onnx",
    ):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "import" not in answer.text and "root:" not in answer.text


def test_every_answer_has_the_security_headers(client, picture, tools):
    answers = [
        client.get("/"), client.get("/assets/index.html"), client.get("/nothing"), client.get("/v1/models"),
        client.post("/v1/analyze", files=[tools.part(picture)]), client.get("/v1/models", headers={"Host": "evil"}),
    ]  # fmt: skip
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; script-src 'self' 'wasm-unsafe-eval';")
        assert "http" not in policy and "unsafe-inline" not in policy and "'unsafe-eval'" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert answers[3].headers["cache-control"] == "no-store"
    assert "server" not in answers[0].headers


def test_two_services_do_not_share_a_folder(tmp_path):
    first = Disk(tmp_path / "home", 100)
    with pytest.raises(OptionError, match="another service uses"):
        Disk(tmp_path / "home", 100)
    first.close()
    Disk(tmp_path / "home", 100).close()


def test_deleted_rows_are_overwritten(start, clip, tools):
    with start() as client:
        job = tools.wait_for(client, tools.begin(client, clip, "a-name-to-look-for.mp4"))
        database = client.service.jobs.disk.database
        client.delete(job["links"]["self"])
        for file in database.parent.glob("jobs.sqlite3*"):
            assert b"a-name-to-look-for" not in file.read_bytes(), file.name


def test_answers_are_json_that_no_browser_takes_for_a_page(client, tools, picture):
    answer = client.post("/v1/analyze", files=[tools.part(picture, "<script>alert(1)<!--.png")])
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["results"][0]["name"] == "<script>alert(1)<!--.png"
