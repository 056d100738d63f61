"""Clips as jobs: a queue on the disk, and processes that read from it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.serve.disk import Disk, full
from mien.serve.logs import say
from mien.serve.refusals import Refusal
from mien.serve.settings import TOKEN, Settings
from mien.serve.store import FINISHED, Job, Store

CLEAN_S = 60.0
LOOK_S = 1.0


@dataclass
class _Run:
    """A job at work. `why` says who ended it: "cancelled", "stopping", "too_slow", "disk"; empty while nobody has."""

    job: Job
    process: subprocess.Popen[str]
    why: str = ""

    def end(self, why: str) -> None:
        """Kill the process; it is the only sure way out of a decoder that hangs."""
        self.why = self.why or why
        self.process.kill()


class Jobs:
    """Takes clips, works on them, keeps what was found, and forgets it in time.

    Args:
        settings: limits and where.
        disk: the service's folder.
        ended: called with the state in which each job ends.
    """

    def __init__(
        self, settings: Settings, disk: Disk, ended: Callable[[str], None] = lambda state: None
    ) -> None:
        self.settings, self.disk, self._ended = settings, disk, ended
        self.store = Store(disk.database)
        self._changed = threading.Condition()
        self._runs: dict[str, _Run] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Pick up what was left by the last run, delete what nobody needs, and begin."""
        counts = self.store.recover({path.name for path in self.disk.uploads.iterdir()})
        needed = self.store.uploads()
        for path in self.disk.uploads.iterdir():
            if path.name not in needed:
                path.unlink()
        say(logging.INFO, "jobs found", **self.store.counts(), **counts)
        targets = [self._work] * self.settings.workers + [self._clean]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all work; jobs that were running wait for the next start."""
        self._stopping.set()
        with self._changed:
            for run in self._runs.values():
                run.end("stopping")
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(10)
        self.store.close()
        self.disk.close()

    @property
    def running(self) -> bool:
        """Whether clips are worked on."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def expect_room(self) -> None:
        """`Refusal` if too many clips wait already."""
        counts = self.store.counts()
        if counts["queued"] + counts["running"] >= self.settings.jobs:
            raise Refusal(
                "too_many_jobs",
                f"expected at most {self.settings.jobs} clips that wait (jobs), got one more. Come back later.",
            )

    def add(self, name: str, options: Mapping[str, Any], upload: Path) -> Job:
        """A clip into the queue.

        Raises:
            Refusal: too many wait, or the disk is full.
        """
        with self._changed:
            self.expect_room()
            try:
                job = self.store.add(name, options, upload.name)
            except sqlite3.OperationalError:
                raise full(self.settings.disk_mb) from None
            self._changed.notify()
        return job

    def end(self, job: Job) -> Job | None:
        """Cancel a job, or forget it with its rows if it is finished already; `None` then."""
        if job.state in FINISHED:
            self.store.remove(job.id)
            return None
        with self._changed:
            run = self._runs.get(job.id)
            if run is not None:
                run.end("cancelled")
            else:
                self._finish(job, "cancelled")
        if run is not None:
            run.process.wait()
            while job.id in self._runs:
                time.sleep(0.01)
        return self.store.get(job.id)

    def _finish(self, job: Job, state: str, error: tuple[str, str] | None = None) -> None:
        if self.store.finish(job.id, state, error):
            self._ended(state)
            kind = None if error is None else error[0]
            say(logging.INFO, "job ended", state=state, kind=kind, s=round(time.time() - job.made_at, 3))
        if job.upload is not None:
            (self.disk.uploads / job.upload).unlink(missing_ok=True)

    def _clean(self) -> None:
        while not self._stopping.wait(CLEAN_S):
            try:
                self.clean()
            # A full disk may pass; what was not cleaned is cleaned next time.
            except (sqlite3.Error, OSError) as error:
                say(logging.ERROR, "cleaning broke off", type=type(error).__name__)

    def clean(self) -> int:
        """Forget jobs that were kept long enough; how many."""
        return self.store.remove_before(time.time() - self.settings.keep_s)

    def _work(self) -> None:
        """One worker: a process, and one job after the other."""
        process: subprocess.Popen[str] | None = None
        try:
            while not self._stopping.is_set():
                job = None
                try:
                    with self._changed:
                        job = None if self._stopping.is_set() else self.store.take()
                        if job is None:
                            self._changed.wait(LOOK_S)
                            continue
                        if process is None or process.poll() is not None:
                            process = self._new_process()
                        run = self._runs[job.id] = _Run(job, process)
                except (sqlite3.Error, OSError) as error:  # a full disk, no memory for a process: it may pass
                    say(logging.ERROR, "no job could be begun", type=type(error).__name__)
                    with contextlib.suppress(sqlite3.Error):
                        if job is not None:
                            self.store.put_back(job.id)
                    self._stopping.wait(LOOK_S)
                    continue
                try:
                    self._run(run)
                except Exception as error:
                    say(logging.ERROR, "job broke off", type=type(error).__name__)
                    run.end("disk" if isinstance(error, sqlite3.OperationalError) else "broken")
                    with contextlib.suppress(sqlite3.Error):
                        self._settle(run, None)
                finally:
                    with self._changed:
                        del self._runs[job.id]
        finally:
            if process is not None:
                process.kill()
                process.wait()

    def _new_process(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mien.serve.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            env={name: value for name, value in os.environ.items() if name != TOKEN},
        )  # fmt: skip
        told = {
            name: getattr(self.settings, name)
            for name in ("model", "threads", "frame_megapixels", "length_s", "memory_mb")
        }
        _tell(process, {**told, "scratch": str(self.disk.scratch)})
        return process

    def _run(self, run: _Run) -> None:
        """Read one clip, and put what is found into the store."""
        job, last = run.job, None
        assert job.upload is not None and run.process.stdout is not None
        watch = threading.Timer(self.settings.job_s, run.end, ["too_slow"])
        watch.daemon = True
        watch.start()
        try:
            _tell(run.process, {
                "file": str(self.disk.uploads / job.upload), "name": job.name, "options": dict(job.options)
            })  # fmt: skip
            broken: str | None = None
            while line := run.process.stdout.readline():
                if not line.endswith("\n"):
                    break  # killed in the middle
                last = json.loads(line)
                if last["tell"] in ("end", "failed"):
                    break
                if last["tell"] == "broken":
                    broken = last["message"]
                else:
                    self._note(run, last)
        finally:
            watch.cancel()
        if last is not None and last["tell"] == "end" and broken is not None:
            last["broken"] = broken
        self._settle(run, last)

    def _note(self, run: _Run, found: dict[str, Any]) -> None:
        """Keep what the process tells on the way."""
        if found["tell"] == "opened":
            self.store.opened(run.job.id, found["columns"], found["length_s"])
            return
        kind = "" if found["tell"] == "progress" else found["tell"]
        counts = found["done_s"], found["frames"], found["faces"]
        self.store.progress(run.job.id, *counts, kind, found.get("rows"))
        if not self.disk.has_room():
            run.end("disk")

    def _settle(self, run: _Run, last: dict[str, Any] | None) -> None:
        """Say how a job ended, by who ended it or by the last that its process told."""
        job = run.job
        if last is not None and last["tell"] == "end" and run.why in ("", "stopping", "too_slow"):
            self._finish(job, "done", ("broken_clip", last["broken"]) if "broken" in last else None)
        elif run.why == "cancelled":
            self._finish(job, "cancelled")
        elif run.why == "stopping":
            self.store.put_back(job.id)
        elif run.why == "too_slow":
            message = f"expected the work to end within {self.settings.job_s:g} s (job_s), got more. Cut the clip into pieces."
            self._finish(job, "failed", ("too_slow", message))
        elif run.why == "disk":
            self._finish(job, "failed", ("disk", full(self.settings.disk_mb).message))
        elif last is not None and last["tell"] == "failed":
            if "log" in last:
                say(logging.ERROR, "clip reader failed", **last["log"])
                run.process.kill()  # nobody knows what state it is in
            self._finish(job, "failed", (last["kind"], last["message"]))
        else:
            code = run.process.wait() if run.process.poll() is not None else None
            say(logging.ERROR, "clip reader died", code=_signal(code))
            message = "expected to read the clip, got one under which the reader broke down. Export it again."
            self._finish(job, "failed", ("not_a_clip", message))


def _tell(process: subprocess.Popen[str], words: dict[str, Any]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died; its silence is noticed where it is heard
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()


def _signal(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else str(code)
