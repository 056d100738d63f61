"""The rooms of the house: a room imports only rooms with a smaller number. The table stands here, once."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import mien

SOURCE = Path(mien.__file__).parent

ROOMS = {
    "errors": 0,
    "files": 1,
    "labels": 1,
    "types": 1,
    "registry": 1,
    "weights": 2,
    "nn": 2,
    "losses": 2,
    "metrics": 2,
    "transforms": 2,
    "faces": 3,
    "methods": 3,
    "datasets": 3,
    "engine": 4,
    "evaluate": 4,
    "explain": 4,
    "recipes": 5,
    "pipeline": 5,
    "batch": 6,
    "serve": 6,
    "cli": 7,
    "demo": 5,
    "__init__": 6,
}


def imported_modules(tree: ast.AST, package: str) -> list[tuple[int, str]]:
    """(line, dotted name) of every import below a tree, also those inside functions."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def wrong_imports(file: Path, text: str, relative: Path) -> list[str]:
    """`file:line: what is wrong` for each import that goes up or sideways."""
    room = relative.parts[0].removesuffix(".py")
    package = ".".join(["mien", *relative.parts[:-1]])
    wrong = []
    for line, name in imported_modules(ast.parse(text), package):
        parts = name.split(".")
        if parts[0] != "mien":
            continue
        other = parts[1] if len(parts) > 1 and parts[1] in ROOMS else "__init__"
        # `from mien import __version__` takes nothing but a string from the front door.
        if parts == ["mien", "__version__"] or other == room:
            continue
        if ROOMS[other] >= ROOMS[room]:
            wrong.append(f"{file}:{line}: {room} ({ROOMS[room]}) imports {other} ({ROOMS[other]})")
    return wrong


def test_every_room_imports_only_lower_rooms() -> None:
    wrong = []
    for file in sorted(SOURCE.rglob("*.py")):
        wrong += wrong_imports(file, file.read_text(), file.relative_to(SOURCE))
    assert not wrong, "\n".join(wrong)


def test_every_folder_is_a_room() -> None:
    found = {
        path.stem
        for path in SOURCE.iterdir()
        if (path.is_dir() and path.name != "__pycache__") or path.suffix == ".py"
    }
    assert found <= set(ROOMS), f"not in the table: {sorted(found - set(ROOMS))}"


def test_there_is_no_utils() -> None:
    assert not [path for path in SOURCE.rglob("*") if path.stem in ("utils", "util", "helpers", "misc")]


def test_the_check_sees_an_import_that_goes_up() -> None:
    text = "import os\n\ndef late():\n    from mien.pipeline.table import COLUMNS\n"
    wrong = wrong_imports(Path("a/metrics/x.py"), text, Path("metrics/x.py"))
    assert wrong == ["a/metrics/x.py:4: metrics (2) imports pipeline (5)"]


def test_the_check_sees_sideways_relative_and_front_door_imports() -> None:
    for text in (
        "from ..nn import x\n",
        "from mien.losses import y\n",
        "import mien\n",
        "from mien import analyze\n",
    ):
        assert len(wrong_imports(Path("x.py"), text, Path("metrics/x.py"))) == 1, text
    assert not wrong_imports(Path("x.py"), "from .calibration import z\n", Path("metrics/x.py"))
    assert not wrong_imports(Path("x.py"), "from mien import __version__\n", Path("metrics/x.py"))


def loaded_after(statement: str, names: tuple[str, ...]) -> tuple[str, str, str]:
    """What of `names` a fresh interpreter holds after a statement, what else it printed, and its stderr."""
    code = f"{statement}\nimport sys\nprint('LOADED', [n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    printed, _, loaded = done.stdout.rpartition("LOADED ")
    return loaded.strip(), printed, done.stderr


def test_import_mien_is_light_and_silent() -> None:
    heavy = ("torch", "onnxruntime", "av", "PIL", "numpy", "pandas", "onnx", "mien.errors")
    assert loaded_after("import mien", heavy) == ("[]", "", "")


def test_import_mien_changes_no_environment() -> None:
    code = "import os; before = dict(os.environ); import mien; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_analysis_needs_only_the_small_core() -> None:
    heavy = ("torch", "onnx", "pandas", "pyarrow", "matplotlib", "sklearn", "cv2", "safetensors")
    assert loaded_after("import mien.pipeline.analyzer", heavy) == ("[]", "", "")


def test_every_lazy_name_resolves_and_there_are_few() -> None:
    assert len(mien.__all__) <= 20
    for name in mien.__all__:
        assert getattr(mien, name) is not None
    assert dir(mien) == sorted(mien.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    try:
        mien.analyse  # noqa: B018
    except AttributeError as error:
        assert "analyse" in str(error)
    else:
        raise AssertionError("expected an AttributeError")
