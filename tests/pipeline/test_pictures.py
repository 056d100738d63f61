from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mien.datasets.pictures import decode
from mien.errors import InputError, ShapeError
from mien.pipeline import pictures
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.pictures import check_array, describe, read_picture
from mien.transforms import pixels


def saved(picture: Image.Image, path: Path, **options) -> Path:
    picture.save(path, **options)
    return path


def test_png_is_read_exactly(tmp_path: Path, portrait: np.ndarray) -> None:
    found = read_picture(saved(Image.fromarray(portrait), tmp_path / "a.png"))
    assert np.array_equal(found, portrait)
    assert found.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".webp", ".ppm"])
def test_lossless_formats(suffix: str, tmp_path: Path, portrait: np.ndarray) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    assert np.array_equal(
        read_picture(saved(Image.fromarray(portrait), tmp_path / f"a{suffix}", **options)), portrait
    )


def test_a_png_under_a_jpeg_name_works(tmp_path: Path, portrait: np.ndarray) -> None:
    path = saved(Image.fromarray(portrait), tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(read_picture(path), portrait)


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    found = read_picture(saved(Image.fromarray(ramp), tmp_path / "deep.png"))
    assert found.shape == (64, 64, 3)
    assert np.abs(found[..., 0] - ramp / 257).max() <= 1
    assert np.array_equal(found[..., 0], found[..., 2])


def test_a_dim_sixteen_bit_picture_stays_dim(tmp_path: Path) -> None:
    dim = np.full((20, 20), 200, np.uint16)  # of 65535: all but black, whatever else the picture holds
    found = read_picture(saved(Image.fromarray(dim), tmp_path / "dim.png"))
    assert found.max() <= 1


def test_float_tiff(tmp_path: Path) -> None:
    unit = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    found = read_picture(saved(Image.fromarray(unit), tmp_path / "unit.tif"))
    assert np.abs(found[..., 0] - unit * 255).max() <= 1


def test_cmyk_jpeg_shows_the_same_picture(tmp_path: Path, portrait: np.ndarray) -> None:
    path = saved(Image.fromarray(portrait).convert("CMYK"), tmp_path / "print.jpg", quality=95)
    assert np.abs(read_picture(path).astype(int) - portrait).mean() < 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode: str, tmp_path: Path) -> None:
    layered = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    layered.paste((90, 90, 90, 255), (0, 0, 20, 40))
    picture = layered.convert(mode) if mode != "P" else layered.quantize(8)
    found = read_picture(saved(picture, tmp_path / "a.png"))
    assert np.abs(found[:, :20].astype(int) - 90).max() <= 2
    assert found[:, 20:].min() >= 253


def test_half_transparent_black_is_grey(tmp_path: Path) -> None:
    found = read_picture(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), tmp_path / "a.png"))
    assert np.abs(found.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_without_colour(mode: str, tmp_path: Path) -> None:
    board = Image.fromarray((np.indices((16, 16)).sum(0) % 2 * 255).astype(np.uint8)).convert(mode)
    found = read_picture(saved(board, tmp_path / "a.png"))
    assert np.array_equal(found[..., 0], np.indices((16, 16)).sum(0) % 2 * 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(
    orientation: int, tmp_path: Path, portrait: np.ndarray
) -> None:
    upright = Image.fromarray(portrait[:200])
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(stored, tmp_path / "phone.png", exif=exif)
    assert np.array_equal(read_picture(path), np.asarray(upright))
    assert np.array_equal(check_array(Image.open(path)), np.asarray(upright))


def test_a_face_lying_on_its_side_in_the_file_is_found_upright(
    tmp_path: Path, portrait: np.ndarray, analyzer: Analyzer
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(portrait).transpose(Image.Transpose.ROTATE_90)
    result = next(analyzer.stream(saved(stored, tmp_path / "phone.png", exif=exif)))
    upright = analyzer.analyze_image(portrait)
    assert np.allclose(result.faces.box_xyxy_px, upright.box_xyxy_px, atol=1e-3)
    assert result.size_wh_px == (256, 256)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((5, 5, 3), np.float32), r"float32 \(5, 5, 3\)"),
        (np.zeros((5, 5, 3), np.int64), "int64"),
        (np.zeros((5, 5, 4), np.uint8), r"\(5, 5, 4\)"),
        (np.zeros((3, 5, 5), np.uint8), r"\(3, 5, 5\)"),
        (np.zeros((1, 5, 5, 3), np.uint8), r"\(1, 5, 5, 3\)"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\)"),
    ],
)
def test_arrays_that_could_be_anything_are_refused(image: np.ndarray, found: str) -> None:
    with pytest.raises(
        ShapeError, match=rf"expected an RGB uint8 array .*got .*{found}.*Scale floats by 255"
    ):
        check_array(image)


@pytest.mark.parametrize("image", [3, None, [[1, 2], [3, 4]], "a.jpg"])
def test_other_objects_are_refused(image: object) -> None:
    with pytest.raises(ShapeError, match=f"got {type(image).__name__}"):
        check_array(image)


def test_grey_arrays_and_pillow_images_are_taken(portrait: np.ndarray) -> None:
    grey = portrait[..., 0]
    assert np.array_equal(check_array(grey), np.stack([grey] * 3, -1))
    assert np.array_equal(check_array(Image.fromarray(portrait)), portrait)
    assert np.array_equal(check_array(Image.fromarray(grey)), np.stack([grey] * 3, -1))


def test_the_limit_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 99)
    with pytest.raises(InputError, match=r"got 10 x 10\. Make it smaller first"):
        read_picture(saved(Image.new("RGB", (10, 10)), tmp_path / "a.png"))


@pytest.mark.filterwarnings("error")
def test_a_hundred_million_pixels_are_within_the_promise(tmp_path: Path) -> None:
    """`MAX_PIXELS` says 150 million; Pillow's own warning, at 89 million, must not come first."""
    path = saved(Image.new("1", (10_000, 10_000)), tmp_path / "scan.png")
    assert read_picture(path).shape == (10_000, 10_000, 3)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"  <html><body>", "a web page"),
        (b"<!doctype html>", "a web page"),
        (b"\x00\x00\x00\x18ftypheic", "a HEIC picture"),
        (b"\x00\x00\x00\x18ftypisom", "an MP4-like file (isom)"),
        (b"hello there\n", "text that begins 'hello there"),
        (b"\x80\x81\x82", "unknown content that begins '80 81 82'"),
    ],
)
def test_a_file_is_described_by_its_first_bytes(content: bytes, text: str) -> None:
    assert describe(content).startswith(text)


def test_heic_is_read_upright_where_the_extra_is_installed(
    tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made of the NASA portrait at half its size, stored turned, as telephones do."""
    path = Path(__file__).parent / "files" / "astronaut_turned.heic"
    monkeypatch.setattr(pixels, "_learned_heic", lambda: False)
    Image.init()  # or what is registered from here on is lost with the patch
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    with pytest.raises(
        InputError, match=r"got a HEIC picture\. Install what reads it, pip install 'mien\[heic\]', or"
    ):
        read_picture(path)
    monkeypatch.undo()
    pytest.importorskip("pi_heif", reason="needs pip install 'mien[heic]'")
    wanted = np.asarray(Image.fromarray(astronaut).reduce(2), float)
    assert np.abs(read_picture(path) - wanted).mean() < 6
    assert np.array_equal(decode(path, path), read_picture(path))


@pytest.mark.parametrize("kind", ["dng", "preview", "cr2"])
def test_a_preview_does_not_pass_for_a_raw_file(kind: str, tmp_path: Path, portrait: np.ndarray) -> None:
    """Pillow opens the small picture inside; a plain TIFF, also of several pages, is read."""
    tags = {"dng": {50706: b"\1\4\0\0"}, "preview": {254: 1}, "cr2": {}}[kind]
    small = Image.fromarray(portrait).resize((160, 160)).convert("L")
    path = saved(small, tmp_path / "a.tif", tiffinfo=tags)
    if kind == "cr2":  # Canon's mark stands between the header and the directory
        content = path.read_bytes()
        path.write_bytes(content[:4] + struct.pack("<I", 16) + b"CR\2\0" + bytes(4) + content[8:])
        assert Image.open(path).size == (160, 160)
    with pytest.raises(InputError, match="got a camera's raw file, of which only a small preview"):
        read_picture(path)
    pages = tmp_path / "pages.tif"
    small.save(pages, save_all=True, append_images=[small])
    assert read_picture(pages).shape == (160, 160, 3)


def test_damaged_exif_data_do_not_cost_the_picture(tmp_path: Path, portrait: np.ndarray) -> None:
    path = saved(
        Image.fromarray(portrait), tmp_path / "a.jpg", exif=b"Exif\0\0II*\0", dpi=(72, 72), quality=95
    )
    with pytest.raises(Exception):  # noqa: B017 - whatever Pillow stumbles over: else this test shows nothing
        ImageOps.exif_transpose(Image.open(path))
    assert np.abs(read_picture(path).astype(float) - portrait).mean() < 5
    assert np.array_equal(decode(path, path), read_picture(path))


def test_tiles_far_larger_than_their_picture_are_refused(tmp_path: Path) -> None:
    """Each would be decoded whole, whatever the picture's size."""
    shorts = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1, 322: 8192, 323: 8192, 324: 8, 325: 64}
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in shorts.items())
    path = tmp_path / "a.tif"
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(shorts)) + entries + bytes(100))
    with pytest.raises(
        InputError, match="expected tiles about as large as the picture, got 8192 x 8192 for one of 64 x 64"
    ):
        read_picture(path)
