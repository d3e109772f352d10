"""relu(max_pool2d(convolution(x), 2)): torch's to the bit, its gradients to round-off."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.tasks.pooled_convolution import pooled_convolution
from fl_app.tasks.pooled_convolution_kernels import compiled_pooling
from fl_app.training.local_training import cpu_threads

needs_compiler = pytest.mark.skipif(compiled_pooling() is None, reason="there is no C compiler")


class Case(NamedTuple):
    """A batch and a convolution."""

    samples: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel: tuple[int, int]


CASES = [
    Case(3, 1, 28, 28, 20, (5, 5)),
    Case(3, 20, 12, 12, 50, (5, 5)),
    Case(2, 3, 11, 14, 7, (3, 3)),  # an odd height is cut by the pooling
    Case(2, 13, 6, 9, 3, (2, 4)),  # a length of 52: 48 and 4
    Case(1, 19, 5, 6, 2, (1, 3)),  # 57: 48, 8 and 1
    Case(1, 2, 54, 52, 2, (3, 3)),  # 650 pooled values: more than are listed at a time
    Case(0, 1, 8, 8, 2, (3, 3)),
]


def batch(case: Case, seed: int = 0) -> tuple[Tensor, nn.Conv2d]:
    generator = torch.Generator().manual_seed(seed)
    size = (case.samples, case.channels, case.height, case.width)
    images = torch.randn(size, generator=generator)
    convolution = nn.Conv2d(case.channels, case.outputs, case.kernel)
    with torch.no_grad():
        for parameter in convolution.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return images, convolution


def textbook(images: Tensor, convolution: nn.Conv2d) -> Tensor:
    return F.relu(F.max_pool2d(convolution(images), 2))


def gradients(
    function: Callable[[Tensor, nn.Conv2d], Tensor], images: Tensor, convolution: nn.Conv2d
) -> list[Tensor]:
    """The gradients of images, weight and bias where that of each output is drawn at random."""
    images = images.detach().clone().requires_grad_()
    out = function(images, convolution)
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype)
    return list(torch.autograd.grad(out, [images, *convolution.parameters()], upstream))


def is_compiled(images: Tensor, convolution: nn.Conv2d) -> bool:
    name = type(pooled_convolution(images, convolution).grad_fn).__name__
    return name == "_PooledConvolutionBackward"


@needs_compiler
@pytest.mark.parametrize("case", CASES)
def test_the_output_is_torchs_to_the_bit(case: Case):
    images, convolution = batch(case)

    assert is_compiled(images, convolution)
    assert torch.equal(pooled_convolution(images, convolution), textbook(images, convolution))


@needs_compiler
@pytest.mark.parametrize("case", CASES)
def test_the_gradients_are_torchs_but_for_round_off(case: Case):
    images, convolution = batch(case)
    ours = gradients(pooled_convolution, images, convolution)
    theirs = gradients(textbook, images, convolution)
    # Every gradient is a sum of products, of at most so many.
    terms = max(case.samples * case.height * case.width, case.outputs * 25) + 1

    for mine, exact in zip(ours, theirs, strict=True):
        assert mine.shape == exact.shape
        if exact.numel() == 0:
            continue
        bound = 2 * terms * 2**-24 * 16 * float(exact.abs().max())
        torch.testing.assert_close(mine, exact, rtol=0, atol=bound)
        assert float((mine - exact).abs().mean()) <= 1e-6 * float(exact.abs().max())


@needs_compiler
def test_gradients_by_hand():
    images = torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0], [5.0, 8.0, 6.0, 7.0, 9.0]])[None, None]
    convolution = nn.Conv2d(1, 1, (1, 1))
    with torch.no_grad():
        convolution.weight.fill_(2.0)
        convolution.bias.fill_(-15.0)  # type: ignore[union-attr]
    images.requires_grad_()

    out = pooled_convolution(images, convolution)
    (10 * out).sum().backward()

    # Pairs of columns: 2 * 8 - 15 is passed on, 2 * 7 - 15 is negative, the last column cut.
    assert out.tolist() == [[[[1.0, 0.0]]]]
    assert images.grad is not None
    assert images.grad[0, 0].tolist() == [[0, 0, 0, 0, 0], [0, 20, 0, 0, 0]]
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.item() == 80
    assert convolution.bias is not None
    assert convolution.bias.grad is not None
    assert convolution.bias.grad.item() == 10


@needs_compiler
def test_of_equals_the_first_passes_the_gradient_as_in_torch():
    images, convolution = torch.ones(1, 1, 6, 6), nn.Conv2d(1, 3, 3)

    ours = gradients(pooled_convolution, images, convolution)
    theirs = gradients(textbook, images, convolution)

    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


@needs_compiler
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_passed_on_as_in_torch(value: float, place: tuple[int, int]):
    images, convolution = batch(Case(1, 1, 6, 6, 3, (1, 1)))
    images[0, 0, place[0], place[1]] = value
    with torch.no_grad():
        convolution.weight.abs_()

    ours, theirs = pooled_convolution(images, convolution), textbook(images, convolution)

    assert torch.isfinite(theirs).all() == (value == -float("inf"))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    passed_back = [gradients(f, images, convolution)[0] for f in (pooled_convolution, textbook)]
    torch.testing.assert_close(*passed_back, rtol=0, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("case", CASES[:2])
def test_the_same_bits_again_in_every_memory_format(case: Case):
    images, convolution = batch(case)
    expected = gradients(pooled_convolution, images, convolution)
    convolution.to(memory_format=torch.channels_last)
    again = gradients(
        pooled_convolution, images.contiguous(memory_format=torch.channels_last), convolution
    )

    assert all(torch.equal(a, b) for a, b in zip(expected, again, strict=True))


@needs_compiler
def test_what_needs_no_gradient_gets_none():
    images, convolution = batch(CASES[1])
    pooled_convolution(images, convolution).sum().backward()
    assert images.grad is None
    assert convolution.weight.grad is not None

    images.requires_grad_()
    convolution.requires_grad_(False)
    before = convolution.weight.grad.clone()
    pooled_convolution(images, convolution).sum().backward()
    assert images.grad is not None
    assert torch.equal(convolution.weight.grad, before)


@needs_compiler
def test_a_convolution_without_bias():
    images, convolution = batch(CASES[2])
    convolution.bias = None

    assert is_compiled(images, convolution)
    ours, theirs = (gradients(f, images, convolution) for f in (pooled_convolution, textbook))
    assert len(ours) == 2
    for mine, exact in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, exact, rtol=0, atol=1e-5 * float(exact.abs().max()))


@needs_compiler
def test_a_gradient_is_not_differentiated_again():
    images, convolution = batch(CASES[2])
    loss = pooled_convolution(images, convolution).square().sum()
    (gradient,) = torch.autograd.grad(loss, [convolution.weight], create_graph=True)

    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@needs_compiler
def test_under_autocast_the_convolution_is_coarse_and_its_gradient_is_not():
    images, convolution = batch(CASES[1])
    with torch.autocast("cpu", torch.bfloat16):
        out = pooled_convolution(images, convolution)
        expected = textbook(images, convolution)
        assert is_compiled(images, convolution)

    assert out.dtype == torch.float32
    assert torch.equal(out, expected.float())
    out.sum().backward()
    assert convolution.weight.grad is not None
    passed = (expected > 0).float()
    # The bias's gradient counts what has passed: exact, where bfloat16 would count to 256.
    assert convolution.bias is not None
    assert convolution.bias.grad is not None
    assert torch.equal(convolution.bias.grad, passed.sum((0, 2, 3)))


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
    monkeypatch.setattr("fl_app.tasks.pooled_convolution.compiled_pooling", lambda: None)
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
