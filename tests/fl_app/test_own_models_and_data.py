"""The files that docs/own-models-and-data.md shows are what the page says they are."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fl_app.data.datasets import Dataset
from scripts.repository import REPOSITORY

PAGE = (REPOSITORY / "docs/own-models-and-data.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# /home/me/(\S+)\n(.*?)```", PAGE, re.DOTALL))


def names_in(file: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(FILES[file], file, "exec"), names)
    return names


def test_every_file_is_named_in_a_command_below_it():
    assert set(FILES) == {"net.py", "stripes.py", "halves.py", "signs.py", "grain.py"}
    for file in FILES:
        assert re.search(rf'scripts/run -c \'[\w-]+="/home/me/{re.escape(file)}:', PAGE)


def test_the_model_returns_log_probabilities_of_the_classes_that_it_claims():
    model = names_in("net.py")["Net"](width=64)

    log_probabilities = model(torch.randn(3, *model.image_shape))

    assert log_probabilities.shape == (3, model.num_classes)
    torch.testing.assert_close(log_probabilities.exp().sum(1), torch.ones(3))


def test_the_data_set_is_one_and_the_same_each_time():
    load = names_in("stripes.py")["stripes"]

    dataset, again = load(Path(), examples=50), load(Path(), examples=50)

    assert isinstance(dataset, Dataset)
    assert (len(dataset.train), len(dataset.test)) == (40, 10)
    assert dataset.train.select(np.arange(40)).images.dtype == torch.float32
    assert dataset.test.images.shape == (10, 1, 28, 28)
    assert dataset.test.labels.dtype == torch.int64
    assert set(dataset.test.labels.tolist()) <= set(range(len(dataset.class_names)))
    assert torch.equal(dataset.test.images, again.test.images)
    # A label is where its stripe is.
    heights = dataset.test.images.mean(dim=(1, 3)).argmax(dim=1) // 2
    assert torch.equal(heights, dataset.test.labels)


def test_the_partition_gives_every_example_to_one_participant():
    halves = names_in("halves.py")["halves"]

    parts = halves(np.zeros(103, np.int64), 5, 1)

    assert [len(part) for part in parts] == [52, 13, 13, 13, 12]
    assert sorted(np.concatenate(parts)) == list(range(103))
    assert not np.array_equal(parts[0], halves(np.zeros(103, np.int64), 5, 2)[0])
