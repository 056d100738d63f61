"""What a run writes down of its epochs, `log.jsonl`, and what it tells whoever looks on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mien.engine.pictures import Pictures
from mien.files import write_whole

LOG = "log.jsonl"


def read_log(run: Path) -> list[dict[str, Any]]:
    """The epochs of a run's log, one a line; empty before the first."""
    path = run / LOG
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [line for line in lines if "epoch" in line]


def log_epoch(run: Path, line: Mapping[str, Any]) -> None:
    """Add an epoch to the log."""
    with (run / LOG).open("a") as log:
        log.write(json.dumps(line) + "\n")


def cut_log(run: Path, epochs: int) -> None:
    """Drop lines of epochs after so many, which the checkpoint does not know, and one that a kill tore."""
    path = run / LOG
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            if json.loads(line)["epoch"] < epochs:
                kept.append(line)
    write_whole(path, "".join(line + "\n" for line in kept))


def tell_start(started: Mapping[str, Any] | None) -> None:
    """Say which weights were taken over from another run, where there is one."""
    if started is None:
        return
    tqdm.write("started from {source}: {taken} tensors; fresh: {fresh}".format(**started))
    if "other_labels" in started:
        tqdm.write(f"its last layer was for {', '.join(started['other_labels'])}; ours is fresh")


def tell_left_out(name: str, split: Pictures, own: bool) -> None:
    """Say what of a split could not be used, or only as it is; the checkpoint names the first hundred.

    Args:
        name: of the split.
        split: its pictures.
        own: they are a folder of the user's.
    """
    if split.failures:
        lost = len(split.failures)
        first = "; ".join(split.failures[:3])
        tqdm.write(f"{name}: {lost:,} of {len(split) + lost:,} left out. First: {first}")
    unseen = 0 if split.found is None else int((~split.found).sum())
    if unseen and split.framing == "crop":
        hint = " Of photographs, say --photos." if own else ""
        tqdm.write(
            f"{name}: no face found in {unseen:,} of {len(split):,} pictures, which are taken to be filled by one."
            + hint
        )


def tell_standing(state: Mapping[str, Any], epochs: int) -> None:
    """Say it where there is nothing left to do."""
    done = state["epoch"]
    if state["stopped"]:
        looks = state["since_best"]
        tqdm.write(
            f"this run stopped early after epoch {done}, {looks} looks without a better score; more epochs need "
            "another --out"
        )
    elif done == epochs:
        tqdm.write(f"all {done} epochs of this run are done")


def tell_epoch(line: Mapping[str, Any], epochs: int, selected_by: str) -> None:
    """Say what an epoch has reached."""
    seen = ""
    if line["select_score"] is not None:
        seen = f"{line['metric']} on {selected_by} {line['select_score']:.4f}  NLL {line['select_nll']:.4f}  "
    tqdm.write(
        f"epoch {line['epoch'] + 1}/{epochs}  loss {line['loss']:.4f}  {seen}{line['pictures_per_s']:.0f} pictures/s"
    )
