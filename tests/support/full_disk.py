"""Errors of a disk that takes no more."""

import errno
import os
from collections.abc import Callable
from typing import Any

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(error: OSError) -> Callable[..., Any]:
    def raising(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    return raising
