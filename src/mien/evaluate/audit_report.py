"""The report of an audit: JSON, a page in Markdown, one HTML file, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.evaluate import markdown, page
from mien.evaluate.audit import KEEPS, LEAST, Audit
from mien.evaluate.audit_plots import draw_corruptions, draw_groups
from mien.files import made_folder, write_whole
from mien.transforms.corruptions import CORRUPTIONS

COLUMNS = {
    "accuracy": "accuracy",
    "uar": "UAR",
    "ece_15": "ECE",
    "uncertain": "uncertain",
    "certain": "certain",
    "certain_accuracy": "accuracy of certain",
    "flagged_of_wrong": "flagged of wrong",
}
"""Figures of both tables, and how they are called there."""
WORDS = (
    "accuracy: share of right answers. A picture in which no face was found is answered from the mean place of faces, and counts.",
    "UAR: mean recall over the classes that occur in the group. Its interval leans where a class has few pictures: a resample "
    "without them leaves the class out.",
    "ECE: expected calibration error, 15 bins. Of few pictures it comes out too large, and so does its interval.",
    "uncertain: share of answers whose confidence is under the network's threshold.",
    "certain: share of answers that are not uncertain, of a face that was found and is good enough (docs/conventions.md).",
    "flagged of wrong: of the wrong answers, the share that was not certain. What is left is wrong and does not say so.",
    "gap: how much less accurate than the most accurate group. Its interval holds for all pairs of groups of the column at "
    "once. Groups differ in more than their name: in classes, pictures, light. A gap does not say why.",
)


def write_audit(found: Audit, folder: Path) -> None:
    """Write `audit.json`, `audit.md`, `audit.html`, and `groups.png`, `corruptions.png` where there are such.

    Raises:
        OptionError: the folder is a file.
        MissingExtraError: matplotlib is missing.
    """
    folder = made_folder(folder, "write the report to")
    pictures: dict[str, tuple[bytes, str]] = {}
    if found.groups:
        pictures["groups.png"] = (
            draw_groups(found.groups, found.whole),
            "Groups, with 95 % intervals; number of pictures in brackets. Dashed: all pictures. Grey: too "
            "small to tell.",
        )
    if found.corruptions:
        pictures["corruptions.png"] = (
            draw_corruptions(found.corruptions),
            "What corruptions do, by severity, with 95 % intervals. Where green stays up while blue falls, the network says "
            "that it does not know.",
        )
    files = {
        "audit.json": json.dumps(found.to_dict(), indent=1) + "\n",
        "audit.md": to_markdown(found, list(pictures)),
        "audit.html": to_html(found, pictures),
    }
    page.write_pictures(folder, pictures, ("groups.png", "corruptions.png"))
    for name, content in files.items():
        write_whole(folder / name, content)


def to_markdown(found: Audit, pictures: Sequence[str] = ()) -> str:
    """The audit as a page of text; `pictures` are names of files beside it."""
    parts = [f"# {_title(found)}", _list(_answers(found)), _rows(*_whole(found))]
    for name, column in found.groups.items():
        parts += [f"## By {name}", _list(_column_notes(column)), _rows(*_groups(column))]
    if found.corruptions:
        parts += ["## Corruptions", _list(_says_so(found)), _rows(*_corruptions(found))]
    parts += [f"![{name}]({name})" for name in pictures]
    parts += ["## What the words mean", _list(WORDS), *_left(found)]
    parts += ["## What was audited", _rows(("fact", "value"), list(_facts(found).items()))]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_html(found: Audit, pictures: Mapping[str, tuple[bytes, str]]) -> str:
    """The audit as one file; `pictures` are PNG and caption by name."""
    drawn = {name: page.figure(png, caption) for name, (png, caption) in pictures.items()}
    parts = [page.bullets(_answers(found)), page.table(*_whole(found))]
    if found.groups:
        parts += [page.heading("Groups"), drawn.get("groups.png", "")]
    for name, column in found.groups.items():
        small = [group["too_small"] for group in column["groups"]]
        parts += [page.heading(f"By {name}", 3), page.bullets(_column_notes(column))]
        parts += [page.table(*_groups(column), faint=small)]
    if found.corruptions:
        parts += [
            page.heading("Corruptions"),
            page.bullets(_says_so(found)),
            drawn.get("corruptions.png", ""),
        ]
        parts += [page.table(*_corruptions(found))]
    parts += [page.heading("What the words mean"), page.bullets(WORDS)]
    if found.left_out:
        parts += [page.heading("Columns without groups", 3), page.bullets(_columns_left(found))]
    if found.failures:
        parts += [page.heading("Pictures that could not be read", 3), page.bullets(found.failures)]
    parts += [page.heading("What was audited"), page.table(("fact", "value"), list(_facts(found).items()))]
    return page.page(_title(found), parts)


def _title(found: Audit) -> str:
    return f"Audit of {found.facts['model']} on {found.facts['data']}"


def _answers(found: Audit) -> list[str]:
    """The two questions, answered in sentences."""
    lines = []
    for name, column in found.groups.items():
        gap = column["largest_gap"]
        if gap is None:
            lines.append(
                f"By {name}: fewer than two groups that are large enough to tell, so nothing can be compared."
            )
            continue
        verdict = {
            True: "the interval excludes 0",
            False: "the interval includes 0: it may be chance",
            None: "no interval, since too few people stand behind a group",
        }[gap["excludes_zero"]]
        lines.append(
            f"By {name}: the largest gap in accuracy is {page.with_ends(gap['gap'], gap['gap_95'])}, '{gap['better']}' over "
            f"'{gap['worse']}'; {verdict}."
        )
    if len(lines) > 1:
        lines.append(
            f"{len(lines)} columns were looked at; each interval is for its own column, so about one column in twenty "
            "without any real gap would still show one."
        )
    return lines + _summary(found)


def _summary(found: Audit) -> list[str]:
    """Whether the network says that it is unsure when it is wrong."""
    if not found.corruptions:
        return []
    clean, rest = found.corruptions[0], found.corruptions[1:]
    broken = [line for line in rest if line["says_so"] is False]
    silent = [line for line in rest if line["says_so"] is None]
    usual = page.with_ends(clean["certain_accuracy"], clean["certain_accuracy_95"])
    lines = [
        f"Does the network say that it is unsure when it is wrong? As the pictures are, {page.cell(clean['certain'])} of the answers "
        f"are certain, and {usual} of those are right."
    ]
    kept = len(rest) - len(broken) - len(silent)
    if kept or broken:
        lines.append(
            f"Of {len(rest)} corruptions and severities, certain answers stay as right as that, within {KEEPS:g}, under {kept}; under "
            f"{len(broken)} they do not: {_named(broken)}."
            if broken
            else f"Under {kept} of {len(rest)} corruptions and severities, certain answers stay as right as that, within {KEEPS:g}."
        )
    if silent:
        lines.append(f"Fewer than {LEAST} answers were certain, too few to tell, under {_named(silent)}.")
    return lines


def _says_so(found: Audit) -> list[str]:
    facts = found.facts
    return [
        f"Tried on {facts['corrupted_pictures']:,} pictures, drawn by chance (seed {facts['seed']}) from {facts['pictures']:,}; the first "
        "row is the same pictures as they are. What is corrupted is the picture, before a face is looked for.",
        "Levels: " + "; ".join(f"{kind.what}: {kind.level}" for kind in CORRUPTIONS.values()) + ".",
        f"says so: the accuracy of certain answers is at most {KEEPS:g} under that of the same pictures as they are; told where at least "
        f"{LEAST} answers are certain.",
    ]


def _named(lines: Sequence[Mapping[str, Any]]) -> str:
    """Corruptions with their severities: "blur 2, 3"."""
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line["name"], []).append(str(line["severity"]))
    return "; ".join(f"{name} {', '.join(severities)}" for name, severities in found.items())


def _whole(found: Audit) -> tuple[list[str], list[list[Any]]]:
    head = ["", "pictures", *COLUMNS.values(), "no face", "unreliable"]
    shown = [_with(found.whole, name) for name in COLUMNS]
    return head, [
        ["all pictures", found.whole["samples"], *shown, found.whole["not_found"], found.whole["unreliable"]]
    ]


def _column_notes(column: Mapping[str, Any]) -> list[str]:
    small = [group["name"] for group in column["groups"] if group["too_small"]]
    notes = []
    if small:
        notes.append(
            f"Too small to tell (under {LEAST} pictures, or too few people for an interval), and not compared: {', '.join(small)}."
        )
    if column["missing"]:
        notes.append(f"{column['missing']:,} pictures have no value there and are in no group.")
    return notes


def _groups(column: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    people = column["groups"][0]["people"] is not None
    head = ["group", "pictures", *(["people"] if people else []), "classes", *COLUMNS.values(), "gap"]
    rows = [
        [
            group["name"],
            group["samples"],
            *([group["people"]] if people else []),
            group["classes"],
            *(_with(group, name) for name in COLUMNS),
            "best" if group["gap"] == 0 and group["gap_95"][0] is None else _with(group, "gap"),
        ]
        for group in column["groups"]
    ]
    return head, rows


def _corruptions(found: Audit) -> tuple[list[str], list[list[Any]]]:
    names = {name: text for name, text in COLUMNS.items() if name != "uncertain"}
    head = [
        "corruption",
        "severity",
        "level",
        "no face",
        "uncertain",
        "unreliable",
        *names.values(),
        "says so",
    ]
    rows = [
        [
            "none" if line["level"] is None else CORRUPTIONS[line["name"]].what,
            line["severity"],
            "" if line["level"] is None else f"{line['level']:g}",
            line["not_found"],
            line["uncertain"],
            line["unreliable"],
            *(_with(line, name) for name in names),
            None if line["level"] is None else line["says_so"],
        ]
        for line in found.corruptions
    ]
    return head, rows


def _with(figures: Mapping[str, Any], name: str) -> str:
    return page.with_ends(figures[name], figures[f"{name}_95"])


def _facts(found: Audit) -> dict[str, Any]:
    drawn = "pictures" if found.facts["people"] is None else "people"
    facts = {name.replace("_", " "): value for name, value in found.facts.items()}
    return {
        **facts,
        "intervals": f"95 %, percentiles over resampled {drawn}",
        "failures": len(found.failures),
    }


def _columns_left(found: Audit) -> list[str]:
    return [f"{name}: {reason}" for name, reason in found.left_out.items()]


def _left(found: Audit) -> list[str]:
    return [
        *(["## Columns without groups", _list(_columns_left(found))] if found.left_out else []),
        *(["## Pictures that could not be read", _list(found.failures)] if found.failures else []),
    ]


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {' '.join(item.split())}" for item in items)


def _rows(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return markdown.table(head, [[page.cell(value) for value in row] for row in rows])
