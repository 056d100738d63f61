"""The service under load beside the bare analyzer, in one run: throughput, delays, what it costs, and overload.

    python benchmarks/serve.py [--results DIR] [--quick] [--seconds S] [--size PX]

One picture (the shipped astronaut, scaled) over and over, JPEG. The bare analyzer decodes it from memory and reads it: one by
one, and eight at once. The service runs as a process of its own and gets the same bytes from `wrk` with 1, 8 and 32 connections
that stay open, on the same machine; wrk itself takes a share of it. Bare and served rounds take turns, so that a machine that
is busy with other things disturbs both; look at the ratios, and at the processor time a picture, which says what the service
itself adds. Overload: a service with places for four requests gets eight
connections; its memory is that of its process, from /proc. Needs wrk and Linux.
"""

from __future__ import annotations

import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import arguments, save, table
from PIL import Image

from mien.demo import PICTURES
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.pictures import decode_picture

CONNECTIONS = (1, 8, 32)
ROUNDS = 8
COLUMNS = {
    "per_s": "pictures/s", "of_bare": "of bare", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "p99_of_bare": "of bare",
    "cpu_ms": "processor ms a picture", "cpu_of_bare": "of bare", "pictures_a_batch": "a batch", "not_200": "not 200",
}  # fmt: skip
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "multipart/form-data; boundary=b"
local file = io.open("{body}", "rb")
wrk.body = file:read("*all")
file:close()
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function init(args) counts = {{}} end
function response(status) counts[status] = (counts[status] or 0) + 1 end
function done(summary, latency, requests)
  local all = {{}}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("counts")) do all[status] = (all[status] or 0) + count end
  end
  for status, count in pairs(all) do io.write(string.format("STATUS %d %d\\n", status, count)) end
  io.write(string.format("P50 %f\\nP99 %f\\nSECONDS %f\\nSOCKETS %d\\n", latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, summary.duration / 1e6, summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


class Service:
    """A service as a process of its own, on a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        log = folder / f"{time.monotonic_ns()}.log"
        words = ["serve", "--port", "0", "--threads", "1", "--home", str(folder / log.stem), *options]
        with log.open("w") as stream:
            self.process = subprocess.Popen([sys.executable, "-m", "mien.cli", *words], stderr=stream)
        while not (found := re.search(r'"event": "listening".*"port": (\d+)', log.read_text())):
            if self.process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        self.base = f"http://127.0.0.1:{found[1]}"

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def memory_mb(self) -> float:
        """Memory of the process that is in use."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6

    def cpu_s(self) -> float:
        """Processor time of the process so far."""
        told = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")

    def batches(self) -> tuple[float, float]:
        """Pictures and batches so far."""
        with urllib.request.urlopen(f"{self.base}/metrics") as answer:
            text = answer.read().decode()
        names = ("mien_batch_pictures_sum", "mien_batch_pictures_count")
        found = [float(re.search(rf"^{name} (\S+)", text, re.MULTILINE)[1]) for name in names]
        return found[0], found[1]

    def load(self, script: Path, connections: int, seconds: float) -> dict[str, Any]:
        """Wrk with so many connections."""
        time.sleep(1)  # what the last round left is given up
        done = subprocess.run(
            [*("wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds:g}s", "--timeout", "60s"),
             *("-s", str(script), f"{self.base}/v1/analyze")],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        told = dict(re.findall(r"^(P50|P99|SECONDS|SOCKETS) (\S+)$", done, re.MULTILINE))
        statuses = {
            int(status): int(count)
            for status, count in re.findall(r"^STATUS (\d+) (\d+)$", done, re.MULTILINE)
        }
        return {
            "per_s": statuses.get(200, 0) / float(told["SECONDS"]), "p50_ms": float(told["P50"]),
            "p99_ms": float(told["P99"]), "statuses": statuses, "socket_errors": int(told["SOCKETS"]),
        }  # fmt: skip


def bare(read: Callable[[], Any], pictures: int, seconds: float) -> dict[str, float]:
    """How fast the analyzer is without a service."""
    times, start, cpu_s = [], time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        read()
        times.append(1000 * (time.perf_counter() - begin))
    times.sort()
    return {
        "cpu_ms": 1000 * (time.process_time() - cpu_s) / (pictures * len(times)),
        "per_s": pictures * len(times) / (time.perf_counter() - start),
        "p50_ms": statistics.median(times), "p99_ms": times[min(len(times) - 1, int(0.99 * len(times)))],
    }  # fmt: skip


def form(side_px: int, folder: Path) -> tuple[bytes, Path]:
    """The picture, and a script for wrk that sends it."""
    stream = io.BytesIO()
    Image.open(PICTURES / "astronaut.jpg").resize((side_px, side_px)).save(stream, "jpeg", quality=90)
    body = folder / "body"
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body.write_bytes(head + stream.getvalue() + b"\r\n--b--\r\n")
    script = folder / "post.lua"
    script.write_text(SCRIPT.format(body=body))
    return stream.getvalue(), script


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds."""
    return {
        name: statistics.median(one[name] for one in rounds)
        for name in ("per_s", "p50_ms", "p99_ms", "cpu_ms")
    }


def throughput(folder: Path, side_px: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Bare and served, in turns."""
    content, script = form(side_px, folder)
    analyzer = Analyzer(threads=1)
    reads = {
        "bare, one by one": (lambda: analyzer.analyze_images([decode_picture(content)]), 1),
        "bare, eight at once": (
            lambda: analyzer.analyze_images([decode_picture(content) for _ in range(8)]),
            8,
        ),
    }
    found: dict[str, list[dict[str, Any]]] = {}
    with Service(folder) as batching, Service(folder, "--batch", "1") as single:
        served = [(batching, "served", connections) for connections in CONNECTIONS]
        served.append((single, "served one by one", 8))
        for read, _ in reads.values():
            read()
        for service in (batching, single):
            service.load(script, 8, 2)
        for _ in range(rounds):
            for name, (read, pictures) in reads.items():
                found.setdefault(name, []).append(bare(read, pictures, seconds))
            for service, name, connections in served:
                before, cpu_s = service.batches(), service.cpu_s()
                measured = service.load(script, connections, seconds)
                pictures, batches = (b - a for a, b in zip(before, service.batches(), strict=True))
                name = f"{name}, {connections} connections"
                found.setdefault(name, []).append(
                    measured
                    | {"batch": pictures / batches, "cpu_ms": 1000 * (service.cpu_s() - cpu_s) / pictures}
                )
    figures: dict[str, Any] = {}
    for name, all_rounds in found.items():
        pairs = list(zip(all_rounds, found["bare, one by one"], strict=True))
        figures[name] = middle(all_rounds) | {
            "of_bare": statistics.median(one["per_s"] / alone["per_s"] for one, alone in pairs),
            "cpu_of_bare": statistics.median(one["cpu_ms"] / alone["cpu_ms"] for one, alone in pairs),
            "p99_of_bare": statistics.median(one["p99_ms"] / alone["p99_ms"] for one, alone in pairs),
        }
        if "batch" in all_rounds[0]:
            figures[name]["pictures_a_batch"] = statistics.median(one["batch"] for one in all_rounds)
            figures[name]["not_200"] = sum(
                count for one in all_rounds for status, count in one["statuses"].items() if status != 200
            )
            figures[name]["socket_errors"] = sum(one["socket_errors"] for one in all_rounds)
    return {
        "side_px": side_px,
        "jpeg_bytes": len(content),
        "rounds": rounds,
        "seconds": seconds,
        "figures": figures,
    }


def overload(folder: Path, side_px: int, seconds: float) -> dict[str, Any]:
    """A service with four places, with four connections and then with eight."""
    _, script = form(side_px, folder)
    with Service(folder, "--concurrency", "4") as service:
        service.load(script, 4, 3)
        full = service.load(script, 4, seconds)
        before = service.memory_mb()
        twice = service.load(script, 8, seconds)
        return {"full": full, "twice": twice, "memory_mb": [round(before, 1), round(service.memory_mb(), 1)]}


def main() -> None:
    """Measure, print, save."""
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="of each round (default: %(default)g)")
    parser.add_argument(
        "--size", type=int, nargs="+", default=[256, 512], help="sides of the picture, pixels"
    )
    options = parser.parse_args()
    seconds, rounds = (2, 1) if options.quick else (options.seconds, ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loads = [throughput(folder, side, seconds, rounds) for side in options.size]
        flood = overload(folder, options.size[0], 2 * seconds)
    for load in loads:
        print(f"\n{load['side_px']} px, {load['jpeg_bytes']} bytes, median of {load['rounds']} rounds\n")
        rows = ([name, *(one.get(column) for column in COLUMNS)] for name, one in load["figures"].items())
        print(table(("", *COLUMNS.values()), rows))
    print("overload:", json.dumps(flood, indent=1))
    figures = {"throughput": loads, "overload": flood, "quick": options.quick}
    print(save(options.results, "serve", figures))


if __name__ == "__main__":
    main()
