"""What is done with updates in C, where there is a compiler: sums, and the look for NaN.

NumPy takes three passes over float64 blocks per update. Compiled, the sum of several updates
stays in registers, and the time is that of reading them; and there is one call for all arrays
of a model, however small they are. The library is built in the background; until then, and
where there is no compiler, `strategies.aggregation.weighted_mean` and `strategies.core.finite`
use NumPy, with the same results.
"""

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cffi
import numpy as np
from numpy.typing import NDArray

from strategies.native.compiler import load_library

_SOURCE = r"""
#include <stdint.h>

enum {
    LANES = 4,    /* values in a vector */
    VECTORS = 16, /* vectors that are summed at a time, in registers */
    STRIP = VECTORS * LANES
};
typedef double doubles __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

/* sum[j] += that of counts[u] * values[u][start + j], in the order of u, for n <= STRIP of j. */
static void add(double *sum, int64_t n, int64_t start,
                const float *const *values, const double *counts, int64_t k)
{
    if (n < STRIP) {
        for (int64_t j = 0; j < n; j++)
            for (int64_t u = 0; u < k; u++) sum[j] += counts[u] * values[u][start + j];
        return;
    }
    doubles *kept = (doubles *)sum, x[VECTORS];
    for (int v = 0; v < VECTORS; v++) x[v] = kept[v];
    for (int64_t u = 0; u < k; u++) {
        const float *f = values[u] + start;
        for (int v = 0; v < VECTORS; v++, f += LANES)
            x[v] += counts[u] * (doubles){f[0], f[1], f[2], f[3]};
    }
    for (int v = 0; v < VECTORS; v++) kept[v] = x[v];
}

/* Per array, before[i], if there is any, plus the weighted sum: into totals[i], which may be
   before[i]; or, where means is given, that / divisor into means[i].
   values holds the k updates of the first array, then those of the second, and so on. */
void weighted_sum(int64_t arrays, const int64_t *sizes, int64_t k, const float *const *values,
                  const double *counts, const double *const *before, double *const *totals,
                  float *const *means, double divisor)
{
    double strip[STRIP];
    for (int64_t i = 0; i < arrays; i++, values += k)
        for (int64_t start = 0; start < sizes[i]; start += STRIP) {
            const int64_t n = sizes[i] - start < STRIP ? sizes[i] - start : STRIP;
            const double *old = before ? before[i] + start : 0;
            double *sum = means ? strip : totals[i] + start;
            if (sum != old)
                for (int64_t j = 0; j < n; j++) sum[j] = old ? old[j] : 0;
            add(sum, n, start, values, counts, k);
            if (means)
                for (int64_t j = 0; j < n; j++) means[i][start + j] = (float)(sum[j] / divisor);
        }
}

/* Whether no float32 is infinite or NaN: those are the ones whose exponent is all ones. The two
   halves of an array are read side by side, since memory is fetched ahead for each. */
int all_finite(int64_t arrays, const int64_t *sizes, const uint32_t *const *bits)
{
    const uint32_t ones = 0x7f800000;
    for (int64_t i = 0; i < arrays; i++) {
        const int64_t half = sizes[i] / 2;
        const uint32_t *left = bits[i], *right = bits[i] + half;
        uint32_t found = 0;
        for (int64_t j = 0; j < sizes[i] - half; j++)  /* of an odd number, the middle twice */
            found |= (left[j] & ones) == ones || (right[j] & ones) == ones;
        if (found) return 0;
    }
    return 1;
}
"""
_DECLARATIONS = """
void weighted_sum(int64_t arrays, int64_t *sizes, int64_t k, void **values, double *counts,
                  void **before, void **totals, void **means, double divisor);
int all_finite(int64_t arrays, int64_t *sizes, void **bits);
"""
# A multiplication and an addition are not to become one: it would round once where NumPy
# rounds twice.
_FLAGS = ("-ffp-contract=off",)
_FLOAT32 = np.dtype(np.float32)

Arrays = Sequence[NDArray[Any]]


class Kernels:
    """The compiled functions, for arrays that `takes` knows."""

    def __init__(self, path: str) -> None:
        # ctypes takes five times as long for a pointer, which shows where arrays are small.
        self._ffi = cffi.FFI()
        self._ffi.cdef(_DECLARATIONS)
        self._functions = self._ffi.dlopen(path)

    def weighted_sum(
        self,
        updates: Sequence[Arrays],
        weights: Sequence[float],
        before: Arrays | None,
        after: Arrays,
        n: int | None = None,
    ) -> None:
        """Add weights * updates to `before`, if there is any, and write that to `after`.

        Args:
            updates: What to add, in this order.
            weights: What each is multiplied by, its number of examples for instance.
            before: The sum of earlier updates, in float64.
            after: Where to write: float64 totals, which may be `before`; or, where `n` is given,
                float32 means.
            n: What to divide by.
        """
        none, written = self._ffi.NULL, self._pointers(after)
        self._functions.weighted_sum(
            *_sizes(after),
            len(updates),
            self._pointers([arrays[i] for i in range(len(after)) for arrays in updates]),
            weights,
            none if before is None else self._pointers(before),
            written if n is None else none,
            none if n is None else written,
            1 if n is None else n,
        )

    def all_finite(self, arrays: Arrays) -> bool:
        """Tell whether no value is NaN or infinite."""
        return bool(self._functions.all_finite(*_sizes(arrays), self._pointers(arrays)))

    def _pointers(self, arrays: Arrays) -> list[Any]:
        return [self._ffi.from_buffer(array) for array in arrays]


def _sizes(arrays: Arrays) -> tuple[int, list[int]]:
    return len(arrays), [array.size for array in arrays]


@lru_cache(maxsize=1)
def load() -> Kernels | None:
    """Build the kernels, or find them built; `None` if this machine cannot."""
    library = load_library("updates", _SOURCE, _FLAGS)
    return None if library is None else Kernels(library._name)


_building: threading.Thread | None = None


def available() -> Kernels | None:
    """Return the kernels if they are built by now; the first call has them built meanwhile."""
    global _building
    if _building is None:
        _building = threading.Thread(target=load, name="build kernels")
        _building.start()
    return None if _building.is_alive() else load()


def takes(arrays: Arrays) -> bool:
    """Tell whether the kernels know such arrays: float32, in C's layout, and no mere scalars."""
    return all(
        isinstance(a, np.ndarray)
        and a.dtype == _FLOAT32
        and a.flags.c_contiguous
        and a.flags.aligned
        for a in arrays
    )
