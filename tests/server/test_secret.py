"""The secret of a data folder: drawn once, kept for oneself, the same for all who start there."""

from __future__ import annotations

import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.secret import kept_secret, secret_for
from server.settings import MIN_SECRET_BYTES, SettingError, Settings


def test_secret_is_the_same_after_a_restart(tmp_path: Path) -> None:
    assert kept_secret(tmp_path) == kept_secret(tmp_path)


def test_each_folder_has_its_own_secret(tmp_path: Path) -> None:
    assert kept_secret(tmp_path / "one") != kept_secret(tmp_path / "other")


def test_folder_is_made_when_it_is_not_there(tmp_path: Path) -> None:
    assert len(kept_secret(tmp_path / "deep" / "down").encode()) >= MIN_SECRET_BYTES


def test_secret_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    kept_secret(tmp_path)
    (file,) = tmp_path.iterdir()  # and the draft is gone
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_of_two_first_starts_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_exists = Path.exists
    # Both have looked before either has written.
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "jwt_secret" and real_exists(path))
    first, second = kept_secret(tmp_path), kept_secret(tmp_path)
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == ["jwt_secret"]


def test_many_readers_see_one_whole_secret(tmp_path: Path) -> None:
    kept = kept_secret(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(kept_secret, [tmp_path] * 32)) == {kept}


def test_secret_that_is_too_short_is_refused_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").write_text("tooshort\n")
    with pytest.raises(SettingError) as caught:
        kept_secret(tmp_path)
    assert str(tmp_path / "jwt_secret") in str(caught.value)
    assert "tooshort" not in str(caught.value)


def test_newline_of_an_editor_is_not_part_of_the_secret(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").write_text("abcdefgh" * (MIN_SECRET_BYTES // 8) + "\n")
    assert kept_secret(tmp_path) == "abcdefgh" * (MIN_SECRET_BYTES // 8)


def test_folder_that_cannot_be_made_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError) as caught:
        kept_secret(tmp_path / "file" / "folder")
    assert str(caught.value).startswith("BRAINGAME_DATA_DIR: ")
    assert "\n" not in str(caught.value)


# Which secret a server takes


def test_named_secret_comes_before_the_kept_one(tmp_path: Path) -> None:
    named = secrets.token_urlsafe(48)
    assert secret_for(Settings(data_dir=tmp_path, jwt_secret=named)) == named
    assert list(tmp_path.iterdir()) == []


def test_embedded_database_needs_no_named_secret(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=None)
    assert secret_for(settings) == kept_secret(tmp_path)


def test_database_of_the_operators_own_needs_a_named_secret(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://x/y")
    with pytest.raises(SettingError, match="BRAINGAME_JWT_SECRET is needed"):
        secret_for(settings)
    assert list(tmp_path.iterdir()) == []


def test_kept_secret_of_the_same_few_characters_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").write_text("ab" * MIN_SECRET_BYTES)
    with pytest.raises(SettingError, match="jwt_secret"):
        kept_secret(tmp_path)
