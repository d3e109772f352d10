"""Parts by name: what the run config says becomes the object that does the work.

A part is written as a name with options, `"trimmed-mean(trim_fraction=0.2)"`. The names are
those of its kind in `strategies.part_kinds`, which are short for import paths; a part of your own
is named by its import path, `"my_package.my_module:MyPart(strength=2)"`, or by its file,
`"/home/me/my_parts.py:MyPart"`. A class, or a function that makes a part, is called with the
options. Where a part is a function itself (an aggregator, a schedule), the options become its
keyword arguments.

What needs no part to be imported is checked first, by `check_name`: how the text is written, and
that the name is known or has the form of a path.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from strategies.part_imports import import_part
from strategies.part_kinds import KINDS, Entry, Kind, Option, suggestion
from strategies.part_specs import PartError, PartSpec, option_fault

Registered = TypeVar("Registered", bound=Callable[..., Any])


def register(kind: str, name: str) -> Callable[[Registered], Registered]:
    """Return a decorator that gives a class or a function a name in the run config.

    Raises:
        ValueError: If the name is taken.
    """
    names, words = KINDS[kind].names, KINDS[kind].words

    def add(part: Registered) -> Registered:
        if name in names or name in words:
            raise ValueError(f"the {kind} {name!r} is registered already")
        names[name] = part
        return part

    return add


def check_name(kind: str, text: str) -> None:
    """Refuse what names no part, without importing the part that it names.

    Raises:
        PartError: If the text is not a name with options, or the name is neither known nor an
            import path.
    """
    if text not in KINDS[kind].words:
        _entry(PartSpec.parse(kind, text))


def keys_of_options(kind: str, text: str) -> dict[str, Option]:
    """Return the run-config keys that a part's options stand for, with what the options say.

    A word that is no part has no options.
    """
    if text in KINDS[kind].words:
        return {}
    spec = PartSpec.parse(kind, text)
    keys = _entry(spec).keys
    return {keys[option]: value for option, value in spec.options.items() if option in keys}


def keys_taken_by(kind: str, text: str) -> frozenset[str]:
    """Return the run-config keys whose values a part takes for options; none for the user's."""
    return frozenset(_entry(PartSpec.parse(kind, text)).keys.values())


def known_name(kind: str, text: str) -> str | None:
    """Return the project's own name for the part, or `None` if it is the user's."""
    name = PartSpec.parse(kind, text).name
    return name if KINDS[kind].knows(name) else None


def is_path(kind: str, text: str) -> bool:
    """Tell whether a part is named by its path, so that to build it runs code of the user's."""
    check_name(kind, text)
    return text not in KINDS[kind].words and known_name(kind, text) is None


def facts_of(kind: str, text: str) -> frozenset[str]:
    """Return the facts of `strategies.part_kinds` that hold for a part; none for the user's."""
    name = known_name(kind, text)
    return frozenset() if name is None else KINDS[kind].entry(name).facts


def open_options(kind: str, text: str) -> frozenset[str]:
    """Return the parameters of a part that what the run config says of it leaves open."""
    spec = PartSpec.parse(kind, text)
    part = _load(spec, _entry(spec))
    return frozenset(inspect.signature(part).parameters) - set(spec.options)


def find_part(
    kind: str,
    text: str,
    settings: Mapping[str, Any] | None = None,
    /,
    **given: Any,  # noqa: ANN401 - each kind has its own
) -> Callable[[], Any]:
    """Import the part that a run config names, and return what builds it.

    Args:
        kind: A run-config key of `KINDS`.
        text: A name with options; see the module.
        settings: Values of the run config by key, for options that have a key of their own.
        **given: Further arguments for a class, which the run config cannot give.

    Raises:
        PartError: If there is no such part, it does not take these options, or it is certain
            that it would be no part of this kind. So may what is returned.
    """
    described, spec = KINDS[kind], PartSpec.parse(kind, text)
    entry = _entry(spec)
    part = _load(spec, entry)
    configured = {o: settings[key] for o, key in entry.keys.items() if settings and key in settings}
    options = {**configured, **spec.options}
    if not callable(part):
        return lambda: _checked(described, spec, part)
    if described.called_with and not isinstance(part, type):
        _check_options(spec, part, first=len(described.called_with))
        made = partial(part, **options) if options else part
        return lambda: _checked(described, spec, made)
    if isinstance(part, type) and not hasattr(part, "__getattr__"):
        _checked(described, spec, part)  # what a class lacks, its objects mostly lack: do not call
    _check_options(spec, part, first=0)
    return lambda: _checked(described, spec, _call(spec, part, options, given))


def build_part(
    kind: str,
    text: str,
    settings: Mapping[str, Any] | None = None,
    /,
    **given: Any,  # noqa: ANN401 - each kind has its own
) -> Any:  # noqa: ANN401
    """Build the part that a run config names; see `find_part`.

    Raises:
        PartError: If there is no such part, it does not take these options, or it is no
            part of this kind.
    """
    return find_part(kind, text, settings, **given)()


def _entry(spec: PartSpec) -> Entry:
    """Return what a spec's name stands for: an entry of its kind, or the user's path."""
    kind = KINDS[spec.kind]
    if spec.name not in kind.names and ":" not in spec.name and kind.registered_in:
        importlib.import_module(kind.registered_in)
    if kind.knows(spec.name):
        return kind.entry(spec.name)
    module, _, attribute = spec.name.rpartition(":")
    if module and attribute.isidentifier():
        if module.endswith(".py") and not module.startswith(("/", "~")):
            why = f"{module} must be an absolute path, Flower runs the app elsewhere"
            raise PartError(f'{spec.kind} = "{spec.name}": {why}')
        return Entry(spec.name)
    if spec.name in kind.words:
        raise PartError(f'{spec.kind} = "{spec.name}" has a meaning of its own, and is no part')
    known = [*kind.words, *kind.names, *([kind.catalogue.what] if kind.catalogue else [])]
    raise PartError(
        f'{spec.kind} = "{spec.name}" is not known; {suggestion(spec.kind, spec.name)}'
        f"the names are {', '.join(known)}, "
        "and one of your own is named by its import path, "
        '"my_package.my_module:MyPart", or its file, "/home/me/my_parts.py:MyPart"'
    )


def _load(spec: PartSpec, entry: Entry) -> Any:  # noqa: ANN401
    if not isinstance(entry.target, str):
        return entry.target
    try:
        return import_part(entry.target)
    except Exception as error:  # whatever importing a user's file may raise
        raise PartError(
            f'{spec.kind} = "{spec.name}" cannot be imported: {type(error).__name__}: {error}'
        ) from error


def _checked(kind: Kind, spec: PartSpec, part: Any) -> Any:  # noqa: ANN401
    """Return the part, or the class of it, if it has what its kind offers."""
    missing = [name for name in kind.offers if not hasattr(part, name)]
    if missing or isinstance(part, ModuleType):
        text = f"{spec.name} is no {kind.key}, it lacks {', '.join(missing)}"
        raise PartError(f'{kind.key} = "{spec.name}": {text}')
    return part


def _call(
    spec: PartSpec,
    make: Callable[..., Any],
    options: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Any:  # noqa: ANN401
    if twice := sorted(set(options) & set(given)):
        raise PartError(f'{spec.kind} = "{spec.name}": {twice[0]} has a run-config key of its own')
    try:
        return make(**given, **options)
    except (TypeError, ValueError) as error:
        raise PartError(f'{spec.kind} = "{spec.name}": {error}') from error
    except (LookupError, AttributeError, ArithmeticError, OSError, RuntimeError) as error:
        told = f"it fails when it is built, by {type(error).__name__}: {error}"
        raise PartError(f'{spec.kind} = "{spec.name}": {told}') from error


def _check_options(spec: PartSpec, part: Callable[..., Any], first: int) -> None:
    """Refuse options that are no parameters of `part`, from its `first` one on."""
    if fault := option_fault(part, spec.options, first):
        raise PartError(f'{spec.kind} = "{spec.name}"{fault}')
