"""Every error that mien raises on purpose: a MienError and, at once, the built-in a caller expects.

Each message says what was expected, what was found and what to do. Catch `MienError` for all of them,
or the built-in (`ValueError`, `FileNotFoundError`, ...) as with any library.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MienError(Exception):
    """Base of all errors that mien raises on purpose."""


class ShapeError(MienError, ValueError):
    """An array has the wrong shape, type or range."""


class LabelError(MienError, ValueError):
    """A label, or a set of labels, is not the expected one."""


class OptionError(MienError, ValueError):
    """An argument or command-line option has a value that cannot be used."""


class InputError(MienError, ValueError):
    """A picture or clip cannot be read: corrupt, empty, of a wrong kind or too large."""


class TooManyPixelsError(InputError):
    """A picture has more pixels than are read."""


class InputNotFoundError(InputError, FileNotFoundError):
    """A path, folder or pattern that was asked for matches nothing."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class WeightsError(MienError, RuntimeError):
    """Weights are missing, changed on disk, or not what their contract says."""


class DataNotFoundError(MienError, FileNotFoundError):
    """A data set is not where it was looked for."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class DataError(MienError, ValueError):
    """A data set is there, but its files, counts or labels are not as distributed."""


class ProtocolError(MienError, ValueError):
    """A protocol is not whole, or would choose on the split that it reports."""


class CheckpointError(MienError, RuntimeError):
    """A checkpoint cannot be written or read, or belongs to something else."""


class TrainingError(MienError, RuntimeError):
    """Training cannot go on, such as when the loss is no longer a number."""


class LanguageModelError(MienError, RuntimeError):
    """A language model cannot be reached, or its answer cannot be used."""


class BatchError(MienError, RuntimeError):
    """A batch cannot go on: its folder belongs to another one, or no worker can work."""


class MissingExtraError(MienError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class UnknownNameError(MienError, KeyError):
    """A registry, label set or table has no entry of that name."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        known = sorted(str(item) for item in known)
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"no {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}.")

    def __str__(self) -> str:
        return str(self.args[0])
