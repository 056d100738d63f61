"""Who does the shards: processes of this machine, or actors of a Ray cluster. A worker that dies costs its one shard."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from mien.batch.shard import Done, Job, Lost, ShardWorker
from mien.errors import BatchError, MissingExtraError, OptionError

ANSWER_S = 10.0
"""How long a cluster may take to answer."""
Outcome = tuple[int, Done | Lost]
"""A shard, and what came of it."""


class Engine(Protocol):
    """Some workers, each at one shard at a time."""

    workers: int

    def submit(self, shard: int) -> None:
        """Give a shard to a free worker; never more than `workers` at once."""

    def wait(self) -> list[Outcome]:
        """What came of at least one of the shards under way."""

    def close(self) -> None:
        """Stop all workers at once; what they were doing is lost."""


def _serve(pipe: Connection, job: Job) -> None:
    """A worker process: shards in, outcomes out, until a shard is lost or nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    worker = ShardWorker(job)
    try:
        while True:
            outcome = worker.attempt(pipe.recv())
            pipe.send(outcome)
            if isinstance(outcome, Lost):
                return
    except (EOFError, ConnectionError):
        return


class Processes:
    """Processes of this machine, started afresh (no fork). Each is a core's worth of work.

    Args:
        job: what they do.
        workers: how many; 0 for one a core.

    Raises:
        OptionError: a negative number of workers.
    """

    def __init__(self, job: Job, workers: int = 0) -> None:
        self.job = job
        self.workers = _checked(workers) or cores()
        self.context = multiprocessing.get_context("spawn")
        self.idle: list[tuple[BaseProcess, Connection]] = []
        self.busy: dict[Connection, tuple[BaseProcess, int]] = {}

    def submit(self, shard: int) -> None:  # noqa: D102
        process, pipe = self.idle.pop() if self.idle else self._start()
        self.busy[pipe] = process, shard
        with contextlib.suppress(ConnectionError):  # it died idle; `wait` will see that
            pipe.send(shard)

    def _start(self) -> tuple[BaseProcess, Connection]:
        mine, its = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(its, self.job), daemon=True)
        process.start()
        its.close()  # so that the end of the process is the end of the pipe
        return process, mine

    def wait(self) -> list[Outcome]:  # noqa: D102
        outcomes: list[Outcome] = []
        for pipe in wait(list(self.busy)):
            assert isinstance(pipe, Connection)
            process, shard = self.busy.pop(pipe)
            try:
                outcome: Done | Lost = pipe.recv()
            except (EOFError, ConnectionError):
                process.join()
                outcome = Lost(shard, f"its worker died with exit code {process.exitcode}")
            if isinstance(outcome, Done):
                self.idle.append((process, pipe))
            outcomes.append((shard, outcome))
        return outcomes

    def close(self) -> None:  # noqa: D102
        for process in [process for process, _ in self.idle] + [process for process, _ in self.busy.values()]:
            process.kill()
            process.join()


class OnRay:
    """Actors of a running Ray cluster, one CPU each. What they need (mien, the files, the folder) must be there.

    Args:
        job: what they do.
        workers: how many; 0 for one a CPU that the cluster has now.
        address: of the cluster, as `ray.init` takes it.

    Raises:
        MissingExtraError: Ray is not installed.
        OptionError: a negative number of workers.
        BatchError: no cluster answers.
    """

    def __init__(self, job: Job, workers: int = 0, address: str = "auto") -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtraError("the engine ray needs Ray: pip install 'mien[ray]'") from None
        if address == "local":
            raise OptionError(
                "expected the address of a running cluster, got 'local'. Use --engine processes."
            )
        self.ray, self.job, workers = ray, job, _checked(workers)
        self.owner = not ray.is_initialized()
        if self.owner:
            try:
                _knock(address)
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                raise BatchError(
                    f"expected a Ray cluster at {address!r}, got: {error}. Start one (docs/batch.md says how), or use "
                    "--engine processes."
                ) from None
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.actor = ray.remote(num_cpus=1)(ShardWorker)
        self.idle: list[Any] = []
        self.busy: dict[Any, tuple[Any, int]] = {}

    def submit(self, shard: int) -> None:  # noqa: D102
        worker = self.idle.pop() if self.idle else self.actor.remote(self.job)
        self.busy[worker.attempt.remote(shard)] = worker, shard

    def wait(self) -> list[Outcome]:  # noqa: D102
        outcomes: list[Outcome] = []
        for reference in self.ray.wait(list(self.busy))[0]:
            worker, shard = self.busy.pop(reference)
            try:
                outcome: Done | Lost = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                outcome = Lost(shard, f"{type(error).__name__}: {' '.join(str(error).split())}")
            if isinstance(outcome, Done):
                self.idle.append(worker)
            else:
                self.ray.kill(worker)
            outcomes.append((shard, outcome))
        return outcomes

    def close(self) -> None:  # noqa: D102
        for worker in [*self.idle, *(worker for worker, _ in self.busy.values())]:
            self.ray.kill(worker)
        if self.owner:
            self.ray.shutdown()


def _knock(address: str) -> None:
    """`OSError` if nobody is at `host:port`: Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), ANSWER_S).close()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(workers: int) -> int:
    if workers < 0:
        raise OptionError(f"expected a number of workers, or 0 for one a core, got {workers}")
    return workers
