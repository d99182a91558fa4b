"""The version of Taskyard: of the package (pyproject.toml reads it here) and in requests to others."""

VERSION = "0.1.0"
