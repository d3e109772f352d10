"""relu(max_pool2d(convolution(x), 2)): torch's to the bit, its gradients to round-off."""

import pytest
import torch
from torch import Tensor, nn

from fl_app.tasks.images.convolution.pooled import pooled_convolution
from fl_app.training.local.local_training import cpu_threads
from tests.fl_app.tasks.convolutions import CASES, batch, gradients, is_compiled, textbook


@pytest.mark.parametrize(
    ("images", "convolution"),
    [
        (torch.randn(2, 3, 9, 9), nn.Conv2d(3, 4, 3, padding=1)),
        (torch.randn(2, 3, 9, 9), nn.Conv2d(3, 4, 3, padding="same")),
        (torch.randn(2, 3, 9, 9), nn.Conv2d(3, 4, 3, stride=2)),
        (torch.randn(2, 3, 9, 9), nn.Conv2d(3, 4, 3, dilation=2)),
        (torch.randn(2, 4, 9, 9), nn.Conv2d(4, 4, 3, groups=2)),
        (torch.randn(2, 3, 9, 9).double(), nn.Conv2d(3, 4, 3).double()),
        (torch.randn(3, 9, 9), nn.Conv2d(3, 4, 3)),
    ],
    ids=["padding", "same", "stride", "dilation", "groups", "float64", "one image"],
)
def test_everything_else_is_left_to_torch(images: Tensor, convolution: nn.Conv2d):
    assert not is_compiled(images, convolution)
    assert torch.equal(pooled_convolution(images, convolution), textbook(images, convolution))


def test_many_threads_and_evaluation_are_left_to_torch():
    images, convolution = batch(CASES[0])
    with cpu_threads(4):
        assert not is_compiled(images, convolution)
    with torch.inference_mode():
        assert not is_compiled(images, convolution)


def test_without_a_compiler_it_is_torch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fl_app.tasks.images.convolution.pooled.compiled_pooling", lambda: None)
    images, convolution = batch(CASES[0])

    assert not is_compiled(images, convolution)
    ours, theirs = (gradients(f, images, convolution) for f in (pooled_convolution, textbook))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("channels", "size"),
    [(2, 9), (1, 2), (1, 3)],
    ids=["channels", "smaller than the kernel", "nothing to pool"],
)
def test_images_that_do_not_fit_are_torchs_error(channels: int, size: int):
    with pytest.raises(RuntimeError):
        pooled_convolution(torch.randn(2, channels, size, size), nn.Conv2d(1, 4, 3))
