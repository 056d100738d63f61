"""What a run has reached so far, as CSV and as a picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mien.engine.journal import read_log
from mien.files import whole, write_whole


def write_curves(run: Path) -> None:
    """Write `curves.csv` and, where matplotlib is installed, `curves.png` from the run's log."""
    epochs = read_log(run)
    if not epochs:
        return
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(epochs[0]))
    writer.writeheader()
    writer.writerows(epochs)
    write_whole(run / "curves.csv", table.getvalue())
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    index = [line["epoch"] + 1 for line in epochs]
    left.plot(index, [line["loss"] for line in epochs], marker=".", label="training loss")
    looked = [line for line in epochs if line["select_score"] is not None]
    places = [line["epoch"] + 1 for line in looked]
    left.plot(places, [line["select_nll"] for line in looked], marker=".", label="selection NLL")
    left.set(xlabel="epoch", ylabel="nats")
    right.plot(places, [line["select_score"] for line in looked], marker=".", color="tab:green")
    right.set(xlabel="epoch", ylabel=f"selection {epochs[0]['metric']}")
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    with whole(run / "curves.png") as file:
        figure.savefig(file, format="png", dpi=110)
