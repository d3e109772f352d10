"""Codecs, measured against the network that they spare: bytes, times, error."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from flwr.common import ndarrays_to_parameters

from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import build_model
from scripts.benchmarks.table import interleave, spread
from strategies.compression.codec import Bfloat16, Codec, Float16, Identity, Quantise
from strategies.compression.error_feedback import encode_with_feedback
from strategies.compression.top_k import TopK
from strategies.core.client_update import Arrays
from strategies.core.npy import decode_arrays

CODECS: dict[str, Codec] = {
    "identity": Identity(),
    "float16": Float16(),
    "bfloat16": Bfloat16(),
    "quantise(bits=8)": Quantise(8),
    "quantise(bits=4)": Quantise(4),
    "top-k(fraction=0.01)": TopK(0.01),
    'top-k(fraction=0.01, values="int8")': TopK(0.01, "int8"),
    'top-k(fraction=0.01, values="int4")': TopK(0.01, "int4"),
    'top-k(fraction=0.05, values="int4")': TopK(0.05, "int4"),
    'top-k(fraction=0.1, values="int4")': TopK(0.1, "int4"),
}
"""As the run config writes them."""


@dataclass(frozen=True)
class CodecRow:
    """What a codec does to one update.

    Attributes:
        table: The model.
        codec: As the run config writes it.
        bytes: On the wire, headers included.
        error: Norm of what one payload gets wrong, as a share of the delta's.
        encode: Median seconds from delta to the wire's bytes.
        encode_with_feedback: Likewise, with the residual of the round before.
        decode: Median seconds from the wire's bytes to the delta.
        spread: Slowest run divided by fastest, the larger of the three.
    """

    table: str
    codec: str
    bytes: int
    error: float
    encode: float
    encode_with_feedback: float
    decode: float
    spread: float

    def seconds(self, bits_per_second: float) -> float:
        """Return how long an update takes from participant to server."""
        encode = self.encode_with_feedback if self.error > 0 else self.encode
        return encode + 8 * self.bytes / bits_per_second + self.decode


def codec_models(quick: bool) -> dict[str, Sequence[tuple[int, ...]]]:
    """Return the shapes of the models whose deltas to encode."""
    cnn = [array.shape for array in get_weights(build_model("simple-cnn", 0))]
    if quick:
        return {"SimpleCNN": cnn}
    return {"SimpleCNN": cnn, "25M parameters": [(2500, 1000)] * 10}


def measure_codecs(name: str, shapes: Sequence[tuple[int, ...]], repeats: int) -> list[CodecRow]:
    """Measure every codec on a delta of normal values.

    Its largest values lie anywhere, which costs top-k the most bytes: those of a real delta
    crowd in some layers.

    Args:
        name: Of the model.
        shapes: Of its arrays.
        repeats: Runs of each case.
    """
    draw = np.random.default_rng(0)
    delta: Arrays = [draw.standard_normal(shape, dtype=np.float32) for shape in shapes]
    return [_measure(name, codec, delta, repeats) for codec in CODECS]


def _measure(table: str, name: str, delta: Arrays, repeats: int) -> CodecRow:
    codec = CODECS[name]
    draw = np.random.default_rng(1)
    residual = [0.1 * array for array in delta]
    tensors = ndarrays_to_parameters(codec.encode(delta, draw)).tensors

    def encode() -> None:
        ndarrays_to_parameters(codec.encode(delta, draw))

    def encode_and_feed_back() -> None:
        ndarrays_to_parameters(encode_with_feedback(codec, delta, residual, draw)[0])

    def decode() -> Arrays:
        return codec.decode(decode_arrays(tensors), delta)

    times = interleave(
        {"encode": encode, "feedback": encode_and_feed_back, "decode": decode}, repeats
    )
    wrong = [d - s for d, s in zip(delta, decode(), strict=True)]
    return CodecRow(
        table,
        name,
        bytes=sum(map(len, tensors)),
        error=_norm(wrong) / _norm(delta),
        encode=statistics.median(times["encode"]),
        encode_with_feedback=statistics.median(times["feedback"]),
        decode=statistics.median(times["decode"]),
        spread=max(spread(seconds) for seconds in times.values()),
    )


def _norm(arrays: Arrays) -> float:
    return math.sqrt(sum(float(np.vdot(a, a)) for a in arrays))


_COLUMNS: dict[str, Callable[[CodecRow, CodecRow], str]] = {
    "bytes": lambda row, _: f"{row.bytes:,}",
    "times fewer": lambda row, plain: f"{plain.bytes / row.bytes:.1f}",
    "error": lambda row, _: f"{row.error:.2g}",
    "encode, ms": lambda row, _: f"{1e3 * row.encode:.2f}",
    "with feedback, ms": lambda row, _: f"{1e3 * row.encode_with_feedback:.2f}",
    "decode, ms": lambda row, _: f"{1e3 * row.decode:.2f}",
    "saved at 100 Mbit/s, ms": lambda row, plain: _saved(row, plain, 1e8),
    "saved at 1 Gbit/s, ms": lambda row, plain: _saved(row, plain, 1e9),
    "slowest / fastest": lambda row, _: f"{row.spread:.2f}",
}


def _saved(row: CodecRow, plain: CodecRow, bits_per_second: float) -> str:
    return f"{1e3 * (plain.seconds(bits_per_second) - row.seconds(bits_per_second)):.1f}"


def codecs_as_markdown(rows: Sequence[CodecRow]) -> str:
    """Return one Markdown table per model; what is saved is per update, encoding paid."""
    lines: list[str] = []
    for table in dict.fromkeys(row.table for row in rows):
        part = [row for row in rows if row.table == table]
        lines += ["", f"| an update of {table} | {' | '.join(_COLUMNS)} |"]
        lines.append("| --- |" + " --- |" * len(_COLUMNS))
        for row in part:
            cells = [cell(row, part[0]) for cell in _COLUMNS.values()]  # identity comes first
            lines.append(f"| {row.codec} | {' | '.join(cells)} |")
    return "\n".join(lines[1:]) + "\n"
