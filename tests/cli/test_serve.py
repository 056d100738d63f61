from __future__ import annotations

from pathlib import Path

import pytest

from mien.cli.main import main, parser
from mien.serve.settings import LIMITS, Settings


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which the service would have run."""
    pytest.importorskip("fastapi", reason="the service needs the extra `serve`")
    found: list[Settings] = []
    monkeypatch.setattr("mien.serve.server.serve", found.append)
    monkeypatch.setattr("mien.serve.logs.log_to_stderr", lambda: None)
    monkeypatch.delenv("MIEN_TOKEN", raising=False)
    return found


def test_without_options_the_settings_are_the_usual_ones(told: list[Settings]) -> None:
    assert main(["serve"]) == 0
    assert told == [Settings()]


def test_every_limit_is_an_option(told: list[Settings], tmp_path: Path) -> None:
    words = [word for name in LIMITS for word in (f"--{name.replace('_', '-')}", "7")]
    assert main(["serve", *words, "--keep", "2h", "--home", str(tmp_path), "--workers", "2"]) == 0
    assert all(getattr(told[0], name) == 7 for name in LIMITS)
    assert (told[0].keep_s, told[0].home, told[0].workers) == (7200, tmp_path, 2)


def test_the_token_comes_from_the_environment_or_a_file(
    told: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("one-of-the-file-0123\n")
    monkeypatch.setenv("MIEN_TOKEN", "one-of-the-environment")
    assert main(["serve", "--host", "0.0.0.0"]) == 0
    assert main(["serve", "--host", "0.0.0.0", "--token-file", str(tmp_path / "token")]) == 0
    assert [settings.token for settings in told] == ["one-of-the-environment", "one-of-the-file-0123"]


def test_others_are_not_let_in_without_a_token(
    told: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "expected a token where others can reach the service" in capsys.readouterr().err
    assert main(["serve", "--token-file", "nothing"]) == 2
    assert told == []


def test_a_token_is_no_option() -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["serve", "--token", "a-token-of-some-length"])


def test_without_the_extra_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mien.serve.server", None)
    assert main(["serve"]) == 2
    assert "pip install 'mien[serve]'" in capsys.readouterr().err
