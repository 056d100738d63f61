"""What the command's exit codes mean, for all verbs."""

from __future__ import annotations

OK = 0
SOME_FAILED = 1
"""Some files could not be read, or a check found something; the rest stands."""
USAGE = 2
"""An option, a model or a place to write cannot be used."""
ALL_FAILED = 3
INTERRUPTED = 130
