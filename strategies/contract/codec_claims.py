"""What codecs claim of themselves, and what error feedback needs of them: laws about errors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.compression.codec import Codec
from strategies.contract.comparisons import demand, demand_same_bits, example_arrays
from strategies.contract.laws import BrokenLawError
from strategies.core.client_update import Arrays

_REPEATS = 1000
_DEVIATIONS = 6.0  # of a mean from its expectation: one in 10^9, for normal errors
_FAR_OUT = 10.0
_ROUNDS, _DRAWS = 20, 6

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def through(codec: Codec, delta: Arrays, seed: int = 0) -> Arrays:
    """Return what comes out of a codec for a delta."""
    return codec.decode(codec.encode(delta, np.random.default_rng(seed)), delta)


def keeps_its_claims(codec: Codec, delta: Arrays) -> None:
    """`lossless` means to the bit; `unbiased` means that the mean of many is the delta."""
    if codec.lossless:
        demand_same_bits(through(codec, delta), delta, "it says it is lossless, and is not")
    if codec.unbiased:
        decoded = np.stack([_flat(through(codec, delta, seed)) for seed in range(_REPEATS)])
        exact = _flat(delta)
        off = _off_by_more_than_chance(decoded, exact)
        demand(not off.any(), f"it says it is unbiased, {np.count_nonzero(off)} values are not")
        _demand_unbiased_sums(decoded, exact)


def _demand_unbiased_sums(decoded: Matrix, exact: Vector) -> None:
    """Demand so of sums over many values, of which chance leaves little.

    A codec that seldom sends a value sends too few of each to tell; of all together it does not.
    """
    order = np.argsort(np.abs(exact))
    quarters = [np.isin(order, part) for part in np.array_split(order, 4)]
    masks = np.stack([np.ones(exact.size, bool), exact > 0, exact < 0, *quarters])
    for power in (0, 1):  # every value alike, and by size
        weights = masks * np.sign(exact) * np.abs(exact) ** power
        sizes = weights @ exact
        sums = (decoded @ weights.T)[:, sizes > 0] / sizes[sizes > 0]
        for mean in sums.mean(axis=0)[_off_by_more_than_chance(sums, np.ones(sums.shape[1]))]:
            raise BrokenLawError(
                f"it says it is unbiased, and many values together come out {mean:.3g} times as "
                "large as they are, on average"
            )


def _off_by_more_than_chance(drawn: Matrix, exact: Vector) -> NDArray[np.bool_]:
    """Tell which means of draws, one per row, are not what they should be.

    By Bernstein's inequality: some deviations of the mean, more where a few draws are far out,
    and float32 round-off.
    """
    far = _FAR_OUT * np.ptp(drawn, axis=0).max(initial=0) / len(drawn)
    round_off = 1e-6 * np.abs(exact).max(initial=0)
    allowed = _DEVIATIONS * drawn.std(axis=0) / len(drawn) ** 0.5 + far + round_off
    return np.asarray(np.abs(drawn.mean(axis=0) - exact) > allowed)


def keeps_a_share(codec: Codec, delta: Arrays) -> None:
    """The error is smaller than the delta: what error feedback needs to stay bounded."""
    decoded = through(codec, delta)
    error = sum(float(np.sum((d - c) ** 2)) for d, c in zip(delta, decoded, strict=True))
    size = sum(float(np.sum(d**2)) for d in delta)
    demand(error < size, f"the error is {_root(error, size):.3g} times as large as the delta")


def keeps_a_share_with_feedback(codec: Codec, deltas: Sequence[Arrays]) -> None:
    """What is dropped and added to the next delta does not pile up, round by round.

    Error feedback needs `E|x - C(x)|^2 <= (1 - share) * |x|^2` of every sum `x` of a delta and what
    was dropped before (Karimireddy et al., ICML 2019, arXiv:1901.09847); `x` moves to where the
    codec does worst.
    """
    if codec.lossless:
        return
    dropped = [np.zeros_like(array) for array in deltas[0]]
    for server_round, delta in enumerate(deltas, 1):
        x = [np.asarray(d + e) for d, e in zip(delta, dropped, strict=True)]
        size = float(np.sum(_flat(x) ** 2))
        seeds = range(server_round * _DRAWS, (server_round + 1) * _DRAWS)
        decoded = [through(codec, x, seed) for seed in seeds]
        errors = np.array([np.sum((_flat(x) - _flat(c)) ** 2) for c in decoded])
        # A mean that may be below the size by chance is given the benefit of the doubt.
        least = errors.mean() - 3 * errors.std() / len(errors) ** 0.5
        demand(
            size == 0 or least < size,
            f"in round {server_round} of error feedback the error is "
            f"{_root(errors.mean(), size):.3g} times as large as what was to be sent. With "
            "error-feedback = true, the default, what is dropped would grow from round to round: "
            "let it send less, for instance an unbiased codec divided by 1 + its variance, or run "
            "it with error-feedback = false",
        )
        dropped = [np.asarray(a - c) for a, c in zip(x, decoded[0], strict=True)]


def example_deltas(generator: np.random.Generator) -> list[list[Arrays]]:
    """Draw what participants send over rounds: likely deltas, and those hard to round."""

    def rounds(change: Callable[[NDArray[Any]], NDArray[Any]]) -> list[Arrays]:
        common = example_arrays(generator)
        return [
            [np.asarray(change(a + b), np.float32) for a, b in zip(common, own, strict=True)]
            for own in (example_arrays(generator) for _ in range(_ROUNDS))
        ]

    return [
        rounds(lambda values: values),
        rounds(lambda values: values**5),  # a few are large
        rounds(np.sign),  # all are alike
        rounds(lambda values: np.where(values > 0.3, values, 0)),  # most are 0
        rounds(lambda values: np.where(np.abs(values) == np.abs(values).max(), 1, 0.04)),
    ]


def _flat(arrays: Arrays) -> Vector:
    return np.concatenate([np.zeros(0), *(a.ravel().astype(np.float64) for a in arrays)])


def _root(error: float, size: float) -> float:
    """Return the root of their ratio; infinite where there is an error of nothing."""
    return (error / size) ** 0.5 if size else float("inf")
