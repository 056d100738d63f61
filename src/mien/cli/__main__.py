"""`python -m mien.cli` is the command `mien`."""

from mien.cli.main import run

run()
