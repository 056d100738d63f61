"""Names of things that are kept one in a file: methods, data sets. A plain dict, one hop.

A registry fills itself from the modules of one package the first time it is asked, so that a new file is
found without any list being edited, and importing mien costs nothing.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Generic, TypeVar

from mien.errors import UnknownNameError

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Name -> entry, for everything that the modules below one package register.

    Args:
        kind: what an entry is, for messages ("method").
        package: dotted name of the package whose modules register themselves.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._entries: dict[str, Entry] = {}
        self._filled = False

    def add(self, name: str, entry: Entry) -> None:
        """Register an entry; a name is given once (`ValueError`)."""
        if name in self._entries:
            raise ValueError(f"expected a new name, got {self.kind} {name!r}, which is registered already")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name; `UnknownNameError` names the closest one."""
        if name not in self._entries:
            self._fill()
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._fill()
        return len(self._entries)

    def _fill(self) -> None:
        """Import every module below the package, once."""
        if self._filled:
            return
        package = import_module(self.package)
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            import_module(module.name)
        self._filled = True
