from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.datasets.drawn import drawn_face
from mien.datasets.pictures import decode
from mien.errors import DataError
from mien.faces.crops import as_rgb
from mien.pipeline.pictures import read_picture


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (8, 6)), ("RGB", (8, 6, 3)), ("RGBA", (8, 6, 3)), ("P", (8, 6, 3))]
)
def test_grey_stays_grey_and_all_else_is_rgb(mode: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("L", (6, 8), 77).convert(mode).save(path)
    picture = decode(path, path)
    assert picture.shape == shape
    assert picture.dtype == np.uint8
    assert (picture == 77).all()
    assert np.array_equal(decode(path.read_bytes(), "x"), picture)


def test_exif_turns_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = io.BytesIO()
    Image.new("L", (20, 10)).save(stored, "JPEG", exif=exif)
    assert decode(stored.getvalue(), "x").shape == (20, 10)


@pytest.mark.parametrize("size", [0, 1, 20, 300, 600])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_cut_off_files_are_named(size: int, kind: str, tmp_path: Path) -> None:
    stored = io.BytesIO()
    Image.fromarray(drawn_face("sad", 64)).save(stored, kind)
    assert len(stored.getvalue()) > 700
    path = tmp_path / "cut.img"
    path.write_bytes(stored.getvalue()[:size])
    with pytest.raises(DataError, match=r"damaged or other file .*cut\.img"):
        decode(path, path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got no file .*absent\.png"):
        decode(tmp_path / "absent.png", tmp_path / "absent.png")


def test_training_reads_odd_pictures_as_analysis_does(tmp_path: Path) -> None:
    """16 bits are scaled and not cut off; what is transparent lies on white."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    glass = np.zeros((8, 8, 4), np.uint8)
    glass[:4, :, 3] = 255
    pictures = {
        "ramp.png": Image.fromarray(ramp),
        "glass.png": Image.fromarray(glass),
        "shade.png": Image.fromarray(glass[..., 2:], "LA"),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        found = decode(tmp_path / name, name)
        assert found.ndim == (3 if name == "glass.png" else 2)
        assert np.array_equal(as_rgb(found), read_picture(tmp_path / name))
    assert np.array_equal(decode(tmp_path / "ramp.png", ""), np.arange(256).reshape(16, 16))
    assert decode(tmp_path / "shade.png", "")[[0, -1], 0].tolist() == [0, 255]
