from __future__ import annotations

import numpy as np
import pytest

from mien.demo import PICTURES, demo_pictures
from mien.demo.draw_pictures import landscape, shapes
from mien.pipeline.pictures import read_picture


def test_the_pictures_are_there_with_their_notice() -> None:
    names = [path.name for path in demo_pictures()]
    assert names == [
        "astronaut.jpg",
        "grace_hopper.jpg",
        "no_face_landscape.png",
        "no_face_shapes.png",
        "page.jpg",
    ]
    notice = (PICTURES / "NOTICE.md").read_text()
    for name in names:
        assert name in notice


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in demo_pictures()) < 500_000


@pytest.mark.parametrize(("name", "drawn"), [("no_face_landscape", landscape), ("no_face_shapes", shapes)])
def test_the_drawings_are_what_the_script_draws(name: str, drawn) -> None:
    stored = read_picture(PICTURES / f"{name}.png").astype(int)
    assert np.abs(stored - np.asarray(drawn())).mean() < 1
