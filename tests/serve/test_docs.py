"""The page of the service in the docs names every limit and, beside each line of the security list, a test that is there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from mien.serve.settings import LIMITS, Settings

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "service.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text()


def test_every_limit_stands_there_with_its_default(page):
    normal = {item.name: item.default for item in fields(Settings)}
    for name in LIMITS:
        row = re.search(rf"^\| `--{name.replace('_', '-')}` \|.*\| (\S+) \| .*`\w+`.*\|$", page, re.MULTILINE)
        assert row and float(row[1]) == normal[name], name


def test_every_line_of_the_security_list_names_tests_that_are_there(page):
    lines = page.split("## Security")[1].split("## What it does not do")[0].strip().splitlines()[2:]
    assert len(lines) > 30
    for line in lines:
        named = re.findall(r"`(?:([\w/]+\.py)::)?(test_\w+)`", line)
        assert named or "`test_limits.py`" in line, line
        for file, name in named:
            path = TESTS.parent / file if "/" in file else TESTS / "serve" / (file or "test_security.py")
            assert f"def {name}(" in path.read_text(), line
