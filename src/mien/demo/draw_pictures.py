"""Make the shipped pictures from the two public-domain portraits, and draw those without a face.

    python -m mien.demo.draw_pictures ASTRONAUT.png GRACE_HOPPER.jpg

The portraits come inside the wheels of scikit-image (skimage/data/astronaut.png) and matplotlib
(mpl-data/sample_data/grace_hopper.jpg).
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from mien.demo import PICTURES


def page(astronaut: Image.Image, hopper: Image.Image) -> Image.Image:
    """Both portraits several times on one page: large, small, turned, grey, mirrored."""
    sheet = Image.new("RGB", (1200, 800), "#e9e4da")
    for picture, height, x, y, turn in (
        (astronaut, 440, 30, 30, 0),
        (hopper, 420, 520, 40, 0),
        (astronaut.convert("L").convert("RGB"), 280, 900, 40, -12),
        (hopper.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 250, 60, 510, 10),
        (astronaut, 130, 330, 560, 0),
        (hopper, 130, 500, 560, 0),
        (hopper.convert("L").convert("RGB"), 250, 680, 510, 0),
        (astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 250, 920, 500, 15),
    ):
        width = round(picture.width * height / picture.height)
        small = picture.resize((width, height), Image.Resampling.LANCZOS).convert("RGBA")
        turned = small.rotate(turn, Image.Resampling.BICUBIC, expand=True)
        sheet.paste(turned, (x, y), turned)
    return sheet


def landscape() -> Image.Image:
    """Hills, a sun and a road: no face."""
    picture = Image.new("RGB", (640, 420), "#a9d3ee")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((470, 40, 550, 120), fill="#ffe08a")
    for base, height, wave, colour in (
        (230, 60, 150, "#8fb19c"),
        (270, 45, 90, "#6d9a73"),
        (320, 30, 200, "#4f7d4b"),
    ):
        edge = [(x, base - height * math.sin(x / wave) - 8 * math.sin(x / 23)) for x in range(0, 641, 4)]
        pen.polygon([*edge, (640, 420), (0, 420)], fill=colour)
    pen.polygon([(300, 420), (380, 420), (352, 300), (346, 300)], fill="#d8cfb4")
    return picture


def shapes() -> Image.Image:
    """A table of plain shapes and stripes: no face."""
    picture = Image.new("RGB", (480, 480), "#ffffff")
    pen = ImageDraw.Draw(picture)
    for index in range(12):
        pen.line((0, index * 40, 480, index * 40 + 60), fill="#dddddd", width=6)
    pen.rectangle((60, 60, 180, 200), fill="#0072b2")
    pen.polygon([(320, 60), (420, 220), (240, 200)], fill="#d55e00")
    pen.rectangle((260, 300, 430, 360), fill="#009e73")
    pen.arc((60, 280, 200, 420), 20, 200, fill="#000000", width=8)
    return picture


def main(astronaut_path: str, hopper_path: str) -> None:
    """Write all pictures into the package."""
    PICTURES.mkdir(exist_ok=True)
    astronaut = Image.open(astronaut_path).convert("RGB")
    hopper = Image.open(hopper_path).convert("RGB")
    astronaut.save(PICTURES / "astronaut.jpg", quality=92)
    (PICTURES / "grace_hopper.jpg").write_bytes(Path(hopper_path).read_bytes())
    page(astronaut, hopper).save(PICTURES / "page.jpg", quality=90)
    landscape().save(PICTURES / "no_face_landscape.png", optimize=True)
    shapes().save(PICTURES / "no_face_shapes.png", optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
