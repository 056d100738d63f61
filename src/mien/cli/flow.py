"""The verb `flow`: what moved between two pictures of a face, as numbers, as a network's input, and drawn."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from mien.cli import exits
from mien.errors import InputError, OptionError
from mien.files import whole

EPILOG = """exit codes:
  0  written
  2  an option, a picture or OpenCV (pip install 'mien[flow]') cannot be used
"""


def add_verb(verbs: Any) -> None:
    """Add the verb to the command's parser."""
    verb = verbs.add_parser(
        "flow",
        help="motion between two pictures of a face: u, v and optical strain",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("onset", type=Path, metavar="ONSET", help="the face before it moves")
    verb.add_argument(
        "apex", type=Path, metavar="APEX", help="the same face at its strongest, of the same size"
    )
    verb.add_argument(
        "--out", type=Path, required=True, metavar="FILE",
        help=".npz: motion (u, v in pixels, strain) and map; .png: the map, u, v, strain as red, green, blue",
    )  # fmt: skip
    verb.add_argument("--size", type=int, default=28, help="side of the map (default: %(default)s)")
    verb.add_argument("--picture", type=Path, metavar="FILE.png", help="draw it, to look at")
    verb.add_argument("--aligned", action="store_true", help="the pictures are cut-outs of the face already")
    verb.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from PIL import Image

    from mien.faces.motion import motion_between
    from mien.pipeline.flow_drawing import draw_motion
    from mien.pipeline.pictures import read_picture

    if options.out.suffix.lower() not in (".npz", ".png"):
        raise OptionError(f"expected --out with the ending .npz or .png, got {options.out.name!r}")
    if options.size < 1:
        raise OptionError(f"expected --size of at least 1, got {options.size}")
    for path in (options.onset, options.apex):
        if not path.is_file():
            raise InputError(f"expected a picture, got no file {path}")
    found = motion_between(read_picture(options.onset), read_picture(options.apex), options.aligned)
    maps = found.picture(options.size)

    with whole(options.out) as file:
        if options.out.suffix.lower() == ".png":
            Image.fromarray(maps).save(file, "png")
        else:
            np.savez_compressed(file, motion=found.motion, map=maps)
    if options.picture is not None:
        with whole(options.picture) as file:
            Image.fromarray(draw_motion(found)).save(file, "png")
    u, v, strain = (found.motion[..., channel] for channel in range(3))
    figures = {
        "file": str(options.out),
        "median_u_px": round(float(np.median(u)), 3),
        "median_v_px": round(float(np.median(v)), 3),
        "largest_px": round(float(np.hypot(u, v).max()), 3),
        "mean_strain": round(float(strain.mean()), 5),
    }
    print(
        json.dumps(figures)
        if options.json
        else "\n".join(f"{name:12} {one}" for name, one in figures.items())
    )
    return exits.OK
