"""Settings: where they come from, which one wins, and one clear line for each bad one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.setting_facts import SUSPICIOUS, Secrecy
from server.settings import SettingError, Settings, facts, parse_settings, unknown_variables

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from the machine that the tests run on."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BRAINGAME_") or name in ("DATABASE_URL", "REDIS_URL", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name)


def refusal(arguments: list[str]) -> str:
    with pytest.raises(SettingError) as caught:
        parse_settings(arguments)
    return str(caught.value)


def test_no_setting_is_needed() -> None:
    assert parse_settings([]).model_dump() == {
        "host": "127.0.0.1",
        "port": 8080,
        "workers": 1,
        "data_dir": Path("var"),
        "database_url": None,
        "database_pooler": "none",
        "redis_url": None,
        "jwt_secret": None,
        "jwt_secret_previous": None,
        "token_seconds": 3600,
        "bcrypt_cost": 12,
        "stages": 3,
        "max_stage_score": 1_000_000,
        "board_hz": 10,
        "origins": (),
        "limits": True,
        "trusted_proxies": (),
        "messages_per_second": 200,
        "messages_at_once": 400,
        "player_messages_per_second": 500,
        "player_messages_at_once": 2000,
        "message_bytes": 65_536,
        "player_message_bytes": 4_194_304,
        "message_fragments": 1024,
        "message_seconds": 60,
        "subscriptions_per_socket": 33,
        "sockets_per_address": 1000,
        "sockets_per_account": 200,
        "doorway_connections": 10_000,
        "failures_per_account": 30,
        "failures_per_account_anywhere": 100,
        "failures_per_address": 200,
        "registrations_per_address": 300,
        "longest_delay_seconds": 300,
        "tls_certificate": None,
        "tls_key": None,
        "scoring": "reported",
        "deepai_key": None,
        "deepai_url": "https://api.deepai.org/api/image-similarity",
        "migrate": None,
        "leaderboard_emails": "own",
        "log_level": "info",
        "log_format": "auto",
        "traces_url": None,
        "traces_share": 0.01,
    }


GOOD = [
    ("BRAINGAME_HOST", "0.0.0.0", "host", "0.0.0.0"),
    ("BRAINGAME_HOST", "::1", "host", "::1"),
    ("BRAINGAME_PORT", "0", "port", 0),
    ("BRAINGAME_PORT", "65535", "port", 65535),
    ("BRAINGAME_WORKERS", "1", "workers", 1),
    ("BRAINGAME_DATA_DIR", "somewhere/else", "data_dir", Path("somewhere/else")),
    ("DATABASE_URL", "postgresql://u@h/d", "database_url", "postgresql://u@h/d"),
    ("BRAINGAME_DATABASE_POOLER", "transaction", "database_pooler", "transaction"),
    ("REDIS_URL", "redis://h:6379/1", "redis_url", "redis://h:6379/1"),
    ("BRAINGAME_JWT_SECRET", SECRET, "jwt_secret", SECRET),
    ("BRAINGAME_JWT_SECRET_PREVIOUS", SECRET, "jwt_secret_previous", SECRET),
    ("BRAINGAME_TRUSTED_PROXIES", "10.0.0.0/8, ::1", "trusted_proxies", ("10.0.0.0/8", "::1/128")),
    ("BRAINGAME_MESSAGES_PER_SECOND", "0.5", "messages_per_second", 0.5),
    ("BRAINGAME_SOCKETS_PER_ADDRESS", "1", "sockets_per_address", 1),
    ("BRAINGAME_JWT_SECRET", "äöüßéñçå" * 2, "jwt_secret", "äöüßéñçå" * 2),  # bytes count, not characters
    ("BRAINGAME_TOKEN_SECONDS", "2", "token_seconds", 2),
    ("BRAINGAME_BCRYPT_COST", "4", "bcrypt_cost", 4),
    ("BRAINGAME_STAGES", "5", "stages", 5),
    ("BRAINGAME_MAX_STAGE_SCORE", "100", "max_stage_score", 100),
    ("BRAINGAME_BOARD_HZ", "2.5", "board_hz", 2.5),
    ("BRAINGAME_ORIGINS", "https://a.example", "origins", ("https://a.example",)),
    (
        "BRAINGAME_ORIGINS",
        " https://A.example/ ,,http://b.example:8080,",
        "origins",
        ("https://a.example", "http://b.example:8080"),
    ),
    ("BRAINGAME_LIMITS", "off", "limits", False),
    ("BRAINGAME_LIMITS", "on", "limits", True),
    ("BRAINGAME_LIMITS", "0", "limits", False),
    ("BRAINGAME_SCORING", "reported", "scoring", "reported"),
    ("BRAINGAME_MIGRATE", "on", "migrate", True),
    ("BRAINGAME_LEADERBOARD_EMAILS", "all", "leaderboard_emails", "all"),
    ("BRAINGAME_LOG_LEVEL", "debug", "log_level", "debug"),
    ("BRAINGAME_LOG_FORMAT", "json", "log_format", "json"),
    ("BRAINGAME_TRACES_URL", "http://127.0.0.1:4318/v1/traces", "traces_url", "http://127.0.0.1:4318/v1/traces"),
    ("BRAINGAME_TRACES_SHARE", "0", "traces_share", 0),
    ("BRAINGAME_TRACES_SHARE", "1", "traces_share", 1),
]


@pytest.mark.parametrize(("name", "text", "field", "value"), GOOD)
def test_environment_sets_it(monkeypatch: pytest.MonkeyPatch, name: str, text: str, field: str, value: object) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(parse_settings([]), field) == value


@pytest.mark.parametrize(("name", "text", "field", "value"), GOOD)
def test_line_of_dotenv_sets_it(tmp_path: Path, name: str, text: str, field: str, value: object) -> None:
    (tmp_path / ".env").write_text(f"SOMEBODY_ELSE=1\n{name}='{text}'\n", encoding="utf-8")
    assert getattr(parse_settings([]), field) == value


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--host", "0.0.0.0"], "host", "0.0.0.0"),
        (["--port", "9"], "port", 9),
        (["--port=9"], "port", 9),
        (["--workers", "1"], "workers", 1),
        (["--data-dir", "elsewhere"], "data_dir", Path("elsewhere")),
        (["--database-url", "postgresql://x"], "database_url", "postgresql://x"),
        (["--redis-url", "redis://x"], "redis_url", "redis://x"),
        (["--origins", "https://a.example"], "origins", ("https://a.example",)),
        (["--migrate"], "migrate", True),
        (["--no-migrate"], "migrate", False),
        (["--no-limits"], "limits", False),
    ],
)
def test_flag_sets_it(arguments: list[str], field: str, value: object) -> None:
    assert getattr(parse_settings(arguments), field) == value


def test_flag_is_stronger_than_environment_which_is_stronger_than_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("BRAINGAME_PORT=1\nBRAINGAME_STAGES=1\nBRAINGAME_HOST=dotenv\n", encoding="utf-8")
    monkeypatch.setenv("BRAINGAME_PORT", "2")
    monkeypatch.setenv("BRAINGAME_STAGES", "2")
    settings = parse_settings(["--port", "3"])
    assert (settings.port, settings.stages, settings.host) == (3, 2, "dotenv")


def test_database_url_flag_is_stronger_than_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://environment")
    assert parse_settings(["--database-url", "postgresql://flag"]).database_url == "postgresql://flag"


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BRAINGAME_PORT", "DATABASE_URL", "BRAINGAME_JWT_SECRET", "BRAINGAME_ORIGINS"):
        monkeypatch.setenv(name, "")
    assert parse_settings([]) == Settings()


def test_origins_of_a_list_each_stand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINGAME_ORIGINS", "https://a.example,https://b.example,https://c.example")
    assert parse_settings([]).origins == ("https://a.example", "https://b.example", "https://c.example")


BAD = [
    ("BRAINGAME_PORT", "-1"),
    ("BRAINGAME_PORT", "65536"),
    ("BRAINGAME_PORT", "eighty"),
    ("BRAINGAME_PORT", "80.5"),
    ("BRAINGAME_WORKERS", "0"),
    ("BRAINGAME_WORKERS", "65"),
    ("BRAINGAME_DATABASE_POOLER", "session"),
    ("BRAINGAME_JWT_SECRET", "short"),
    ("BRAINGAME_JWT_SECRET", SECRET[:-1]),
    ("BRAINGAME_JWT_SECRET", "ab" * 40),
    ("BRAINGAME_JWT_SECRET_PREVIOUS", "short"),
    ("BRAINGAME_TRUSTED_PROXIES", "proxy.example"),
    ("BRAINGAME_TRUSTED_PROXIES", "10.0.0.0/33"),
    ("BRAINGAME_MESSAGES_PER_SECOND", "0"),
    ("BRAINGAME_MESSAGES_PER_SECOND", "inf"),
    ("BRAINGAME_MESSAGES_PER_SECOND", "nan"),
    ("BRAINGAME_MESSAGES_AT_ONCE", "0"),
    ("BRAINGAME_MESSAGE_BYTES", "10"),
    ("BRAINGAME_MESSAGE_SECONDS", "0"),
    ("BRAINGAME_SOCKETS_PER_ADDRESS", "0"),
    ("BRAINGAME_FAILURES_PER_ACCOUNT", "0"),
    ("BRAINGAME_LONGEST_DELAY_SECONDS", "7200"),
    ("BRAINGAME_TOKEN_SECONDS", "0"),
    ("BRAINGAME_TOKEN_SECONDS", "1h"),
    ("BRAINGAME_TOKEN_SECONDS", "31536001"),
    ("BRAINGAME_BCRYPT_COST", "3"),
    ("BRAINGAME_BCRYPT_COST", "17"),
    ("BRAINGAME_STAGES", "0"),
    ("BRAINGAME_STAGES", "1001"),
    ("BRAINGAME_MAX_STAGE_SCORE", "-1"),
    ("BRAINGAME_MAX_STAGE_SCORE", "a lot"),
    ("BRAINGAME_MAX_STAGE_SCORE", str(2**40)),
    ("BRAINGAME_BOARD_HZ", "0"),
    ("BRAINGAME_BOARD_HZ", "-1"),
    ("BRAINGAME_BOARD_HZ", "101"),
    ("BRAINGAME_BOARD_HZ", "nan"),
    ("BRAINGAME_BOARD_HZ", "inf"),
    ("BRAINGAME_LIMITS", "maybe"),
    ("BRAINGAME_SCORING", "dealt"),
    ("BRAINGAME_MIGRATE", "perhaps"),
    ("BRAINGAME_LEADERBOARD_EMAILS", "none"),
    ("BRAINGAME_LOG_LEVEL", "trace"),
    ("BRAINGAME_LOG_FORMAT", "xml"),
    ("BRAINGAME_TRACES_URL", "127.0.0.1:4318"),
    ("BRAINGAME_TRACES_SHARE", "1.1"),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_bad_variable_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)
    line = refusal([])
    assert line.startswith(f"{name}: ")
    assert "\n" not in line


@pytest.mark.parametrize(("name", "text"), BAD)
def test_bad_line_of_dotenv_is_one_line_that_names_it(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / ".env").write_text(f"{name}={text}\n", encoding="utf-8")
    line = refusal([])
    assert line.startswith(f"{name}: ")
    assert "\n" not in line


@pytest.mark.parametrize("name_and_text", [(name, text) for name, text in BAD if text not in ("maybe", "perhaps")])
def test_bad_flag_is_one_line_that_names_the_setting(name_and_text: tuple[str, str]) -> None:
    name, text = name_and_text
    flag = "--" + name.removeprefix("BRAINGAME_").lower().replace("_", "-")
    line = refusal([f"{flag}={text}"])
    assert line.startswith(f"{name}: ")
    assert "\n" not in line


def test_empty_host_flag_is_refused() -> None:
    assert refusal(["--host", ""]).startswith("BRAINGAME_HOST: ")


def test_stages_and_score_that_do_not_fit_together_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINGAME_STAGES", "1000")
    monkeypatch.setenv("BRAINGAME_MAX_STAGE_SCORE", str(2**40 - 1))
    line = refusal([])
    assert "BRAINGAME_STAGES" in line
    assert "BRAINGAME_MAX_STAGE_SCORE" in line
    assert "\n" not in line


def test_refusal_of_a_secret_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINGAME_JWT_SECRET", "hunter2")
    assert "hunter2" not in refusal([])


def test_dotenv_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"BRAINGAME_PORT=\xff\xfe\n")
    line = refusal([])
    assert ".env" in line
    assert "\n" not in line


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["--port"], ["stray"], ["--po", "1"], ["--limits=off"]])
def test_bad_command_line_is_one_line_that_points_to_help(arguments: list[str]) -> None:
    line = refusal(arguments)
    assert "--help" in line
    assert "\n" not in line


def test_help_names_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_settings(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for name in {name for name, *_ in GOOD}:
        assert name in shown


def test_settings_cannot_be_changed_later() -> None:
    settings = parse_settings([])
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "carried"),
    [
        ([], True),  # the embedded store is ours to migrate
        (["--database-url", "postgresql://x"], False),
        (["--database-url", "postgresql://x", "--migrate"], True),
        (["--no-migrate"], False),
    ],
)
def test_only_our_own_store_is_migrated_unasked(arguments: list[str], carried: bool) -> None:
    assert parse_settings(arguments).migrates is carried


def test_each_wrong_setting_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINGAME_PORT", "70000")
    monkeypatch.setenv("BRAINGAME_TOKEN_SECONDS", "1h")
    assert refusal(["--stages", "0"]).splitlines() == [
        "BRAINGAME_PORT: 70000 is not between 0 and 65535 (TCP port)",
        "BRAINGAME_TOKEN_SECONDS: '1h' is not a whole number, 1 to 31536000 (seconds)",
        "BRAINGAME_STAGES: 0 is not between 1 and 1000 (stages)",
    ]


def test_secret_from_a_folder_of_credentials_is_weaker_than_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd's LoadCredential leaves it, and a container's secrets."""
    (tmp_path / "BRAINGAME_JWT_SECRET").write_text(f"{SECRET}\n", encoding="utf-8")
    (tmp_path / "DATABASE_URL").write_text("postgresql://file", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql://environment")
    settings = parse_settings([])
    assert (settings.jwt_secret, settings.database_url) == (SECRET, "postgresql://environment")


def test_folder_of_credentials_that_is_not_there_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/nowhere")
    assert parse_settings([]) == Settings()


def test_variables_that_no_setting_has_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SOMEBODY_ELSE=1\nBRAINGAME_WORKER=2\nBRAINGAME_STAGES=2\n", encoding="utf-8")
    monkeypatch.setenv("BRAINGAME_XYZZY", "1")
    assert unknown_variables() == [
        "BRAINGAME_XYZZY in the environment is no setting",
        "BRAINGAME_WORKER in .env is no setting; is BRAINGAME_WORKERS meant?",
    ]


def test_settings_that_are_written_down_somewhere_show_no_secret() -> None:
    settings = parse_settings(["--jwt-secret", SECRET, "--database-url", f"postgresql://u:{SECRET}@h/d"])
    assert SECRET not in repr(settings) + str(settings)
    assert "port='8080'" in repr(settings)


# What each declaration has to say


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if any(word in name for word in SUSPICIOUS)])
def test_setting_with_a_name_like_a_secret_says_what_of_it_is_secret(name: str) -> None:
    decided = [one for one in Settings.model_fields[name].metadata if isinstance(one, Secrecy)]
    assert len(decided) == 1, f"say Secrecy.ALL, .PASSWORD or .NONE in the annotation of {name}"


@pytest.mark.parametrize("name", [name for name, fact in facts().items() if fact.kind in (int, float)])
def test_number_says_its_unit_and_bounds(name: str) -> None:
    assert facts()[name].unit, f"say Unit(...) in the annotation of {name}"
    assert facts()[name].bounds


def test_help_names_bounds_unit_and_default_of_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"])
    shown = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    for fact in facts().values():
        said = f"{fact.variable}; {fact.measure or 'text'} (default: {fact.shown(fact.default)})"
        assert "".join(said.split()) in shown
        assert fact.description


def test_certificate_and_key_come_together() -> None:
    for flag in ("--tls-certificate", "--tls-key"):
        with pytest.raises(SettingError, match="needed together"):
            parse_settings([flag, "file.pem"])
    both = parse_settings(["--tls-certificate", "a.pem", "--tls-key", "b.pem"])
    assert (both.tls_certificate, both.tls_key) == (Path("a.pem"), Path("b.pem"))


def test_largest_message_has_room_in_what_may_come_at_once() -> None:
    with pytest.raises(SettingError, match="BRAINGAME_MESSAGES_AT_ONCE"):
        parse_settings(["--messages-at-once", "100"])
    parse_settings(["--messages-at-once", "100", "--player-message-bytes", "1000000"])
