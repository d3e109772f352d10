import ctypes
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.repository import REPOSITORY
from strategies.native.compiler import COMPILER_VARIABLE, load_library

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

ANSWER = "int answer(void) { return 42; }"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that libraries are kept in, still to be made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/delta-fedavg/compiled"


@pytest.fixture
def compilations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line per call of the compiler that makes a library."""
    record, compiler = tmp_path / "compilations", tmp_path / "cc"
    record.touch()
    compiler.write_text(
        f'#!/bin/sh\ncase " $* " in *" -o "*) echo "$@" >> {record};; esac\nexec cc "$@"\n'
    )
    compiler.chmod(0o700)
    monkeypatch.setenv(COMPILER_VARIABLE, str(compiler))
    return record


def number(record: Path) -> int:
    return len(record.read_text().splitlines())


def test_a_library_is_built_once(cache: Path, compilations: Path):
    for _ in range(2):
        library = load_library("answer", ANSWER)
        assert library is not None
        assert library.answer() == 42

    assert number(compilations) == 1
    assert [path.suffix for path in cache.iterdir()] == [".so"]


def test_another_source_or_flag_is_another_library(cache: Path, compilations: Path):
    source = "int answer(void) { return ANSWER; }"
    libraries = [
        load_library("answer", ANSWER),
        load_library("answer", source, ["-DANSWER=43"]),
        load_library("answer", source, ["-DANSWER=44"]),
    ]

    assert [library and library.answer() for library in libraries] == [42, 43, 44]
    assert number(compilations) == 3


def answer_in_another_process() -> str:
    load = f"load_library('answer', {ANSWER!r})"
    code = f"from strategies.native.compiler import *; print({load}.answer())"
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_a_new_process_finds_what_another_has_built(cache: Path, compilations: Path):
    assert [answer_in_another_process() for _ in range(2)] == ["42\n", "42\n"]
    assert number(compilations) == 1


@pytest.mark.slow
def test_a_damaged_library_is_built_anew(cache: Path, compilations: Path):
    answer_in_another_process()
    (built,) = cache.iterdir()
    built.write_bytes(built.read_bytes()[:100])

    assert answer_in_another_process() == "42\n"
    assert number(compilations) == 2


@pytest.mark.slow
def test_many_may_build_at_once(cache: Path):
    with ThreadPoolExecutor(8) as pool:
        libraries = list(pool.map(lambda _: load_library("answer", ANSWER), range(8)))

    assert all(isinstance(library, ctypes.CDLL) for library in libraries)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("compiler", ["", "no-such-compiler"])
def test_without_a_compiler_there_is_no_library_and_no_complaint(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, compiler: str
):
    monkeypatch.setenv(COMPILER_VARIABLE, compiler)

    assert load_library("answer", ANSWER) is None
    assert not caplog.records


def test_what_the_compiler_says_is_logged_and_nothing_is_left(
    cache: Path, flower_log: pytest.LogCaptureFixture
):
    assert load_library("answer", "int answer(void) { return wrong; }") is None
    assert "answer is not compiled, and does without" in flower_log.text
    assert "wrong" in flower_log.text
    assert list(cache.iterdir()) == []


def test_a_compiler_that_hangs_is_left(
    cache: Path, monkeypatch: pytest.MonkeyPatch, flower_log: pytest.LogCaptureFixture
):
    monkeypatch.setattr("strategies.native.compiler._SECONDS", 0.0)

    assert load_library("answer", ANSWER) is None
    assert "timed out" in flower_log.text


def test_code_is_not_loaded_from_where_others_may_write(
    cache: Path, flower_log: pytest.LogCaptureFixture
):
    cache.mkdir(parents=True)
    cache.chmod(0o777)

    assert load_library("answer", ANSWER) is None
    assert f"{cache} can be written to by others; chmod 700 it" in flower_log.text


def test_without_a_folder_to_keep_it_in_there_is_no_library(
    cache: Path, flower_log: pytest.LogCaptureFixture
):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file")

    assert load_library("answer", ANSWER) is None
    assert str(cache) in flower_log.text
