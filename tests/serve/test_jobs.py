"""Clips as jobs: rows, events, cancel, restart."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time

import pytest

from mien.pipeline.table import EVENT_COLUMNS, columns_of, open_writer, rows_of
from mien.serve.store import Store


@pytest.fixture(scope="module")
def done(client, clip, tools):
    """A finished job."""
    job = tools.wait_for(client, tools.begin(client, clip))
    assert job["state"] == "done", job
    return job


def events_of(client, job, **headers):
    """(event, id, data) of each server-sent event."""
    answer = client.get(job["links"]["events"], headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], lines.get("id"), json.loads(lines["data"])))
    return found


def test_a_job_has_the_rows_of_the_command(client, analyzer, done, clip, tmp_path):
    path = tmp_path / "face.mp4"
    path.write_bytes(clip)
    with open_writer(tmp_path / "own.csv", columns_of(analyzer.runner.weights.labels)) as writer:
        for result in analyzer.stream(path):
            writer.write([{**row, "path": "face.mp4"} for row in rows_of(result)])
    answer = client.get(done["links"]["result"])
    assert answer.content == (tmp_path / "own.csv").read_bytes()
    assert answer.headers["content-disposition"] == 'attachment; filename="mien.csv"'
    assert (done["frames"], done["faces"], done["error"]) == (12, 12, None)
    assert done["done_s"] == pytest.approx(0.44) and done["length_s"] == pytest.approx(0.48)


def test_the_result_in_every_format(client, done, tmp_path, tools):
    import pandas

    lines = client.get(done["links"]["result"], params={"format": "jsonl"}).text.splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(12))
    (tmp_path / "a.parquet").write_bytes(
        client.get(done["links"]["result"], params={"format": "parquet"}).content
    )
    assert pandas.read_parquet(tmp_path / "a.parquet")["track_id"].tolist() == [0] * 12
    for wanted in ("pdf", "xml"):
        answer = client.get(done["links"]["result"], params={"format": wanted})
        assert tools.kind_of(answer) == (422, "bad_option")
    for wanted in ("events.csv", "html"):
        answer = client.get(done["links"]["result"], params={"format": wanted})
        assert tools.kind_of(answer) == (422, "bad_option") and "smooth" in answer.text
    assert tools.emptied(client.service.jobs.disk.scratch)


def test_options_of_a_job(client, clip, tools):
    job = tools.begin(client, clip, every_s="0.2", start_s="0.1", end_s="0.4", smooth="true", baseline="0-1")
    assert tools.wait_for(client, job)["frames"] == 2
    row = json.loads(client.get(job["links"]["result"], params={"format": "jsonl"}).text.splitlines()[0])
    assert row["frame"] == 3 and row["p_happy_smoothed"] > 0.5 and row["baseline"].startswith("0 to 1 s")
    events = client.get(job["links"]["result"], params={"format": "events.csv"}).text
    assert events.splitlines()[0] == ",".join(EVENT_COLUMNS)
    page = client.get(job["links"]["result"], params={"format": "html"})
    assert page.headers["content-type"].startswith("text/html") and page.text.startswith("<!DOCTYPE html>")
    assert "face.mp4" in page.text and str(client.service.jobs.disk.scratch) not in page.text
    assert tools.emptied(client.service.jobs.disk.scratch)


@pytest.mark.parametrize(
    "options",
    [
        {"every_s": "0"}, {"every_s": "x"}, {"start_s": "nan"}, {"start_s": "5", "end_s": "4"}, {"smooth": "maybe"},
        {"baseline": "4-2"}, {"baseline": "4"}, {"colour": "red"}, {"mesh": "true"},
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(client, clip, tools, options, monkeypatch):
    if "mesh" in options:
        monkeypatch.setattr(client.service.clips, "mesh", False)
    answer = client.post("/v1/jobs", files=[tools.part(clip)], data=options)
    assert tools.kind_of(answer) == (422, "bad_option")


def test_server_sent_events_come_in_order(client, clip, tools):
    found = events_of(client, tools.begin(client, clip))
    names = [name for name, _, _ in found]
    assert names[0] == "progress" and names[-1] == "end" and names.count("end") == 1
    rows = [row for name, _, data in found if name == "rows" for row in data["rows"]]
    assert [row["frame"] for row in rows] == list(range(12))
    done_s = [data["done_s"] for name, _, data in found if name == "progress"]
    assert done_s == sorted(done_s)
    assert found[-1][2]["state"] == "done"


def test_a_stream_goes_on_after_the_last_row_that_was_had(client, done):
    found = events_of(client, done, **{"Last-Event-ID": "5"})
    rows = [row for name, _, data in found if name == "rows" for row in data["rows"]]
    assert [row["frame"] for row in rows] == list(range(5, 12))
    ids = [number for name, number, _ in found if name == "rows"]
    assert ids[-1] == "12"
    assert [name for name, _, _ in events_of(client, done, **{"Last-Event-ID": "12"})] == ["end"]


def test_cancel_a_job_that_runs_and_one_that_waits(start, long_clip, clip, tools):
    with start() as client:
        running, waiting = tools.begin(client, long_clip), tools.begin(client, clip)
        assert tools.wait_for(client, running, "running")["state"] == "running"
        for job in (waiting, running):
            assert client.delete(job["links"]["self"]).json()["state"] == "cancelled"
            assert client.get(job["links"]["self"]).json()["state"] == "cancelled"
            assert tools.kind_of(client.get(job["links"]["result"])) == (409, "not_ready")
        assert tools.emptied(client.service.jobs.disk.uploads)
        assert tools.wait_for(client, tools.begin(client, clip))["state"] == "done"


def test_a_finished_job_is_forgotten_with_its_rows(client, clip, tools):
    job = tools.wait_for(client, tools.begin(client, clip))
    assert client.delete(job["links"]["self"]).status_code == 204
    assert tools.kind_of(client.get(job["links"]["self"])) == (404, "not_found")
    assert not list(client.service.jobs.store.pieces(job["id"], "rows"))


def test_a_job_is_forgotten_when_it_was_kept_long_enough(start, clip, tools):
    with start(keep_s=0.05) as client:
        job = tools.wait_for(client, tools.begin(client, clip))
        time.sleep(0.1)
        assert client.service.jobs.clean() == 1
        assert client.get(job["links"]["self"]).status_code == 404


def test_a_clip_that_breaks_off_has_its_rows_and_the_reason(client, tmp_path, make_clip, moving, tools):
    whole = make_clip(tmp_path / "a.avi", moving(12), codec="mjpeg").read_bytes()
    job = tools.wait_for(client, tools.begin(client, whole[: len(whole) // 2], name="cut.avi"))
    assert job["state"] == "done" and 0 < job["frames"] < 12
    assert job["error"]["kind"] == "broken_clip" and "breaks off" in job["error"]["message"]
    last = json.loads(client.get(job["links"]["result"], params={"format": "jsonl"}).text.splitlines()[-1])
    assert last["path"] == "cut.avi" and last["error"] == job["error"]["message"]


def test_what_is_no_clip(client, picture, clip, tools):
    assert tools.kind_of(client.post("/v1/jobs", files=[tools.part(picture)])) == (415, "not_a_clip")
    job = tools.wait_for(client, tools.begin(client, clip[:200]))
    assert (job["state"], job["error"]["kind"]) == ("failed", "not_a_clip")


def test_a_restart_keeps_finished_jobs(start, clip, tools):
    with start() as client:
        job = tools.wait_for(client, tools.begin(client, clip))
        rows = client.get(job["links"]["result"]).content
    with start() as client:
        assert client.get(job["links"]["self"]).json() == job
        assert client.get(job["links"]["result"]).content == rows


def test_a_stop_puts_a_running_job_back_and_the_next_start_redoes_it(start, long_clip, tools):
    with start() as client:
        job = tools.begin(client, long_clip)
        assert tools.wait_for(client, job, "running")["state"] == "running"
        while not client.get(job["links"]["self"]).json()["frames"]:
            time.sleep(0.02)
        store_path = client.service.jobs.disk.database
    store = Store(store_path)
    left = store.get(job["id"])
    assert (left.state, left.tries, left.frames) == ("queued", 0, 0)
    assert not list(store.pieces(job["id"], "rows"))
    store.close()
    with start() as client:
        assert tools.wait_for(client, job)["state"] == "done"
        frames = [
            json.loads(line)["frame"]
            for line in client.get(job["links"]["result"], params={"format": "jsonl"}).text.splitlines()
        ]
        assert frames == list(range(100))


def test_jobs_that_ran_when_the_service_died_are_redone_or_said_to_be_lost(start, clip, tools):
    with start() as client:
        store, uploads = client.service.jobs.store, client.service.jobs.disk.uploads
        client.service.jobs.store.take, take = (lambda: None), store.take  # nothing is begun here
        jobs = [tools.begin(client, clip) for _ in range(3)]
        for _ in jobs:
            taken = take()
            store.progress(taken.id, 0.1, 3, 3, "rows", [{"path": "a"}])
        for _ in range(2):  # the third goes down under the service twice more
            with store._transaction() as base:
                base.execute("UPDATE jobs SET tries = tries + 1 WHERE id = ?", (jobs[2]["id"],))
        (uploads / store.get(jobs[1]["id"]).upload).unlink()
        (uploads / "orphan.mp4").write_bytes(b"nobody's")
        client.service.jobs.store.put_back = lambda job: None
    with start() as client:
        redone = tools.wait_for(client, jobs[0])
        assert (redone["state"], redone["frames"]) == ("done", 12)
        lines = client.get(redone["links"]["result"], params={"format": "jsonl"}).text.splitlines()
        assert [json.loads(line)["frame"] for line in lines] == list(range(12))
        for job, reason in ((jobs[1], "its clip is gone"), (jobs[2], "too often")):
            lost = client.get(job["links"]["self"]).json()
            assert (lost["state"], lost["error"]["kind"]) == ("failed", "lost")
            assert reason in lost["error"]["message"]
        assert tools.emptied(client.service.jobs.disk.uploads)


def test_a_reader_that_dies_takes_only_its_own_job_down(start, long_clip, clip, tools):
    with start() as client:
        job = tools.begin(client, long_clip)
        while not client.get(job["links"]["self"]).json()["frames"]:
            time.sleep(0.02)
        os.kill(client.service.jobs._runs[job["id"]].process.pid, signal.SIGSEGV)
        died = tools.wait_for(client, job)
        assert (died["state"], died["error"]["kind"]) == ("failed", "not_a_clip")
        assert tools.wait_for(client, tools.begin(client, clip))["state"] == "done"
        assert client.get("/readyz").status_code == 200


def test_trouble_with_the_database_or_a_process_is_waited_out(start, clip, tools, monkeypatch):
    """A full disk passes; the workers and the cleaner are there when it does."""
    with start() as client:
        jobs = client.service.jobs
        trouble = iter([sqlite3.OperationalError("database or disk is full"), OSError(12, "no memory")])
        take, begin = jobs.store.take, jobs._new_process

        def taking():
            error = next(trouble, None) if jobs.store.counts().get("queued") else None
            if isinstance(error, sqlite3.Error):
                raise error
            return take()

        def beginning():
            error = next(trouble, None)
            if error is not None:
                raise error
            return begin()

        monkeypatch.setattr(jobs.store, "take", taking)
        monkeypatch.setattr(jobs, "_new_process", beginning)
        job = tools.wait_for(client, tools.begin(client, clip))
        assert job["state"] == "done" and jobs.running and next(trouble, None) is None
