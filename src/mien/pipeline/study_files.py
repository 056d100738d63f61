"""Who is in which file of a study, and what they were shown: from a table, or from names as BIDS has them.

    path,participant,condition,stimulus            a table; paths are relative to the study's folder
    sub-01/ses-1/sub-01_ses-1_task-film_cond-sad_stim-03.mp4      names: pairs KEY-VALUE, joined by _, in folders too

Nothing is guessed and nothing goes missing: a file that the table or its name says nothing of, a row without its file, and
one that stands there twice are named in `Plan.notes`.

Names: Gorgolewski et al., "The brain imaging data structure", Scientific Data 2016. `cond` and `stim` are not BIDS's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.errors import DataError, InputNotFoundError
from mien.evaluate.audit_data import read_rows
from mien.pipeline.inputs import READABLE_SUFFIXES, expand
from mien.transforms.pixels import CAMERA_SUFFIXES

ROLES = ("participant", "session", "condition", "stimulus")
"""What a study knows of a file, in the order of the columns."""
KEYS = {
    "sub": "participant", "ses": "session", "cond": "condition", "condition": "condition", "stim": "stimulus",
    "stimulus": "stimulus",
}  # fmt: skip
"""Keys of names -> what they say; other keys are carried along under their own name."""
PAIR = re.compile(r"([A-Za-z]+)-([^_]+)")


@dataclass(frozen=True)
class StudyFile:
    """One picture or clip.

    Attributes:
        path: relative to the study's folder, with /.
        participant, session, condition, stimulus: `None` where it is not told.
        others: what else the table or the name says, by column.
    """

    path: str
    participant: str | None = None
    session: str | None = None
    condition: str | None = None
    stimulus: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The files of a study.

    Attributes:
        folder: all paths are relative to it.
        files: in the order of the table, or by name.
        notes: what is not as it might be meant, a sentence each.
        left_out: files and rows that are not analysed, and why.
        source: where it comes from, for the report.
    """

    folder: Path
    files: tuple[StudyFile, ...]
    notes: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    source: str

    @property
    def columns(self) -> tuple[str, ...]:
        """What else is carried along, in the order in which it appears."""
        return tuple(dict.fromkeys(name for file in self.files for name in file.others))


def plan_study(
    folder: str | Path, table: str | Path | None = None, without: str | Path | None = None
) -> Plan:
    """What there is to analyse.

    Args:
        folder: with pictures and clips, in folders below it too.
        table: a .csv (or .tsv) with `path` and any of `participant`, `condition`, `stimulus`, `session`; the names of
            the files are read where it is left out.
        without: a folder whose pictures are none of the study's: that of the report.

    Raises:
        InputNotFoundError: no such folder, or nothing in it to analyse.
        DataNotFoundError, DataError: the table cannot be used, or says two things of one file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputNotFoundError(
            f"expected a folder with the files of a study, got {folder}. Check the path."
        )
    found = expand([folder], () if without is None else [without])
    there = [
        path.relative_to(folder).as_posix()
        for path in found
        if isinstance(path, Path) and path.suffix.lower() in READABLE_SUFFIXES
    ]
    plan = _from_names(folder, there) if table is None else _from_table(folder, there, Path(table))
    if not plan.files:
        reasons = "; ".join(f"{path}: {why}" for path, why in plan.left_out[:3])
        raise InputNotFoundError(
            f"expected pictures or clips of a study in {folder}, got {'none' if not there else 'none that can be placed'}"
            f"{f' ({reasons})' if reasons else ''}. Name them sub-01_cond-sad.mp4, or give a table."
        )
    plan = replace(plan, left_out=(*plan.left_out, *_unread(folder)))
    notes = [*plan.notes, *_same_content(plan)]
    lacking = [file.path for file in plan.files if file.condition is None]
    if lacking:
        notes.append(f"No condition is told of {_some(lacking)}: analysed, but in no summary of a condition.")
    if any(file.participant for file in plan.files):
        lacking = [file.path for file in plan.files if file.participant is None]
        if lacking:
            notes.append(f"No participant is told of {_some(lacking)}: analysed, but in no summary.")
    else:
        notes.append("No participant is told of any file: each file counts as a participant of its own.")
        plan = replace(plan, files=tuple(replace(file, participant=file.path) for file in plan.files))
    return replace(plan, notes=tuple(notes))


def _unread(folder: Path) -> list[tuple[str, str]]:
    """Pictures and clips whose ending mien does not read, and why they are left out."""
    why = "its ending is none that mien reads: convert it to JPEG, PNG or MP4"
    return [
        (path.relative_to(folder).as_posix(), why)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() not in READABLE_SUFFIXES
        and (
            path.suffix.lower() in CAMERA_SUFFIXES
            or (mimetypes.guess_type(path.name)[0] or "").startswith(("image/", "video/"))
        )
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _from_names(folder: Path, there: Sequence[str]) -> Plan:
    files, left_out = [], []
    for path in there:
        try:
            pairs = pairs_of(path)
        except DataError as error:
            left_out.append((path, str(error)))
            continue
        if "sub" not in pairs:
            left_out.append((path, "its name does not say who it shows (no sub-...)"))
            continue
        told = {KEYS[key]: value for key, value in pairs.items() if key in KEYS}
        others = {key: value for key, value in pairs.items() if key not in KEYS}
        files.append(StudyFile(path, **told, others=others))
    notes = []
    if (
        files
        and all(file.condition is None for file in files)
        and any("task" in file.others for file in files)
    ):
        notes.append("No name has cond-...: the task is taken for the condition.")
        files = [replace(file, condition=file.others.get("task")) for file in files]
    return Plan(folder, tuple(files), tuple(notes), tuple(left_out), "names of the files (BIDS-like)")


def pairs_of(path: str) -> dict[str, str]:
    """Keys and values in a path: `{"sub": "01", "cond": "sad"}` of "sub-01/sub-01_cond-sad.mp4".

    Raises:
        DataError: folder and file say different things.
    """
    found: dict[str, str] = {}
    *folders, name = path.split("/")
    for part in (*folders, name.rsplit(".", 1)[0]):
        for piece in part.split("_"):
            match = PAIR.fullmatch(piece)
            if match is None or (part in folders and match[1].lower() not in KEYS):
                continue
            key, value = match[1].lower(), match[2]
            if found.setdefault(key, value) != value:
                raise DataError(f"its path says both {key}-{found[key]} and {key}-{value}")
    return found


def _from_table(folder: Path, there: Sequence[str], table: Path) -> Plan:
    head, rows = read_rows(table)
    if "path" not in head:
        raise DataError(
            f"expected the column path in {table}, got {', '.join(head)}. Beside it: {', '.join(ROLES)}, and others."
        )
    by_path: dict[str, list[dict[str, str]]] = defaultdict(list)
    left_out, notes = [], []
    for row in rows:
        by_path[_inside(folder, row["path"], table)].append(row)
    files = []
    for path, same in by_path.items():
        if any({**row, "path": path} != {**same[0], "path": path} for row in same):
            raise DataError(
                f"expected one row a file in {table}, got {len(same)} of {path!r} that differ. Take the wrong ones out."
            )
        if len(same) > 1:
            notes.append(f"{path} stands {len(same)} times in the table, always the same: taken once.")
        if not (folder / path).is_file():
            left_out.append(
                (path, "in the table, but no such file (paths are relative to the study's folder)")
            )
            continue
        told = {role: same[0].get(role) or None for role in ROLES}
        others = {name: same[0][name] for name in head if name not in ("path", *ROLES)}
        files.append(StudyFile(path, **told, others=others))
    known = set(by_path)
    left_out += [(path, "not in the table") for path in there if path not in known]
    return Plan(folder, tuple(files), tuple(notes), tuple(left_out), f"the table {table.name}")


def _inside(folder: Path, path: str, table: Path) -> str:
    """A path of the table, relative to the study's folder, without ./ and ../."""
    if not path:
        raise DataError(f"expected a path in each row of {table}, got an empty one")
    # Links are kept: the file may lie elsewhere.
    whole, base = (Path(os.path.abspath(place)) for place in (folder / path, folder))  # noqa: PTH100
    if not whole.is_relative_to(base):
        raise DataError(f"expected paths inside {folder} in {table}, got {path!r}")
    return whole.relative_to(base).as_posix()


def _same_content(plan: Plan) -> list[str]:
    """Files that are the same, byte for byte: an accident of copying, mostly. They are analysed all the same."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for file in plan.files:
        with contextlib.suppress(OSError):  # what cannot be read becomes a failure of its own later
            by_size[(plan.folder / file.path).stat().st_size].append(file.path)
    by_hash: dict[str, list[str]] = defaultdict(list)
    for paths in by_size.values():
        for path in paths if len(paths) > 1 else ():
            if (sha256 := sha256_of(plan.folder / path)) is not None:
                by_hash[sha256].append(path)
    return [
        f"The same content, all analysed: {', '.join(paths)}." for paths in by_hash.values() if len(paths) > 1
    ]


def sha256_of(path: Path) -> str | None:
    """Hash of a file, hexadecimal; `None` where it cannot be read."""
    try:
        with path.open("rb") as stored:
            return hashlib.file_digest(stored, "sha256").hexdigest()
    except OSError:
        return None


def _some(paths: Sequence[str], most: int = 5) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return f"{', '.join(paths[:most])}{more}"
