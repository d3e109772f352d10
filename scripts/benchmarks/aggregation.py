"""Aggregation, measured against one pass over the bytes and against Flower's own."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.server.client_proxy import ClientProxy

from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import build_model
from scripts.benchmarks.table import Row, interleave, median_ratio, spread
from strategies.aggregation.flower_arithmetic import aggregate_inplace
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.core.client_update import Arrays, ClientUpdate, check_update
from strategies.core.npy import decode_arrays
from strategies.native import sum_kernels

_DISTINCT = 64  # updates beyond this share the bytes of earlier ones: 110 MB of SimpleCNN


@dataclass(frozen=True)
class Size:
    """A round to aggregate: so many updates of arrays of these shapes."""

    name: str
    updates: int
    shapes: Sequence[tuple[int, ...]]


def sizes(quick: bool) -> list[Size]:
    """Return the rounds to measure."""
    cnn = [array.shape for array in get_weights(build_model("simple-cnn", 0))]
    if quick:
        return [Size("3 SimpleCNN", 3, cnn)]
    return [
        Size("10 SimpleCNN", 10, cnn),
        Size("1,000 SimpleCNN", 1000, cnn),
        Size("10 of 25M parameters", 10, [(2500, 1000)] * 10),
    ]


def replies(size: Size) -> list[FitRes]:
    """Make the replies of a round, as they come off the wire."""
    generator = np.random.default_rng(0)
    parameters = [
        ndarrays_to_parameters(
            [generator.standard_normal(shape, dtype=np.float32) for shape in size.shapes]
        )
        for _ in range(min(size.updates, _DISTINCT))
    ]
    status = Status(Code.OK, "")
    return [
        FitRes(status, parameters[i % len(parameters)], 600 + i, {}) for i in range(size.updates)
    ]


def _updates(results: Sequence[FitRes]) -> list[ClientUpdate]:
    return [
        ClientUpdate(str(i), decode_arrays(result.parameters.tensors), result.num_examples)
        for i, result in enumerate(results)
    ]


def product(results: Sequence[FitRes]) -> Arrays:
    """Decode, check and add up the replies as the strategy does, one after the other."""
    total = weighted_mean.begin()
    like: Arrays | None = None
    for i, result in enumerate(results):
        delta = decode_arrays(result.parameters.tensors)
        update = ClientUpdate(str(i), delta, result.num_examples)
        like = like or delta
        check_update(update, like)
        total.add(update)
    return total.result()


def measure_aggregation(size: Size, repeats: int) -> list[Row]:
    """Measure the aggregation of one round."""
    sum_kernels.load()
    results = replies(size)
    updates = _updates(results)
    arrays = [array for update in updates for array in update.delta]
    buffers = [np.empty_like(array) for array in updates[0].delta]
    pairs = [(cast(ClientProxy, None), result) for result in results]

    def read() -> None:
        for array in arrays:
            array.max()

    def copy() -> None:
        for update in updates:
            for buffer, array in zip(buffers, update.delta, strict=True):
                np.copyto(buffer, array)

    seconds = interleave(
        {
            "one pass: read": read,
            "one pass: copy into one model": copy,
            "product: weighted mean": lambda: weighted_mean(updates),
            "product: decode, check, fold on arrival": lambda: product(results),
            "flwr aggregate_inplace": lambda: aggregate_inplace(pairs),
        },
        repeats,
    )
    gigabytes = sum(array.nbytes for array in arrays) / 1e9
    return _rows(f"aggregation of {size.name}", seconds, gigabytes)


def _rows(table: str, seconds: Mapping[str, Sequence[float]], gigabytes: float) -> list[Row]:
    return [
        Row(
            table,
            name,
            median := statistics.median(times),
            spread(times),
            median_ratio(times, seconds["one pass: read"]),
            "x one read",
            gigabytes / median,
            "GB/s",
        )
        for name, times in seconds.items()
    ]
