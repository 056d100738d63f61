from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mien.batch.manifest import Manifest
from mien.errors import DataError, InputNotFoundError

pa = pytest.importorskip("pyarrow", reason="mien batch needs pyarrow: pip install 'mien[batch]'")
fsspec = pytest.importorskip("fsspec", reason="mien batch needs fsspec: pip install 'mien[batch]'")

PATHS = ["b.jpg", "with, comma.jpg", 'quo"te.jpg', "#hash.png", "deep/är.png", "s3://bucket/x.jpg"]


def write_list(path: Path, paths: list[str]) -> Path:
    import pyarrow.csv
    import pyarrow.parquet

    table = pa.table({"label": ["x"] * len(paths), "path": paths})
    if path.suffix == ".txt":
        path.write_text("\n".join(paths) + "\n", encoding="utf-8")
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
    return path


@pytest.mark.parametrize("ending", [".txt", ".csv", ".parquet"])
def test_lists_keep_their_order_and_name_each_path_once(tmp_path: Path, ending: str) -> None:
    file = write_list(tmp_path / f"list{ending}", [*PATHS, PATHS[0]])
    manifest = Manifest(str(file))
    paths, duplicates = manifest.paths()
    assert paths.to_pylist() == PATHS and duplicates == 1
    assert manifest.root == str(tmp_path)
    assert manifest.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_windows_list_with_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a.jpg\r\n\r\nb.jpg")
    assert Manifest(str(tmp_path / "list.txt")).paths()[0].to_pylist() == ["a.jpg", "b.jpg"]


def test_a_folder_names_files_from_itself(pictures: Path) -> None:
    (pictures / "deep").mkdir()
    (pictures / "a0.png").rename(pictures / "deep" / "a0.png")
    (pictures / "notes.txt").write_text("no picture")
    manifest = Manifest(f"{pictures}/")
    found = manifest.paths()[0].to_pylist()
    assert set(found) == {
        *(f"a{index}.png" for index in range(1, 5)),
        "blank.png",
        "broken.png",
        "deep/a0.png",
    }
    assert manifest.root == str(pictures)
    before = manifest.sha256
    (pictures / "a1.png").unlink()
    assert Manifest(str(pictures)).sha256 != before


def test_a_pattern(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures.parent)
    manifest = Manifest("pictures/a[12].png")
    assert manifest.paths()[0].to_pylist() == ["pictures/a1.png", "pictures/a2.png"]
    assert manifest.root == str(pictures.parent)


def test_folders_and_patterns_elsewhere() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("one/a.png", "one/deep/b.jpg", "one/notes.md"):
        memory.pipe_file(f"/manifest/{name}", b"x")
    folder = Manifest("memory://manifest/one")
    assert folder.paths()[0].to_pylist() == ["a.png", "deep/b.jpg"]
    assert folder.root == "memory://manifest/one"
    pattern = Manifest("memory://manifest/one/*.png")
    assert pattern.paths()[0].to_pylist() == ["memory:///manifest/one/a.png"]
    memory.rm("/manifest", recursive=True)


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "other.csv").write_text("file,label\na.jpg,x\n")
    (tmp_path / "gap.csv").write_text("path,label\na.jpg,x\n,y\n")
    (tmp_path / "folder").mkdir()
    for name, kind, said in (
        ("gone.csv", InputNotFoundError, "got .*gone.csv', which is none of these"),
        ("folder", InputNotFoundError, "expected pictures or clips in this folder"),
        ("*.png", InputNotFoundError, "expected the pattern to match"),
        ("other.csv", DataError, "a column 'path'"),
        ("gap.csv", DataError, "got an empty one"),
        ("empty.txt", (DataError, InputNotFoundError), "empty.txt"),
    ):
        with pytest.raises(kind, match=said):
            Manifest(str(tmp_path / name)).paths()
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(InputNotFoundError, match="none of these"):
        Manifest(str(tmp_path / "picture.png"))
