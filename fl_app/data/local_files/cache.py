"""Decoded pictures, kept between the messages of a participant.

In deployment each message is worked on by a process of its own, and to decode pictures and to hash
them for the hold-out takes far longer than to read the pixels back. What is kept are pixels, labels
and the hold-out: nothing that the folder of pictures does not hold, in a file that only the node's
user can read.
"""

import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fl_app.core.atomic_io import replace_atomically
from fl_app.data.local_files.image_folder import Files

# To be raised whenever files come to be read in another way.
_FORMAT = 1
_KEY = "key"
# A file that changed so shortly ago might change again within the resolution of its times.
_SETTLED_SECONDS = 2.0
_ROOM = 2.0  # of the file's size, that the disk must have left


class PictureCache:
    """The arrays made of a folder of pictures, one file for each folder.

    A file is taken only if it is whole, and made of just the files that are there now. That they
    are the same is told by name, size, inode and times of change.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder to keep files in, which need not be there yet."""
        self._folder = folder

    def load(self, source: Path, key: str, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
        """Return the arrays saved for a folder, or `None`; what is out of date is deleted."""
        path = self._path(source)
        try:
            # The zip format has a checksum of each array, which is compared as it is read.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as entry:
                if str(entry[_KEY]) == key:
                    return {name: entry[name] for name in names}
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged zip may raise: the pictures are still there
            getLogger("flwr").warning("%s is damaged, %s is read anew: %s", path, source, error)
        self.forget(source)
        return None

    def save(self, source: Path, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays for a folder, in place of what was kept; without room, do nothing."""
        size = sum(array.nbytes for array in arrays.values())
        path = self._path(source)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            if shutil.disk_usage(self._folder).free < _ROOM * size:
                raise OSError(f"the disk has no room for {size / 1e6:.0f} MB")
            with FileLock(self._folder / ".lock", timeout=0, mode=0o600):
                replace_atomically(path, lambda file: _write(file, key, arrays), 0o600)
        except Timeout:
            return  # another process of this node is at it
        except OSError as error:
            getLogger("flwr").info("the pictures of %s are not kept decoded: %s", source, error)
            return
        text = "the pictures of %s are kept decoded in %s (%.0f MB)"
        getLogger("flwr").info(text, source, path, size / 1e6)

    def forget(self, source: Path) -> None:
        """Delete what was kept for a folder, if anything."""
        try:
            self._path(source).unlink(missing_ok=True)
        except OSError as error:
            getLogger("flwr").warning("%s cannot be deleted: %s", self._path(source), error)

    @contextmanager
    def forgetting_on_error(self, source: Path) -> Iterator[None]:
        """Delete what was kept for a folder that turns out to be gone or not to fit any more."""
        try:
            yield
        except Exception:
            self.forget(source)
            raise

    def _path(self, source: Path) -> Path:
        name = hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:32]
        return self._folder / f"{name}.npz"


def _write(file: BinaryIO, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, array in {_KEY: np.array(key), **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def cache_key(files: Files, settings: Mapping[str, Any]) -> str | None:
    """Return what identifies arrays: the files that they are of, and how these are read.

    Args:
        files: As `list_pictures` found them.
        settings: Whatever else decides the arrays.

    Returns:
        A digest; `None` if a file is gone or has just been changed, and may be changing.
    """
    import PIL

    how = {"format": _FORMAT, "pillow": PIL.__version__, **settings}
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    now = time.time_ns()
    for path, label in files:
        try:
            found = path.stat()
        except OSError:
            return None
        if found.st_ctime_ns > now - _SETTLED_SECONDS * 1e9:
            return None
        what = (label, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        digest.update(os.fsencode(path) + b"\0" + repr(what).encode() + b"\n")
    return digest.hexdigest()
