"""Loads the modules that `DELTA_FEDAVG_LOAD_AHEAD` names, when it is imported itself.

Ray's workers import it when they start (`RAY_preload_python_modules`); `load` also serves
`scripts.processes.preloaded_command`. Python would look for
garbage all the time while it loads thousands of functions, and there is none: that took a
seventh of the time.
"""

import gc
import importlib
import os
from collections.abc import Sequence

VARIABLE = "DELTA_FEDAVG_LOAD_AHEAD"


def load(modules: Sequence[str]) -> None:
    """Import modules, in order, without a look for garbage, neither now nor later among them.

    Raises:
        ImportError: If there is none of that name.
    """
    gc.disable()
    try:
        for module in modules:
            importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


if VARIABLE in os.environ:  # not so where only its name is asked for
    load(os.environ[VARIABLE].split())
