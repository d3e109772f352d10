"""The kinds of parts that a run config names, and the names that come with this project.

A kind is declared once: what a part of it must offer, and its names. A name stands for an import
path, so that nothing is imported before it is used. The kinds here are those of the federated
algorithm; an application declares further ones by `declare_kind`. `strategies.registry` builds
parts from what is declared.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from strategies.part_imports import Catalogue

Option = bool | int | float | str
"""What a run config can give for an option of a part."""

WEIGHTED_MEAN = "an aggregator that is the plain weighted mean of the deltas"
STATELESS = "a strategy that remembers nothing between rounds"
UNCODED = "a codec that sends the delta as it is"
BY_POSITION = (
    "a partitioner that looks at no label, and divides a test set as it does a training set"
)
BY_LABEL = "a partitioner that divides by the examples' classes, and needs some"
"""Facts about parts, for whoever has to know one without building the part."""


@dataclass(frozen=True)
class Entry:
    """What a name stands for.

    Attributes:
        target: The import path, "module:attribute", or what was registered itself.
        facts: Which of the facts above hold.
        keys: Options that have a run-config key, and that key; its value is taken where the
            option is not given.
    """

    target: str | Callable[..., Any]
    facts: frozenset[str] = frozenset()
    keys: Mapping[str, str] = field(default_factory=dict)


Target = str | Callable[..., Any] | Entry


@dataclass(frozen=True)
class Kind:
    """One kind of parts.

    Attributes:
        key: Its run-config key.
        offers: The attributes that a part must have.
        names: What each name stands for, in the order in which they are listed; `register` adds.
        called_with: The parameters of a part that is called, which a run uses it with. Where
            there are any, a function is the part itself; else it is called to make the part.
        words: Values of the key that are no parts: what they mean is not the registry's affair.
        registered_in: A module that registers further names when it is imported.
        laws: The module whose `LAWS` a part has to obey, if it has a contract.
        catalogue: Further names, looked up after `names`; they are suggested, and not listed.
    """

    key: str
    offers: tuple[str, ...]
    names: dict[str, Target]
    called_with: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    registered_in: str | None = None
    laws: str | None = None
    catalogue: Catalogue | None = None

    def entry(self, name: str) -> Entry:
        """Return what a name stands for; `KeyError` if there is no such name."""
        target = self.names[name] if name in self.names else self.further[name]
        return target if isinstance(target, Entry) else Entry(target)

    def knows(self, name: str) -> bool:
        """Tell whether a name stands for something."""
        return name in self.names or (":" not in name and name in self.further)

    @property
    def further(self) -> Mapping[str, Target]:
        """The names of the catalogue, and what they stand for."""
        return {} if self.catalogue is None else self.catalogue.parts


KINDS: dict[str, Kind] = {}
"""By run-config key."""


def suggestion(key: str, name: str) -> str:
    """Return what somebody may have meant by a name that a kind does not have, or "".

    Upper case and the sign between words count for nothing: `fedavg` is nearest to `FedAvg`.

    Args:
        key: The kind's.
        name: What was written.
    """
    kind = KINDS[key]
    all_names = [*kind.words, *kind.names, *kind.further]
    known = {_folded(other): other for other in reversed(all_names)}
    for other in KINDS.values():
        same = [one for one in other.names if _folded(one) == _folded(name)]
        if same and _folded(name) not in known:
            return f"{same[0]} is a {other.key}; "
    return did_you_mean(_folded(name), known)


def did_you_mean(written: str, known: Mapping[str, str]) -> str:
    """Return "did you mean X? " for the nearest of the keys of `known`, or ""; X is its value."""
    near = difflib.get_close_matches(written, known, n=1)
    return f"did you mean {known[near[0]]}? " if near else ""


def _folded(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")


def declare_kind(kind: Kind) -> Kind:
    """Make a kind known under its run-config key, and return it.

    Raises:
        ValueError: If there is one already.
    """
    if kind.key in KINDS:
        raise ValueError(f"the kind {kind.key} is declared already")
    KINDS[kind.key] = kind
    return kind


declare_kind(
    Kind(
        "aggregator",
        offers=("__call__",),
        laws="strategies.contract.aggregators",
        called_with=("updates",),
        names={
            "weighted-mean": Entry(
                "strategies.aggregation.weighted_mean:weighted_mean", frozenset({WEIGHTED_MEAN})
            ),
            "fednova": "strategies.aggregation.fednova:NormalisedMean",
            "median": "strategies.aggregation.robust:coordinate_median",
            "trimmed-mean": "strategies.aggregation.robust:TrimmedMean",
            "krum": "strategies.aggregation.krum:Krum",
            "multi-krum": "strategies.aggregation.krum:MultiKrum",
            "geometric-median": "strategies.aggregation.geometric_median:GeometricMedian",
            "norm-clipped-mean": "strategies.aggregation.robust:NormClippedMean",
        },
    )
)

declare_kind(
    Kind(
        "server-optimizer",
        offers=("step",),
        laws="strategies.contract.server_optimizers",
        names={
            "sgd": "strategies.optimization.server_optimizers:sgd",
            "adam": "strategies.optimization.server_optimizers:adam",
            "adagrad": "strategies.optimization.server_optimizers:adagrad",
            "yogi": "strategies.optimization.server_optimizers:yogi",
            "torch-adam": "strategies.optimization.server_optimizers:torch_adam",
            "torch-adagrad": "strategies.optimization.server_optimizers:torch_adagrad",
        },
    )
)

_SCHEDULES: dict[str, Target] = {
    "constant": "strategies.optimization.lr_schedules:constant",
    "exponential": "strategies.optimization.lr_schedules:Exponential",
    "step": "strategies.optimization.lr_schedules:Step",
    "cosine": "strategies.optimization.lr_schedules:Cosine",
    "warm-up": "strategies.optimization.lr_schedules:WarmUp",
}
for _key in ("server-lr-schedule", "lr-schedule"):
    declare_kind(
        Kind(
            _key,
            offers=("__call__",),
            called_with=("server_round",),
            laws="strategies.contract.schedules",
            names=_SCHEDULES,
        )
    )

declare_kind(
    Kind(
        "codec",
        offers=("encode", "decode"),
        laws="strategies.contract.codecs",
        names={
            "identity": Entry("strategies.compression.codec:Identity", frozenset({UNCODED})),
            "float16": "strategies.compression.codec:Float16",
            "bfloat16": "strategies.compression.codec:Bfloat16",
            "quantise": "strategies.compression.codec:Quantise",
            "top-k": "strategies.compression.top_k:TopK",
        },
    )
)

declare_kind(
    Kind(
        "adversary",
        offers=("poison_labels", "poison_update"),
        laws="strategies.contract.adversaries",
        words=("none",),
        names={
            "sign-flip": "strategies.attacks:SignFlip",
            "scaled-noise": "strategies.attacks:ScaledNoise",
            "label-flip": "strategies.attacks:LabelFlip",
            "inflated-count": "strategies.attacks:InflatedCount",
            "a-little-is-enough": "strategies.attacks:ALittleIsEnough",
        },
    )
)

_FLOWER = "flwr.server.strategy:"
_REMEMBERS_NOTHING = frozenset({STATELESS})

declare_kind(
    Kind(
        "strategy",
        offers=("configure_fit", "aggregate_fit"),
        names={
            "delta-fedavg": "strategies.delta_fedavg:DeltaFedAvg",
            "FedAvg": Entry(f"{_FLOWER}FedAvg", _REMEMBERS_NOTHING),
            "FedAvgM": f"{_FLOWER}FedAvgM",
            "FedAdam": f"{_FLOWER}FedAdam",
            "FedAdagrad": f"{_FLOWER}FedAdagrad",
            "FedYogi": f"{_FLOWER}FedYogi",
            "FedMedian": Entry(f"{_FLOWER}FedMedian", _REMEMBERS_NOTHING),
            "FedTrimmedAvg": Entry(f"{_FLOWER}FedTrimmedAvg", _REMEMBERS_NOTHING),
            "Krum": Entry(f"{_FLOWER}Krum", _REMEMBERS_NOTHING),
            "Bulyan": Entry("strategies.flower_strategies:bulyan", _REMEMBERS_NOTHING),
            "QFedAvg": f"{_FLOWER}QFedAvg",
        },
    )
)
