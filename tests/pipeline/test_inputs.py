from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.pipeline.inputs import expand
from mien.types.media import Failure


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.jpg", "sub/c.mp4", ".cache/d.jpg", "sub/e[1].png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(paths: list, root: Path) -> list[str]:
    return [str(Path(path).relative_to(root)) for path in expand(paths)]


def test_a_folder_gives_its_readable_files_sorted(tree: Path) -> None:
    assert names([tree], tree) == ["a.png", "b.JPG", "sub/c.mp4", "sub/e[1].png"]


def test_what_a_camera_wrote_is_no_less_there_for_being_unreadable(tree: Path) -> None:
    """It becomes a failure when it is read, not a file that nobody hears of."""
    (tree / "sub" / "IMG_1.NEF").write_bytes(b"II*\0")
    assert names([tree / "sub"], tree)[0] == "sub/IMG_1.NEF"


def test_a_named_file_is_always_taken(tree: Path) -> None:
    assert names([tree / "notes.txt", tree / ".hidden.jpg"], tree) == ["notes.txt", ".hidden.jpg"]


def test_patterns(tree: Path) -> None:
    assert names([str(tree / "*.png")], tree) == ["a.png"]
    assert names([str(tree / "**" / "*.mp4")], tree) == ["sub/c.mp4"]


def test_a_name_with_brackets_that_exists_is_no_pattern(tree: Path) -> None:
    assert names([tree / "sub" / "e[1].png"], tree) == ["sub/e[1].png"]


def test_each_file_once_in_the_order_named(tree: Path) -> None:
    assert names([tree / "b.JPG", tree, tree / "sub" / ".." / "a.png"], tree) == [
        "b.JPG",
        "a.png",
        "sub/c.mp4",
        "sub/e[1].png",
    ]


def test_what_matches_nothing_is_a_failure_in_its_place(tree: Path) -> None:
    first, second = expand([tree / "gone.jpg", tree / "a.png"])
    assert isinstance(first, Failure)
    assert first.path == str(tree / "gone.jpg")
    assert second == tree / "a.png"


def test_a_name_that_is_not_unicode_is_a_failure_that_can_be_written(tree: Path) -> None:
    odd = os.fsencode(tree) + b"/caf\xe9.png"
    try:
        with open(odd, "wb"):
            pass
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    (failure,) = [found for found in expand([tree]) if isinstance(found, Failure)]
    assert failure.path.encode().endswith(rb"caf\xe9.png") and "Rename the file" in failure.error
