"""The version of the server, in one place; pyproject.toml reads it from here."""

VERSION = "0.4.0"
