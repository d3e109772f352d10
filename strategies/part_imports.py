"""Importing a part by its path, from a module or from a file of the user's."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Catalogue:
    """Names of parts that come from elsewhere, such as the models of a library.

    Attributes:
        what: They in words, for messages.
        path: "module:attribute" of a mapping from names to parts; it is imported when it is needed.
    """

    what: str
    path: str

    @property
    def parts(self) -> Mapping[str, Callable[..., Any]]:
        """The parts by name."""
        found: Mapping[str, Callable[..., Any]] = import_part(self.path)
        return found


def import_part(path: str) -> Any:  # noqa: ANN401 - a class, a function or an object
    """Import `"my_package.my_module:MyPart"` or `"/home/me/my_parts.py:MyPart"`.

    Raises:
        FileNotFoundError: If there is no such file.
        Exception: Whatever importing a user's module raises.
    """
    module_name, _, attribute = path.rpartition(":")
    is_file = module_name.endswith(".py")
    module = _load_file(module_name) if is_file else importlib.import_module(module_name)
    return getattr(module, attribute)


@lru_cache(maxsize=32)
def _load_file(file: str) -> ModuleType:
    """Import a file by its path, once per process."""
    path = Path(file).expanduser()
    spec = importlib.util.spec_from_file_location(f"part_from_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
