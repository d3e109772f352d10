import struct
from pathlib import Path

import numpy as np
import pytest

from fl_app.core.errors import DataError
from fl_app.data.idx import read_images, read_labels

PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
IMAGES = bytes((0, 0, 8, 3)) + struct.pack(">III", 2, 3, 4) + PIXELS.tobytes()
LABELS = bytes((0, 0, 8, 1)) + struct.pack(">I", 3) + bytes((0, 9, 4))


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "some-ubyte"
    path.write_bytes(content)
    return path


def test_images_keep_shape_and_order(tmp_path):
    np.testing.assert_array_equal(read_images(written(tmp_path, IMAGES)), PIXELS)


def test_labels_are_read(tmp_path):
    assert read_labels(written(tmp_path, LABELS), num_classes=10).tolist() == [0, 9, 4]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cut short"),
        (IMAGES[:15], "cut short"),
        (IMAGES[:-1], "39 bytes"),
        (IMAGES + b"\0", "41 bytes"),
        (b"\x1f\x8b" + IMAGES[2:], "1f8b0803"),
        (bytes((0, 0, 13)) + IMAGES[3:], "00000d03"),
        (LABELS + bytes(20), "instead of 00000803"),
        (bytes((0, 0, 8, 3)) + struct.pack(">III", 2**31, 2**31, 4), "header"),
        (bytes((0, 0, 8, 3)) + struct.pack(">III", 0, 28, 28), "no image"),
    ],
)
def test_broken_images_are_refused_by_name_with_a_remedy(tmp_path, content, reason):
    path = written(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_images(path)
    message = str(caught.value)
    assert str(path) in message
    assert reason in message
    assert "Delete it and run again" in message
    assert "data-dir" in message


def test_a_label_out_of_range_is_refused(tmp_path):
    with pytest.raises(DataError, match="label 9; labels go from 0 to 8"):
        read_labels(written(tmp_path, LABELS), num_classes=9)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_images(tmp_path / "absent")
