"""From what a person names (files, folders, patterns) to the list of files to read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mien.errors import InputError, InputNotFoundError
from mien.pipeline.clips import CLIP_SUFFIXES
from mien.pipeline.live import LiveSource, live_source
from mien.transforms.pixels import CAMERA_SUFFIXES, PICTURE_SUFFIXES
from mien.types.media import Failure

READABLE_SUFFIXES = PICTURE_SUFFIXES | CLIP_SUFFIXES
SEARCHED_SUFFIXES = READABLE_SUFFIXES | CAMERA_SUFFIXES


def expand(
    paths: Iterable[str | os.PathLike[str]], without: Iterable[str | os.PathLike[str]] = ()
) -> Iterator[Path | LiveSource | Failure]:
    """The files behind paths, folders (with all below them) and patterns, each once, in a stable order; live sources.

    In folders only files with a known suffix are taken; a file that is named is always taken. What
    matches nothing becomes a `Failure`, so that the rest goes on.

    Args:
        paths: see above.
        without: folders of results, such as drawings: where they lie in a folder that is searched, they are left out.
    """
    results = [Path(folder).resolve() for folder in without]
    seen: set[str] = set()
    for name in paths:
        text = os.fspath(name)
        path, source = Path(text), live_source(text)
        if source is not None:
            yield source
            continue
        # Those of `os.path` say no, instead of raising, to a name that is too long or a folder that may not be entered.
        if os.path.isdir(path):  # noqa: PTH112
            files = _below(path, results)
            nothing = "expected pictures or clips in this folder, got none (looked in all folders below it)."
        elif os.path.exists(path) or not glob.has_magic(text):  # noqa: PTH110
            files = [path]
            nothing = ""
        else:
            matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207
            files = [
                file for match in matches for file in (_below(match, results) if match.is_dir() else [match])
            ]
            nothing = (
                "expected the pattern to match files, got no match. Check it, and quote it for the shell."
            )
        if not files:
            yield Failure(text, nothing, InputNotFoundError.__name__)
        for file in files:
            key = os.path.abspath(file)  # noqa: PTH100 - resolves `..` but keeps links
            if key in seen:
                continue
            seen.add(key)
            if not _is_unicode(file):
                yield Failure(
                    os.fsencode(file).decode(errors="backslashreplace"),
                    "expected a file name in UTF-8, got other bytes, which no table can hold. Rename the file.",
                    InputError.__name__,
                )
            elif os.path.isfile(file):  # noqa: PTH113
                yield file
            else:
                yield Failure(
                    str(file),
                    "expected a file, got a path that is not there. Check the spelling.",
                    InputNotFoundError.__name__,
                )


def _is_unicode(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _below(folder: Path, results: Sequence[Path]) -> list[Path]:
    """What a folder and those below it hold for mien, hidden files and results left out, sorted."""
    top = folder.resolve()
    apart = [one for one in results if one != top and one.is_relative_to(top)]
    return sorted(
        Path(root) / name
        for root, _, names in os.walk(folder)
        if not any(part.startswith(".") for part in Path(root).relative_to(folder).parts)
        and not (apart and any(Path(root).resolve().is_relative_to(one) for one in apart))
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in SEARCHED_SUFFIXES
    )
