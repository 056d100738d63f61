"""What the benchmarks share: where data lie, the facts of a machine, Markdown tables and the result file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mien.weights.store import load_weights

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
LOAD_AT_START = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
PACKAGES = ("numpy", "onnxruntime", "pillow", "av", "ai-edge-litert")


def arguments(text: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with photos/ and muxspace/")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument("--peers", type=Path, help="folder with the peers' archives, see README.md")
    parser.add_argument("--quick", action="store_true", help="a trial with less of everything")
    return parser


def facts() -> dict[str, Any]:
    """Everything that a number depends on besides the code: machine, versions, commit, networks, date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "uncommitted_changes_in_src": bool(_git("status", "--porcelain", "src")),
        "cpu": _cpu(),
        "cores": cores(),
        "load_average_at_start": LOAD_AT_START,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "networks_sha256": {name: load_weights(name).sha256 for name in ("yunet", "expression")},
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit() -> str:
    """The short hash of the checked-out commit, `nogit` outside a repository."""
    return _git("rev-parse", "--short", "HEAD") or "nogit"


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def save(folder: Path, section: str, figures: dict[str, Any]) -> Path:
    """Put one benchmark's figures under its name into `<date>-<commit>.json`; other sections stay."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y-%m-%d}-{commit()}.json"
    stored = json.loads(path.read_text()) if path.is_file() else {}
    stored[section] = {"machine": facts(), **figures}
    path.write_text(json.dumps(stored, indent=1) + "\n")
    return path


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; numbers are rounded to three digits, `None` becomes a dash."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
