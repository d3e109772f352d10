"""A last batch of one, which a batch norm cannot be trained on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.training.local.batches import batch_sizes
from tests.fl_app.training.softmax_training import TASK, Counting, bits, examples, fresh, train

CPU = torch.device("cpu")


class Flat(Counting):
    """A batch norm after flattening, which has one value a channel and image."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.3)

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return F.log_softmax(self.dropout(self.norm(self.fc(images.flatten(1)))), dim=1)


class Spatial(Counting):
    """A batch norm over images, which has a variance in a single one as well."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.norm(images))


def sizes_of(model: nn.Module, count: int, batch: int) -> list[int]:
    return batch_sizes(TASK, model, examples(count), batch, CPU)


def steps_of(kind: type[Counting], count: int, batch: int) -> list[int]:
    model = fresh(kind)
    assert isinstance(model, Counting)
    train(model, examples(count), batch=batch)
    return [size for size in model.batches if size > 1 or kind is not Flat]


def test_a_site_of_65_examples_in_batches_of_32_trains_with_a_batch_norm() -> None:
    assert steps_of(Flat, 65, 32) == [32, 33]
    assert steps_of(Flat, 66, 32) == [32, 32, 2]
    assert steps_of(Flat, 64, 32) == [32, 32]
    assert steps_of(Flat, 33, 32) == [33]


@pytest.mark.parametrize("kind", [Counting, Spatial])
def test_models_that_can_be_trained_on_one_example_keep_their_batches(kind: type[Counting]) -> None:
    sizes = sizes_of(fresh(kind).train(), 65, 32)
    assert sizes == [32, 32, 1]
    assert sizes_of(fresh(kind).train(), 1, 32) == [1]
    assert sizes_of(fresh(kind).train(), 3, 1) == [1, 1, 1]


def test_a_batch_norm_that_is_frozen_takes_any_batch() -> None:
    model = fresh(Flat).train()
    model.get_submodule("norm").eval()
    assert sizes_of(model, 5, 4) == [4, 1]


def test_looking_for_a_batch_norms_limits_changes_no_bit() -> None:
    """Buffers and dropout are what they are where nothing has to be looked for."""
    model = fresh(Flat).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)

    sizes_of(model, 5, 4)
    sizes_of(fresh(Spatial).train(), 5, 4)

    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_step_with_one_more_is_that_of_so_large_a_batch() -> None:
    assert bits(train(fresh(Flat), examples(5), batch=4)) == bits(
        train(fresh(Flat), examples(5), batch=5)
    )


def test_a_single_example_is_refused_with_the_reason() -> None:
    with pytest.raises(
        ConfigError, match="a single example to train on, and the model has a batch"
    ):
        train(fresh(Flat), examples(1))
    with pytest.raises(ConfigError, match="batch-size = 1, but the model has a batch norm"):
        train(fresh(Flat), examples(5), batch=1)


def test_batches_of_unequal_sizes_hold_every_example_once() -> None:
    data, order = examples(200), torch.randperm(200, generator=torch.Generator().manual_seed(1))
    sizes = [1] * 70 + [3] * 20 + [70]
    batches = list(data.batches(order, sizes, TASK.collate, CPU))
    assert [len(images) for images, _ in batches] == sizes
    joined = ImageExamples(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
    np.testing.assert_array_equal(joined.images, data.images[order])
    np.testing.assert_array_equal(joined.labels, data.labels[order])
