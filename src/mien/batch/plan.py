"""The plan of a batch: which paths, in which shards, read by what. It fixes every byte of the answer."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mien import __version__
from mien.batch.manifest import COLUMN, Manifest, needs_arrow
from mien.batch.place import Place
from mien.errors import BatchError, OptionError
from mien.pipeline.table import Columns, columns_of
from mien.weights.catalogue import CATALOGUE
from mien.weights.store import load_weights

PLAN, PATHS, MANIFEST, FAILURES, DONE = (
    "_plan.json",
    "_paths.parquet",
    "_manifest.json",
    "_failures.jsonl",
    "_done",
)
"""Names in the folder of a batch. Tools that read a folder of Parquet files leave out what begins with `_`."""
MAKERS = ("numpy", "onnxruntime", "pillow", "av", "pyarrow")
"""Packages whose version can change a float or a byte."""


@dataclass(frozen=True)
class Options:
    """How each file is analysed; the names are those of `mien.Analyzer` and its `stream`."""

    model: str = "expression"
    mesh: bool = False
    min_face_px: float = 24.0
    detection_threshold: float = 0.7
    every_s: float | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """All but the model, which is known by its hash."""
        return {name: value for name, value in asdict(self).items() if name != "model"}

    @property
    def columns(self) -> Columns:
        """Of the table that comes of it, as `mien analyze` has them."""
        return columns_of(load_weights(self.model).labels, self.mesh)

    def absolute(self) -> Options:
        """The same for a worker in another folder."""
        path = Path(self.model)
        return replace(self, model=str(path.absolute())) if path.is_file() else self


@dataclass(frozen=True)
class Plan:
    """What a folder of results is made of and by.

    Attributes:
        root: what relative paths lie below.
        manifest_sha256: see `Manifest.sha256`.
        paths: how many. duplicates: how many more were named again, and left out.
        shard_size: paths a part; the last one may have fewer.
        networks: name -> sha256 of every network that is asked.
        settings: see `Options.settings`.
        versions: of mien, and of the packages that can change a float or a byte.
    """

    root: str
    manifest_sha256: str
    paths: int
    duplicates: int
    shard_size: int
    networks: Mapping[str, str]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def shards(self) -> int:
        """How many parts."""
        return -(-self.paths // self.shard_size)

    def count(self, shard: int) -> int:
        """Paths in a shard."""
        return min(self.shard_size, self.paths - shard * self.shard_size)

    def name(self, shard: int) -> str:
        """Of a shard's part, without its ending; the names sort as the shards do."""
        return f"part-{shard:0{max(5, len(str(self.shards - 1)))}}"

    def part(self, shard: int) -> str:
        """File name of a shard's rows."""
        return f"{self.name(shard)}.parquet"

    def receipt(self, shard: int) -> str:
        """File name of what says that a part is whole."""
        return f"{DONE}/{self.name(shard)}.json"

    def to_json(self) -> bytes:
        """As it is stored."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()


def versions(mesh: bool) -> dict[str, str]:
    """What is installed here of all that can change a float or a byte."""
    names = (*MAKERS, "ai-edge-litert") if mesh else MAKERS
    return {"mien": __version__, **{name: importlib.metadata.version(name) for name in names}}


def networks(options: Options) -> dict[str, str]:
    """Name -> sha256 of the networks that are asked."""
    used = {"detector": load_weights("yunet").sha256, "expression": load_weights(options.model).sha256}
    return used | ({"mesh": CATALOGUE["face_landmarker"].sha256} if options.mesh else {})


def make_plan(source: str, place: Place, options: Options, shard_size: int) -> Plan:
    """The plan of a folder: the one that lies there, if it is for the same; else a new one, written there.

    Raises:
        BatchError: the folder holds the results of something else.
        OptionError: the shard size is not positive.
        InputNotFoundError, DataError: the manifest is not there, names nothing or cannot be read.
    """
    if shard_size < 1:
        raise OptionError(f"expected a shard size of at least 1 file, got {shard_size}")
    needs_arrow()
    manifest = Manifest(source)
    wanted = {
        "root": manifest.root,
        "manifest_sha256": manifest.sha256,
        "shard_size": shard_size,
        "networks": networks(options),
        "settings": options.settings,
        "versions": versions(options.mesh),
    }
    try:
        stored = read_plan(place)
    except FileNotFoundError:
        return _new_plan(manifest, place, wanted)
    for name, value in wanted.items():
        before = getattr(stored, name)
        if before != value:
            raise BatchError(
                f"expected {name} {_told(before, value)} as in the plan that lies in {place.url}, got "
                f"{_told(value, before)}. Run it as it was begun, or take another folder."
            )
    return stored


def _told(value: Any, other: Any) -> str:
    """A value, or what in it is not as in the other."""
    if isinstance(value, Mapping):
        return str({name: part for name, part in value.items() if other.get(name) != part} or "without more")
    return repr(value)


def read_plan(place: Place) -> Plan:
    """The plan in a folder; `FileNotFoundError` where there is none.

    Raises:
        BatchError: the file is damaged.
    """
    try:
        return Plan(**json.loads(place.read(PLAN)))
    except (ValueError, TypeError) as error:
        raise BatchError(
            f"expected a plan in {place.url}/{PLAN}, got: {error}. Take another folder."
        ) from None


def _new_plan(manifest: Manifest, place: Place, wanted: Mapping[str, Any]) -> Plan:
    """Write the paths, a row group a shard, and then the plan, which says that they are whole."""
    import pyarrow
    import pyarrow.parquet

    if place.sizes().keys() - {PATHS}:
        raise BatchError(
            f"expected an empty folder, or one with a plan ({PLAN}), got {place.url} with other files. Take another."
        )
    paths, duplicates = manifest.paths()
    plan = Plan(paths=len(paths), duplicates=duplicates, **wanted)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / PATHS
        pyarrow.parquet.write_table(
            pyarrow.table({COLUMN: paths}), file, row_group_size=plan.shard_size, compression="zstd",
            use_dictionary=False, write_statistics=False,
        )  # fmt: skip
        place.write(PATHS, file.read_bytes())
    place.write(PLAN, plan.to_json())
    return plan
