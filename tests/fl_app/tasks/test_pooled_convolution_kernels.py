"""The compiled kernels: torch's output to the bit, its gradients to round-off."""

import pytest
import torch
from torch import nn

from fl_app.tasks.images.convolution.kernels import compiled_pooling
from fl_app.tasks.images.convolution.pooled import pooled_convolution
from tests.fl_app.tasks.convolutions import CASES, Case, batch, gradients, is_compiled, textbook

needs_compiler = pytest.mark.skipif(compiled_pooling() is None, reason="there is no C compiler")


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
