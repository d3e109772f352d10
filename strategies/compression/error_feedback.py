"""Error feedback: what a codec drops in one round is added to the delta of the next.

With `e_1 = 0`, round `t` of a participant is

    payload = encode(delta_t + e_t)
    e_{t+1} = delta_t + e_t - decode(payload)

so that what has been decoded after `T` rounds, and the last residual, add up to the deltas. The
residual stays bounded if the codec keeps a share of what it is given, `|x - decode(encode(x))|^2
<= (1 - share) * |x|^2` in expectation; all codecs here do, and `scripts/contract codec` measures it
of yours. Where what was sent is further from `x` than nothing at all would have been, no residual
is kept, and it is said: fed back, it would grow from round to round, and the run would diverge.

The sum is exact but for float32 round-off. `delta_t + e_t` is rounded to float32, an error of at
most `2**-24` of each corrected value; the difference is exact where a value was dropped or came
back within a factor of two, and otherwise rounded likewise. The two round-offs of a round are
lost, not fed back: after `T` rounds the sums agree within `T * 2**-23` of the largest corrected
value. Keeping the residual in float64 would save half of that, for twice the memory.

Source: Seide et al., Interspeech 2014 (1-bit SGD); Karimireddy et al., ICML 2019,
arXiv:1901.09847. There the residual is of gradients, here of a participant's deltas; a participant
that sits out a round keeps its residual.
"""

import math
from collections.abc import Sequence
from logging import WARNING
from typing import Any

import numpy as np
from flwr.common.logger import log
from numpy.typing import NDArray

from strategies.compression.codec import Codec
from strategies.core.client_update import Arrays
from strategies.core.vectors import euclidean_norm


def encode_with_feedback(
    codec: Codec,
    delta: Arrays,
    residual: Sequence[NDArray[Any]] | None,
    generator: np.random.Generator,
) -> tuple[Arrays, Arrays]:
    """Encode a delta together with what was dropped before.

    Args:
        codec: How the delta travels.
        delta: Local minus global weights.
        residual: What this returned for the participant's last update that counted; `None`
            before the first.
        generator: For the codec.

    Returns:
        The payload to send, and the residual to keep for the next round: one array per
        parameter, with the shapes and dtypes of the delta; zeros if it would grow.

    Raises:
        ValueError: If the residual is that of another model, or the codec refuses the sum, for
            instance because it is not finite.
    """
    corrected = list(delta) if residual is None else _add(delta, residual)
    payload = codec.encode(corrected, generator)
    decoded = codec.decode(payload, corrected)
    # asarray: NumPy makes a scalar of the difference of two 0-d arrays.
    dropped = [np.asarray(c - d) for c, d in zip(corrected, decoded, strict=True)]
    error, size = euclidean_norm(dropped), euclidean_norm(corrected)
    if error > size:
        line = "%r is off by %.3g times what it was given; that is not fed back, or it would grow"
        log(WARNING, line, codec, error / size if size else math.inf)
        return payload, [np.zeros_like(array) for array in dropped]
    return payload, dropped


def _add(delta: Arrays, residual: Sequence[NDArray[Any]]) -> Arrays:
    shapes, expected = [r.shape for r in residual], [d.shape for d in delta]
    if shapes != expected:
        raise ValueError(
            f"the residual has the shapes {shapes}, the delta {expected}: it is of another model"
        )
    with np.errstate(over="ignore"):  # the codec names what is not finite
        return [
            np.asarray(np.add(d, r, dtype=d.dtype)) for d, r in zip(delta, residual, strict=True)
        ]
