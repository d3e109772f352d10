"""Parts by name: what the run config says becomes the object that does the work.

A part is written as a name with options, `"trimmed-mean(trim_fraction=0.2)"`. The names are
those of `PARTS`, which are short for import paths; a part of your own is named by its import
path, `"my_package.my_module:MyPart(strength=2)"`, or by its file, `"/home/me/my_parts.py:MyPart"`.
A class, or a function that makes a part, is called with the options. Where a part is a function
itself (an aggregator, a schedule), the options become its keyword arguments.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

Option = bool | int | float | str

_FLOWER = "flwr.server.strategy:"

_SCHEDULES = {
    "constant": "strategies.optimization.lr_schedules:constant",
    "exponential": "strategies.optimization.lr_schedules:Exponential",
    "step": "strategies.optimization.lr_schedules:Step",
    "cosine": "strategies.optimization.lr_schedules:Cosine",
    "warm-up": "strategies.optimization.lr_schedules:WarmUp",
}

PARTS: Mapping[str, Mapping[str, str]] = {
    "strategy": {
        "delta-fedavg": "strategies.delta_fedavg:DeltaFedAvg",
        "FedAvg": f"{_FLOWER}FedAvg",
        "FedAvgM": f"{_FLOWER}FedAvgM",
        "FedAdam": f"{_FLOWER}FedAdam",
        "FedAdagrad": f"{_FLOWER}FedAdagrad",
        "FedYogi": f"{_FLOWER}FedYogi",
        "FedMedian": f"{_FLOWER}FedMedian",
        "FedTrimmedAvg": f"{_FLOWER}FedTrimmedAvg",
        "Krum": f"{_FLOWER}Krum",
        "Bulyan": "strategies.flowers_bulyan:bulyan",
        "QFedAvg": f"{_FLOWER}QFedAvg",
    },
    "aggregator": {
        "weighted-mean": "strategies.aggregation.weighted_mean:weighted_mean",
        "fednova": "strategies.aggregation.fednova:NormalisedMean",
        "median": "strategies.aggregation.robust:coordinate_median",
        "trimmed-mean": "strategies.aggregation.robust:TrimmedMean",
        "krum": "strategies.aggregation.krum:Krum",
        "multi-krum": "strategies.aggregation.krum:MultiKrum",
        "geometric-median": "strategies.aggregation.geometric_median:GeometricMedian",
        "norm-clipped-mean": "strategies.aggregation.robust:NormClippedMean",
    },
    "server-optimizer": {
        "sgd": "strategies.optimization.server_optimizers:sgd",
        "adam": "strategies.optimization.server_optimizers:adam",
        "adagrad": "strategies.optimization.server_optimizers:adagrad",
        "yogi": "strategies.optimization.server_optimizers:yogi",
        "torch-adam": "strategies.optimization.server_optimizers:torch_adam",
        "torch-adagrad": "strategies.optimization.server_optimizers:torch_adagrad",
    },
    "server-lr-schedule": _SCHEDULES,
    "lr-schedule": _SCHEDULES,
    "codec": {
        "identity": "strategies.compression.codec:Identity",
        "float16": "strategies.compression.codec:Float16",
        "bfloat16": "strategies.compression.codec:Bfloat16",
        "quantise": "strategies.compression.codec:Quantise",
        "top-k": "strategies.compression.top_k:TopK",
    },
    "adversary": {
        "sign-flip": "strategies.attacks:SignFlip",
        "scaled-noise": "strategies.attacks:ScaledNoise",
        "label-flip": "strategies.attacks:LabelFlip",
        "inflated-count": "strategies.attacks:InflatedCount",
        "a-little-is-enough": "strategies.attacks:ALittleIsEnough",
    },
}
"""By kind (the run-config key) and name: the import path."""

_METHODS: Mapping[str, tuple[str, ...]] = {
    "strategy": ("configure_fit", "aggregate_fit"),
    "aggregator": ("__call__",),
    "server-optimizer": ("step",),
    "server-lr-schedule": ("__call__",),
    "lr-schedule": ("__call__",),
    "codec": ("encode", "decode"),
    "adversary": ("poison_labels", "poison_update"),
}

_SPEC = re.compile(r"\s*(?P<name>[^()]+?)\s*(?:\((?P<options>.*)\))?\s*", re.DOTALL)


class PartError(ValueError):
    """A part that cannot be built from what the run config says; the message is for the user."""


@dataclass(frozen=True)
class PartSpec:
    """What a run config says of a part.

    Attributes:
        kind: The run-config key.
        name: A name of `PARTS`, or an import path.
        options: Its options, by name.
    """

    kind: str
    name: str
    options: Mapping[str, Option]

    @classmethod
    def parse(cls, kind: str, text: str) -> "PartSpec":
        """Read `name` or `name(option=value, ...)`.

        Raises:
            PartError: If it is written in another way.
        """
        found = _SPEC.fullmatch(text)
        if found is None:
            raise PartError(
                f'{kind} = "{text}" is not a name with options; write for instance '
                f'{kind} = "{_example(kind)}"'
            )
        return cls(kind, found["name"], _parse_options(kind, text, found["options"] or ""))


def build_part(kind: str, text: str, **given: Any) -> Any:  # noqa: ANN401 - each kind has its own
    """Build the part that a run config names.

    Args:
        kind: A key of `PARTS`.
        text: A name with options; see the module.
        **given: Further arguments for a class, which the run config cannot give.

    Raises:
        PartError: If there is no such part, it does not take these options, or it is no
            part of this kind.
    """
    spec = PartSpec.parse(kind, text)
    part = _load(spec)
    is_function = "__call__" in _METHODS[kind] and not isinstance(part, type)
    if is_function and callable(part):
        _check_options(spec, part, first=1)
        part = partial(part, **spec.options) if spec.options else part
    elif callable(part):
        _check_options(spec, part, first=0)
        part = _call(spec, part, given)
    missing = [method for method in _METHODS[kind] if not hasattr(part, method)]
    if missing or isinstance(part, ModuleType):
        raise PartError(
            f'{kind} = "{text}": {spec.name} is no {kind}, it lacks {", ".join(missing)}'
        )
    return part


def known_name(kind: str, text: str) -> str | None:
    """Return the project's own name for the part, or `None` if it is the user's."""
    name = PartSpec.parse(kind, text).name
    return name if name in PARTS[kind] else None


def _example(kind: str) -> str:
    return next(iter(PARTS[kind]))


def _parse_options(kind: str, text: str, options: str) -> dict[str, Option]:
    try:
        call = ast.parse(f"part({options})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("there is more than one pair of parentheses")
        if call.args:
            raise ValueError("options are given by name")
        parsed = {}
        for keyword in call.keywords:
            value = ast.literal_eval(keyword.value)
            if keyword.arg is None or not isinstance(value, Option):
                raise ValueError(f"{keyword.arg} is not a number, a text, True or False")
            parsed[keyword.arg] = value
    except (SyntaxError, ValueError) as error:
        raise PartError(
            f'{kind} = "{text}": its options cannot be read ({error}); they are written like '
            f"name(first=1, second='text', third=True)"
        ) from None
    return parsed


def _load(spec: PartSpec) -> Any:  # noqa: ANN401
    path = PARTS[spec.kind].get(spec.name, spec.name)
    module_name, colon, attribute = path.rpartition(":")
    if not colon:
        near = difflib.get_close_matches(spec.name, PARTS[spec.kind], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise PartError(
            f'{spec.kind} = "{spec.name}" is not known; {hint}the names are '
            f"{', '.join(PARTS[spec.kind])}, and a part of your own is named by its import path, "
            '"my_package.my_module:MyPart", or its file, "/home/me/my_parts.py:MyPart"'
        )
    try:
        is_file = module_name.endswith(".py")
        module = _load_file(module_name) if is_file else importlib.import_module(module_name)
        return getattr(module, attribute)
    except Exception as error:  # whatever importing a user's file may raise
        raise PartError(
            f'{spec.kind} = "{spec.name}" cannot be imported: {type(error).__name__}: {error}'
        ) from error


@lru_cache(maxsize=32)
def _load_file(file: str) -> ModuleType:
    """Import a file by its path, once per process."""
    path = Path(file).expanduser()
    if not path.is_absolute():
        raise ValueError(f"{file} must be an absolute path, Flower runs the app elsewhere")
    spec = importlib.util.spec_from_file_location(f"part_from_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _call(spec: PartSpec, make: Callable[..., Any], given: Mapping[str, Any]) -> Any:  # noqa: ANN401
    if twice := sorted(set(spec.options) & set(given)):
        raise PartError(f'{spec.kind} = "{spec.name}": {twice[0]} has a run-config key of its own')
    try:
        return make(**given, **spec.options)
    except (TypeError, ValueError) as error:
        raise PartError(f'{spec.kind} = "{spec.name}": {error}') from error


def _check_options(spec: PartSpec, part: Callable[..., Any], first: int) -> None:
    """Refuse options that are no parameters of `part`, from its `first` one on."""
    parameters = inspect.signature(part).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for option in spec.options:
        if option not in names[first:]:
            takes = f"it takes {', '.join(names[first:])}" if names[first:] else "it takes none"
            raise PartError(f'{spec.kind} = "{spec.name}" has no option {option}; {takes}')
