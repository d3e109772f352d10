"""The weighted sum in C, where the machine has a compiler; the same bits as NumPy's.

NumPy takes three passes over float64 blocks per update. Compiled, the sum of several updates
stays in a register, and the time is that of reading them. It is built once per process, in
the background, in a temporary folder that is gone a moment later; until then, and where there
is no compiler, `strategies.weighted_sum` uses NumPy.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from logging import DEBUG
from pathlib import Path

import numpy as np
from flwr.common.logger import log
from numpy.typing import NDArray

from strategies.updates import Arrays

COMPILER_VARIABLE = "DELTA_FEDAVG_CC"
"""The environment's choice of C compiler; empty: none, use NumPy."""

_SOURCE = r"""
#include <stdint.h>

enum { BLOCK = 2048 };  /* float64 values; a block stays in the first-level cache */

/* total[j] += sum of counts[u] * values[u][start + j], in the order of u. */
static void add(double *restrict total, int64_t n, int64_t start,
                const float *const *values, const double *counts, int64_t k)
{
    for (; k >= 8; k -= 8, values += 8, counts += 8) {
        const float *a = values[0] + start, *b = values[1] + start, *c = values[2] + start,
                    *d = values[3] + start, *e = values[4] + start, *f = values[5] + start,
                    *g = values[6] + start, *h = values[7] + start;
        const double na = counts[0], nb = counts[1], nc = counts[2], nd = counts[3],
                     ne = counts[4], nf = counts[5], ng = counts[6], nh = counts[7];
        for (int64_t j = 0; j < n; j++) {
            double x = total[j];
            x += na * a[j]; x += nb * b[j]; x += nc * c[j]; x += nd * d[j];
            x += ne * e[j]; x += nf * f[j]; x += ng * g[j]; x += nh * h[j];
            total[j] = x;
        }
    }
    for (; k > 0; k--, values++, counts++) {
        const float *a = values[0] + start;
        const double na = counts[0];
        for (int64_t j = 0; j < n; j++) total[j] += na * a[j];
    }
}

/* Per array: totals[i] += weighted sum; or, where means is given, means[i] = all of it / divisor.
   values holds the k updates of the first array, then those of the second, and so on. */
void weighted_sum(int64_t arrays, const int64_t *sizes, int64_t k, const float *const *values,
                  const double *counts, double *const *totals, double divisor,
                  float *const *means)
{
    double block[BLOCK];
    for (int64_t i = 0; i < arrays; i++, values += k)
        for (int64_t start = 0; start < sizes[i]; start += BLOCK) {
            int64_t n = sizes[i] - start < BLOCK ? sizes[i] - start : BLOCK;
            if (!means) {
                add(totals[i] + start, n, start, values, counts, k);
                continue;
            }
            for (int64_t j = 0; j < n; j++) block[j] = totals ? totals[i][start + j] : 0;
            add(block, n, start, values, counts, k);
            for (int64_t j = 0; j < n; j++) means[i][start + j] = (float)(block[j] / divisor);
        }
}
"""
# A multiplication and an addition are not to become one: it would round once where NumPy
# rounds twice.
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")
_SECONDS = 60

Totals = list[NDArray[np.float64]]
Kernel = Callable[[Sequence[Arrays], Sequence[int], Totals | None, float, Arrays | None], None]


@lru_cache(maxsize=1)
def load() -> Kernel | None:
    """Build the kernel; `None` if this machine cannot."""
    compiler = os.environ.get(COMPILER_VARIABLE, "cc")
    if not compiler or shutil.which(compiler) is None:
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, library = Path(folder, "sum.c"), Path(folder, "sum.so")
        source.write_text(_SOURCE, encoding="utf-8")
        command = [compiler, *_FLAGS, "-o", str(library), str(source)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
            function = ctypes.CDLL(str(library)).weighted_sum
        except (OSError, subprocess.SubprocessError) as error:
            log(DEBUG, "sums stay with NumPy: %s cannot build them: %s", compiler, error)
            return None
    function.restype = None
    return _wrapped(function)


_building: threading.Thread | None = None


def available() -> Kernel | None:
    """Return the kernel if it is built by now; the first call has it built meanwhile."""
    global _building
    if _building is None:
        _building = threading.Thread(target=load, name="build weighted sum")
        _building.start()
    return None if _building.is_alive() else load()


def takes(updates: Sequence[Arrays]) -> bool:
    """Tell whether the kernel knows such arrays: float32, in C's layout, and no mere scalars."""
    return all(
        isinstance(a, np.ndarray)
        and a.dtype == np.float32
        and a.flags.c_contiguous
        and a.flags.aligned
        for arrays in updates
        for a in arrays
    )


def _wrapped(function: Callable[..., None]) -> Kernel:
    def kernel(
        updates: Sequence[Arrays],
        counts: Sequence[int],
        totals: Totals | None,
        divisor: float,
        means: Arrays | None,
    ) -> None:
        form = means or totals or []
        num_arrays = len(form)
        function(
            ctypes.c_int64(num_arrays),
            (ctypes.c_int64 * num_arrays)(*(a.size for a in form)),
            ctypes.c_int64(len(updates)),
            _addresses([arrays[i] for i in range(num_arrays) for arrays in updates]),
            (ctypes.c_double * len(counts))(*counts),
            None if totals is None else _addresses(totals),
            ctypes.c_double(divisor),
            None if means is None else _addresses(means),
        )

    return kernel


def _addresses(arrays: Sequence[NDArray[np.floating]]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(a.__array_interface__["data"][0] for a in arrays))
