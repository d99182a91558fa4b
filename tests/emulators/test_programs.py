"""Finding the programs that the emulators run on, whatever else has their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulators import programs
from tests.emulators.errors import Missing


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing on its path but what a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def program(path: Path, answer: str, *, code: int = 0) -> Path:
    """A program that prints ``answer`` whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    path.chmod(0o755)
    return path


class TestPython:
    def test_one_on_the_path(self, tmp_path: Path) -> None:
        program(tmp_path / "bin/python3", "3.12 /usr/bin/python3.12")
        program(tmp_path / "bin/python3.13", "3.13 /opt/python/bin/python3.13")
        assert programs.find_python() == Path("/opt/python/bin/python3.13")

    def test_what_pyenv_puts_on_the_path_and_has_switched_off_is_passed_over(self, tmp_path: Path) -> None:
        program(tmp_path / "bin/python3.13", "pyenv: python3.13: command not found", code=127)
        program(tmp_path / "pyenv/versions/3.13.0/bin/python", "3.13 /pyenv/3.13.0/python")
        assert programs.find_python() == Path("/pyenv/3.13.0/python")

    def test_one_without_venv_is_passed_over(self, tmp_path: Path) -> None:
        program(tmp_path / "bin/python3.13", "ModuleNotFoundError: No module named ensurepip", code=1)
        program(tmp_path / "pyenv/versions/3.13.0/bin/python", "3.13 /pyenv/3.13.0/python")
        assert programs.find_python() == Path("/pyenv/3.13.0/python")

    def test_one_of_uv(self, tmp_path: Path) -> None:
        uv_python = program(tmp_path / "uv/python", "3.13 /uv/3.13/python")
        program(tmp_path / "bin/uv", str(uv_python))
        assert programs.find_python() == Path("/uv/3.13/python")

    def test_python3_itself_if_it_fits(self, tmp_path: Path) -> None:
        program(tmp_path / "bin/python3", "3.13 /usr/bin/python3.13")
        assert programs.find_python() == Path("/usr/bin/python3.13")

    def test_a_path_with_blanks_in_it(self, tmp_path: Path) -> None:
        program(tmp_path / "bin/python3.13", "3.13 /Users/A B/python3.13")
        assert programs.find_python() == Path("/Users/A B/python3.13")

    @pytest.mark.parametrize("version", ["3.12", "3.14"])  # LocalStack fails on either, see programs.PYTHON
    def test_none_that_fits(self, tmp_path: Path, version: str) -> None:
        other = program(tmp_path / "bin/python3", f"{version} /usr/bin/python{version}")
        with pytest.raises(Missing) as raised:
            programs.find_python()
        assert raised.value.expected == "Python 3.13 with venv and ensurepip"
        assert raised.value.got == f"others: {other}"
        assert "uv python install 3.13" in str(raised.value.remedy)


class TestJava:
    def test_one_that_is_new_enough(self, tmp_path: Path) -> None:
        java = program(tmp_path / "bin/java", 'openjdk version "17.0.15" 2025-04-15')
        assert programs.find_java() == java

    def test_that_of_java_home_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program(tmp_path / "bin/java", 'openjdk version "17.0.15"')
        newer = program(tmp_path / "jdk/bin/java", 'java version "25" 2025-09-16 LTS')
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
        assert programs.find_java() == newer

    @pytest.mark.parametrize("answer", ['java version "1.8.0_392"', 'openjdk version "11.0.2"', "no such file"])
    def test_one_that_is_too_old(self, tmp_path: Path, answer: str) -> None:
        java = program(tmp_path / "bin/java", answer)
        with pytest.raises(Missing) as raised:
            programs.find_java()
        assert raised.value.expected == "Java 17 or newer"
        assert raised.value.got == str(java)

    def test_none(self) -> None:
        with pytest.raises(Missing, match="got no java on the path"):
            programs.find_java()


def test_npm() -> None:
    with pytest.raises(Missing, match=r"npm was not found; .*install Node\.js"):
        programs.find_npm()
