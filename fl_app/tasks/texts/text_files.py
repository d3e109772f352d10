"""Finding and reading a participant's text files; what is wrong is said of the file by name."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fl_app.core.errors import DataError

SUFFIXES = (".txt", ".md")

_SHOWN_FAULTS = 5
_BYTE_ORDER_MARK = "\ufeff"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_KINDS = " or ".join(SUFFIXES)


@dataclass(frozen=True)
class Texts:
    """What was read.

    Attributes:
        texts: By file, in order of their names below the folder; none is empty.
        remarks: What its owner should know, in sentences.
    """

    texts: tuple[tuple[Path, str], ...]
    remarks: tuple[str, ...]


def read_texts(path: Path, most_bytes: int) -> Texts:
    """Read a text file, or all below a folder whose names end in .txt or .md.

    Hidden files and folders, and files of other kinds, are left out and counted in the remarks; so
    are files that hold nothing but white space. A link to a folder is refused, since it may lead in
    a circle.

    Args:
        path: A file or folder, absolute.
        most_bytes: That all files may have together.

    Raises:
        DataError: If there is no such file, no text, a file that is not UTF-8 (with the position
            of the byte that does not fit) or cannot be read, or too much of it; names the file.
    """
    skipped: dict[str, int] = {}
    try:
        files = sorted(_walk(path, skipped)) if path.is_dir() else [_single(path)]
        _refuse_too_much(files, most_bytes)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror}.") from error
    if not files:
        raise DataError(f"{path} holds no text: no file below it ends in {_KINDS}.")
    texts, empty = [], 0
    faults: list[str] = []
    for file in files:
        try:
            text = _read(file)
        except DataError as error:
            faults.append(str(error))
            continue
        if text.strip():
            texts.append((file, text))
        else:
            empty += 1
    if faults:
        raise DataError(_told(faults, path))
    if not texts:
        raise DataError(f"{path} holds no text: {_files(empty)} below it, all of them empty.")
    counted = {**skipped, "empty": empty}
    remarks = [f"{path}: left out {_files(n)}: {why}" for why, n in counted.items() if n]
    return Texts(tuple(texts), tuple(remarks))


def _walk(folder: Path, skipped: dict[str, int]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = Path(entry.path)
        why = ""
        if entry.name.startswith("."):
            why = "hidden"
        elif entry.is_dir():
            if entry.is_symlink():  # may lead in a circle
                raise DataError(f"{path} is a link to a folder; put the folder itself there.")
            yield from _walk(path, skipped)
        elif path.suffix.casefold() not in SUFFIXES:
            why = f"not {_KINDS}"
        else:
            _refuse_special(path)
            yield path
        if why:
            skipped[why] = skipped.get(why, 0) + 1


def _single(path: Path) -> Path:
    """Return the path of a file that is named by itself, whatever its name ends in."""
    if not path.exists():
        raise DataError(
            f"{path} does not exist on this machine. Give the absolute path of a folder with "
            f"{_KINDS} files, or of one text file."
        )
    _refuse_special(path)
    return path


def _refuse_special(path: Path) -> None:
    """Refuse what is no file: to open a FIFO that nobody writes to would wait for ever."""
    if not path.exists():
        raise DataError(f"{path} is a link that leads nowhere; remove it.")
    if not path.is_file():
        raise DataError(f"{path} is no ordinary file, and no text can be read from it.")


def _refuse_too_much(files: list[Path], most_bytes: int) -> None:
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > most_bytes:
            raise DataError(
                f"{file}: with this file there are more than {most_bytes / 1e6:g} million bytes of "
                "text; take less, or raise max_megabytes of the task where memory allows it "
                "(some 15 bytes for each)."
            )


def _read(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
    try:
        return raw.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        likely = " It looks like UTF-16." if raw.startswith(_UTF_16) else ""
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file} is not UTF-8: byte {error.start} (0x{raw[error.start]:02x}, in line {line}) "
            f"does not fit.{likely} Save it as UTF-8."
        ) from error


def _told(faults: list[str], path: Path) -> str:
    if len(faults) == 1:
        return faults[0]
    shown = "\n".join(f"  - {fault}" for fault in faults[:_SHOWN_FAULTS])
    more = len(faults) - _SHOWN_FAULTS
    rest = f"\n  - and {more} more" if more > 0 else ""
    return f"{len(faults)} files below {path} cannot be used:\n{shown}{rest}"


def _files(count: int) -> str:
    return f"{count} file" + "s" * (count != 1)
