import numpy as np

from fl_app.data.idx import read_images, read_labels
from scripts.studies.mnist_subset import shortened_mnist
from tests.support.idx_files import write_idx_set


def test_the_first_examples_of_mnist(tmp_path, monkeypatch):
    raw = write_idx_set(tmp_path / "data" / "MNIST" / "raw")
    monkeypatch.setenv("DELTA_FEDAVG_DATA_DIR", str(tmp_path / "data"))

    short = shortened_mnist(tmp_path / "short", 3) / "MNIST" / "raw"

    images = read_images(short / "train-images-idx3-ubyte")
    np.testing.assert_array_equal(images, read_images(raw / "train-images-idx3-ubyte")[:3])
    labels = read_labels(short / "train-labels-idx1-ubyte", 10)
    np.testing.assert_array_equal(labels, read_labels(raw / "train-labels-idx1-ubyte", 10)[:3])
    name = "t10k-images-idx3-ubyte"
    assert (short / name).read_bytes() == (raw / name).read_bytes()
    more = shortened_mnist(tmp_path / "more", 99) / "MNIST" / "raw"
    assert len(read_images(more / "train-images-idx3-ubyte")) == 4
