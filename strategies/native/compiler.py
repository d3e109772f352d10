"""Small libraries in C, built by the machine's own compiler where it has one.

A library is built once and kept in the user's cache, under a name that tells its source, the
compiler, and the processor it is for: it is loaded by whoever needs the same again, and no other.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from logging import WARNING
from pathlib import Path

from flwr.common.logger import log

COMPILER_VARIABLE = "DELTA_FEDAVG_CC"
"""The environment's choice of C compiler; empty: none."""

_FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
_SECONDS = 60


class CompilationError(Exception):
    """There is a compiler, but no library came of it; says why."""


def find_compiler() -> str | None:
    """Return the path of the C compiler, if there is one."""
    return shutil.which(os.environ.get(COMPILER_VARIABLE, "cc") or "")


def load_library(name: str, source: str, flags: Sequence[str] = ()) -> ctypes.CDLL | None:
    """Load a library, built before if that was not done yet.

    Args:
        name: What it is called in messages and files.
        source: The C program.
        flags: For the compiler, beyond optimising for this processor.

    Returns:
        The library, or `None` where there is no compiler, or it fails: then a line in the log
        says why.
    """
    compiler = find_compiler()
    if compiler is None:
        return None
    try:
        return build_library(compiler, name, source, flags)
    except CompilationError as error:
        log(WARNING, "%s is not compiled, and does without: %s: %s", name, compiler, error)
        return None


def build_library(compiler: str, name: str, source: str, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Do the same with a compiler that is there.

    Raises:
        CompilationError: If the compiler fails, or the library cannot be kept or loaded.
    """
    command = [compiler, *_FLAGS, *flags]
    try:
        built = _cache_folder() / f"{name}-{_fingerprint(command, source)}.so"
        with suppress(OSError):  # not there yet, or damaged
            return ctypes.CDLL(str(built))
        _build(command, source, built)
        return ctypes.CDLL(str(built))
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise CompilationError(said or f"exit status {error.returncode}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise CompilationError(str(error)) from error


def _cache_folder() -> Path:
    """Return a folder that nobody but this user can write to: code is loaded from it."""
    cache = os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache"
    folder = Path(cache).expanduser() / "delta-fedavg" / "compiled"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} can be written to by others; chmod 700 it")
    return folder


def _fingerprint(command: Sequence[str], source: str) -> str:
    """Name what the library depends on; the macros tell compiler, version and processor."""
    ask = [*command, "-dM", "-E", "-x", "c", os.devnull]
    macros = subprocess.run(ask, check=True, capture_output=True, timeout=_SECONDS).stdout
    return hashlib.sha256(b"\0".join([*map(str.encode, [*command, source]), macros])).hexdigest()[
        :32
    ]


def _build(command: Sequence[str], source: str, target: Path) -> None:
    """Compile beside the target and move there, so that no half a library is ever found."""
    with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as folder:
        program, library = Path(folder, "source.c"), Path(folder, "library.so")
        program.write_text(source, encoding="utf-8")
        build = [*command, "-o", str(library), str(program)]
        subprocess.run(build, check=True, capture_output=True, timeout=_SECONDS)
        library.replace(target)
