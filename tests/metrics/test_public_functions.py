"""What holds for every public function of the room, also for one that is added tomorrow."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import pytest

from mien import metrics

VALIDATORS = "checks"
"""The module that measures nothing, and so has no range to name."""
LOW, HIGH = r"(?:-?\d[^\s,]*|-inf)", r"(?:\d[^\s,\])]*|N|inf)"
RANGE = re.compile(
    rf"\[{LOW}, {HIGH}[\])]|\({LOW}, {HIGH}\]"  # "[0, 1]", "(-inf, 1]", "[-1/(k-1), 1]"; no shape "(N, K)"
    r"|\bat (most|least) -?\d"
    r"|in the range of|range that of|in its own range|any real number|whole numbers from \d"
)
"""Ways of saying which values can come out; an interval in brackets is the usual one."""

MODULES = [
    import_module(f"{metrics.__name__}.{found.name}")
    for found in pkgutil.iter_modules(metrics.__path__)
    if found.name != VALIDATORS
]
FUNCTIONS = [
    function
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
]


def first_paragraphs(function: Callable[..., object]) -> str:
    """The docstring before its sections, on one line: arguments have ranges of their own."""
    text = inspect.getdoc(function) or ""
    return " ".join(re.split(r"\n(?:Args|Raises|Source):", text)[0].split())


def test_there_is_something_to_test() -> None:
    assert len(MODULES) > 10
    assert len(FUNCTIONS) > 40


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_the_docstring_names_the_range(function: Callable[..., object]) -> None:
    text = first_paragraphs(function)
    assert RANGE.search(text), f"{function.__module__}.{function.__name__}: no range in {text!r}"


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_the_signature_is_typed(function: Callable[..., object]) -> None:
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(
        parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values()
    )


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_numpy_is_all_a_metric_needs(module: ModuleType) -> None:
    source = inspect.getsource(module)
    imported = re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE)
    allowed = {"__future__", "collections", "math", "mien", "numpy", "typing"}
    assert set(imported) <= allowed


@pytest.mark.parametrize("text", ["The mean of all.", "Takes (N, K) and [K, 2] arrays.", "Shape (3, 4)."])
def test_a_docstring_without_a_range_would_fail(text: str) -> None:
    assert not RANGE.search(text), text


@pytest.mark.parametrize(
    "text", ["in [0, 1];", "in (-inf, 1].", "in [-1/(k-1), 1];", "at least 0", "[0, inf),"]
)
def test_a_docstring_with_a_range_passes(text: str) -> None:
    assert RANGE.search(text), text
