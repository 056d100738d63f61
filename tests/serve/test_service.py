"""What the service says of itself: health, metrics, description, logs, networks for the browser."""

from __future__ import annotations

import hashlib
import json
import logging
import re

from mien.pipeline.table import COLUMNS, columns_of
from mien.serve.answers import JobState, Models, Refused, Shapes
from mien.serve.logs import JsonLines

JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def test_health_and_readiness(client):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_not_ready_when_a_worker_is_gone_or_a_stop_began(start, tools, monkeypatch):
    with start() as client:
        monkeypatch.setattr(client.service, "stopping", True)
        assert tools.kind_of(client.get("/readyz")) == (503, "stopping")
        assert tools.kind_of(client.get("/v1/models")) == (503, "stopping")
        assert client.get("/healthz").status_code == 200
        monkeypatch.setattr(client.service, "stopping", False)
        monkeypatch.setattr(client.service.jobs, "_threads", [])
        assert tools.kind_of(client.get("/readyz")) == (503, "stopping")


def test_models_name_networks_and_licences(client, analyzer):
    told = Models.model_validate(client.get("/v1/models").json())
    assert [model.task for model in told.models] == ["face_detection", "expression"]
    assert told.models[1].sha256 == analyzer.runner.weights.sha256
    assert all(model.licence and model.notice for model in told.models)


def test_the_described_rows_are_the_columns_of_the_table(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    row = schemas["Row"]
    assert list(row["properties"]) == list(COLUMNS) == row["required"]
    for name, kind in COLUMNS.items():
        assert {"type": JSON_TYPES[kind]} in row["properties"][name]["anyOf"], name
        assert {"type": "null"} in row["properties"][name]["anyOf"], name
    assert row["additionalProperties"] is False


def test_the_described_rows_of_a_model_with_classes_of_its_own():
    shapes = Shapes(("calm", "cross"))
    assert list(shapes.row.model_fields) == list(columns_of(("calm", "cross")))
    assert "p_calm_smoothed" in shapes.job_row.model_fields and "au12_relative" in shapes.job_row.model_fields


def test_answers_are_as_described(client, picture, clip, tools):
    shapes = Shapes(client.service.weights[1].labels)
    files = [tools.part(picture), tools.part(b"bad")]
    shapes.analysis.model_validate(client.post("/v1/analyze", files=files).json(), strict=True)
    Refused.model_validate(client.get("/nothing").json(), strict=True)
    with client.websocket_connect(tools.live) as socket:
        socket.send_bytes(picture)
        shapes.live.model_validate(socket.receive_json(), strict=True)
    job = tools.begin(client, clip, smooth="true", baseline="0-1")
    JobState.model_validate(job, strict=True)
    done = tools.wait_for(client, job)
    JobState.model_validate(done, strict=True)
    lines = client.get(done["links"]["result"], params={"format": "jsonl"}).text.splitlines()
    assert len(lines) == 12
    for line in lines:
        shapes.job_row.model_validate(json.loads(line), strict=True)


def test_every_route_is_described_with_its_refusals(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/analyze", "/v1/jobs", "/v1/jobs/{job}", "/v1/jobs/{job}/result", "/v1/jobs/{job}/events", "/v1/models",
        "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    assert {"400", "401", "408", "413", "415", "429", "503"} <= set(paths["/v1/analyze"]["post"]["responses"])
    assert {"507", "422"} <= set(paths["/v1/jobs"]["post"]["responses"])
    assert paths["/v1/jobs/{job}"]["get"]["parameters"][0]["name"] == "job"


def test_metrics_for_prometheus(client, picture, tools):
    def value(name):
        return float(re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)[1])

    name = 'mien_requests_total{method="POST",route="/v1/analyze",status="200"}'
    client.post("/v1/analyze", files=[tools.part(picture)])
    before, pictures = value(name), value("mien_pictures_total")
    client.post("/v1/analyze", files=[tools.part(picture)])
    assert value(name) == before + 1 and value("mien_pictures_total") == pictures + 1
    assert value('mien_jobs{state="queued"}') == 0 and value("mien_disk_bytes") > 0
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


def test_logs_are_json_lines(client, picture, tools, caplog):
    with caplog.at_level(logging.INFO, "mien.serve"):
        answer = client.post("/v1/analyze", files=[tools.part(picture)])
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    line = next(line for line in lines if line["event"] == "request")
    assert line["id"] == answer.headers["x-request-id"]
    assert (line["method"], line["route"], line["status"], line["level"]) == (
        "POST", "/v1/analyze", 200, "info",
    )  # fmt: skip
    assert line["ms"] > 0 and line["bytes_in"] > len(picture) and line["bytes_out"] == len(answer.content)


def test_networks_for_the_browser(client, analyzer):
    contracts = client.get("/models/contracts.json").json()
    for name in ("detector", "expression"):
        answer = client.get(f"/models/{name}.onnx")
        sha256 = contracts[name]["sha256"]
        assert hashlib.sha256(answer.content).hexdigest() == sha256
        assert answer.headers["etag"] == f'"{sha256}"'
        again = client.get(f"/models/{name}.onnx", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert contracts["expression"]["labels"] == list(analyzer.runner.weights.labels)
    assert contracts["expression"]["calibration"]["temperature"] > 0
    preprocess = contracts["expression"]["preprocess"]
    assert preprocess["template"] == "mien_face_v1" and len(preprocess["template_points"]) == 5


def test_the_browsers_runtime_is_served_where_it_was_fetched(start, tools, monkeypatch, tmp_path):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))  # one's own may hold it
    with start() as client:
        assert tools.kind_of(client.get("/ort/ort.wasm.min.mjs")) == (404, "not_found")
        assert "mien weights fetch onnxruntime_web" in client.get("/ort/ort.wasm.min.mjs").text
    members = {"ort.wasm.min.mjs": b"export {}", "ort-wasm-simd-threaded.wasm": b"\0asm"}
    monkeypatch.setattr("mien.serve.site.fetched_members", lambda name: members)
    with start() as client:
        answer = client.get("/ort/ort.wasm.min.mjs")
        assert answer.content == b"export {}" and answer.headers["content-type"].startswith("text/javascript")
        assert client.get("/ort/ort-wasm-simd-threaded.wasm").headers["content-type"] == "application/wasm"
        assert tools.kind_of(client.get("/ort/other.mjs")) == (404, "not_found")


def test_the_page_and_its_files(client):
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert client.get("/assets/index.html").content == client.get("/").content
