"""What strategies rely on: the bytes of arrays, and functions that Flower does not export."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.common import (
    Code,
    FitRes,
    Status,
    ndarrays_to_parameters,
)

from tests.support.flower.reliance import Reliance, found

FINE = Status(Code.OK, "")


def _npy() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tensor,) = ndarrays_to_parameters([array]).tensors
    file = io.BytesIO(tensor)
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == ((2, 3), False, np.dtype("<f4"))
    assert file.read() == array.tobytes()


def _arithmetic(name: str, expected: float, *arguments: Any) -> Callable[[], None]:
    def check() -> None:
        results = [([np.array([value])], 1) for value in (1.0, 2.0, 3.0, 4.0, 100.0)]
        aggregate = found(f"flwr.server.strategy.aggregate:{name}")
        (value,) = aggregate(results, *arguments)
        np.testing.assert_allclose(value, [expected])

    return check


def _aggregate_inplace() -> None:
    two = [ndarrays_to_parameters([np.array([value])]) for value in (1.0, 4.0)]
    results = [(None, FitRes(FINE, each, 1 + i, {})) for i, each in enumerate(two)]
    (value,) = found("flwr.server.strategy.aggregate:aggregate_inplace")(results)
    np.testing.assert_allclose(value, [3.0])


ARITHMETIC = [
    Reliance("the bytes of flwr.common.Parameters", "read arrays without a copy", _npy),
    Reliance(
        "flwr.server.strategy.aggregate.aggregate_krum",
        "aggregate by Krum and Multi-Krum",
        _arithmetic("aggregate_krum", 2.0, 1, 0),
        ("aggregate_krum",),
    ),
    Reliance(
        "flwr.server.strategy.aggregate.aggregate_median",
        "aggregate by the coordinate-wise median",
        _arithmetic("aggregate_median", 3.0),
        ("aggregate_median",),
    ),
    Reliance(
        "flwr.server.strategy.aggregate.aggregate_trimmed_avg",
        "aggregate by the trimmed mean",
        _arithmetic("aggregate_trimmed_avg", 3.0, 0.2),
        ("aggregate_trimmed_avg",),
    ),
    Reliance(
        "flwr.server.strategy.aggregate.aggregate_inplace",
        "measure its own sum against Flower's",
        _aggregate_inplace,
        ("aggregate_inplace",),
    ),
]
