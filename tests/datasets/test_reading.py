from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.datasets.reading import class_of, crop_box, files_of, numbered_lines, read_picture
from mien.errors import DataError


def test_grey_files_stay_grey_and_others_become_rgb(tmp_path: Path) -> None:
    for mode, shape in (("L", (4, 6)), ("RGB", (4, 6, 3)), ("RGBA", (4, 6, 3)), ("P", (4, 6, 3))):
        path = tmp_path / f"{mode}.png"
        Image.new(mode, (6, 4)).save(path)
        assert read_picture(path).shape == shape
        assert read_picture(path).dtype == np.uint8


def test_a_picture_that_is_not_there_or_torn_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got no file .*a\.png\. Unpack"):
        read_picture(tmp_path / "a.png")
    Image.new("RGB", (60, 60), "red").save(tmp_path / "b.png")
    whole = (tmp_path / "b.png").read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2]):
        (tmp_path / "c.png").write_bytes(content)
        with pytest.raises(DataError, match=r"damaged or other file .*c\.png .*Unpack it again"):
            read_picture(tmp_path / "c.png")


def test_a_crop_takes_the_box_and_its_margin_as_far_as_the_picture_reaches() -> None:
    image = np.arange(20 * 30).reshape(20, 30).astype(np.uint16)
    assert np.array_equal(crop_box(image, (10, 5, 20, 15), 0, "x"), image[5:15, 10:20])
    assert np.array_equal(crop_box(image, (10, 5, 20, 15), 0.2, "x"), image[3:17, 8:22])
    assert np.array_equal(crop_box(image, (-5, 12, 5, 40), 0.1, "x"), image[9:20, 0:6])


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (30, 0, 40, 9), (0, -9, 5, 0)])
def test_a_box_outside_the_picture_is_refused(box: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expected a face box inside x\.jpg \(30 x 20 pixels\), got left"):
        crop_box(np.zeros((20, 30)), box, 0, "x.jpg")


def test_lines_are_counted_from_one_and_empty_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa 1\r\n\r\n  b 2  \n")
    assert list(numbered_lines(path)) == [(1, "a 1"), (3, "b 2")]


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match=r"expected a text file, got .*list\.txt"):
        list(numbered_lines(tmp_path / "list.txt"))


def test_an_unknown_code_names_the_place_and_all_codes() -> None:
    with pytest.raises(DataError) as caught:
        class_of("rafdb", "9", "list.txt, line 4")
    for part in (
        "list.txt, line 4: expected",
        "1 (surprise)",
        "7 (neutral)",
        "got '9'",
        "as it was distributed",
    ):
        assert part in str(caught.value)


def test_hidden_files_and_other_endings_are_left_out(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpg", ".hidden.jpg", "c.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "d.jpg").mkdir()
    assert [path.name for path in files_of(tmp_path, ".jpg")] == ["a.jpg", "b.JPG"]
