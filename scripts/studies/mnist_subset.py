"""The first images of MNIST, as a data folder of its own."""

import struct
from pathlib import Path

from fl_app.core.paths import resolve_data_dir
from fl_app.data.datasets import MNIST


def shortened_mnist(folder: Path, train_examples: int) -> Path:
    """Write the first training examples of MNIST, and all test examples, below `folder`.

    Args:
        folder: Where to.
        train_examples: How many; all 60,000 at most.

    Returns:
        The folder, to be used as `data-dir`.

    Raises:
        DataError: If MNIST is not there and cannot be downloaded.
    """
    raw = folder / MNIST.folder / "raw"
    raw.mkdir(parents=True)
    for source in MNIST.ensure(resolve_data_dir("")).glob("*-ubyte"):
        content = source.read_bytes()
        is_train = source.name.startswith("train")
        (raw / source.name).write_bytes(_first(content, train_examples) if is_train else content)
    return folder


def _first(idx: bytes, examples: int) -> bytes:
    """Return an IDX file cut short: its header is a magic number and a size per dimension."""
    dimensions = idx[3]
    header = 4 + 4 * dimensions
    total, *shape = struct.unpack(f">{dimensions}I", idx[4:header])
    kept = min(examples, total)
    each = (len(idx) - header) // total
    sizes = struct.pack(f">{dimensions}I", kept, *shape)
    return idx[:4] + sizes + idx[header : header + kept * each]
