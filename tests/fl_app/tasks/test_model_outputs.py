"""A model that takes or returns something else than it must is refused in words."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.tasks.images.model_outputs import check_model, check_outputs
from fl_app.tasks.images.simple_cnn import SimpleCNN
from fl_app.tasks.task import ModelError

LOGITS = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_log_probabilities_pass_in_any_precision(dtype: torch.dtype) -> None:
    for outputs in (LOGITS, LOGITS * 1000, torch.randn(50, 1000)):
        log_probabilities = F.log_softmax(outputs, dim=1).to(dtype)
        check_outputs(log_probabilities, len(outputs), outputs.shape[1])


def test_a_certain_model_and_one_that_diverged_pass() -> None:
    check_outputs(torch.tensor([[0.0, -torch.inf]]), 1, 2)
    check_outputs(torch.full((2, 3), torch.nan), 2, 3)


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (LOGITS, r"logits.* Return F.log_softmax\(outputs, dim=1\)"),
        (LOGITS[:, :1], "logits"),
        (F.log_softmax(LOGITS, dim=0), "logits"),
        (F.logsigmoid(LOGITS), "logits"),
        (F.log_softmax(LOGITS, dim=1) / 2, "logits"),
        (F.softmax(LOGITS, dim=1), "returns probabilities.* in place of the softmax"),
        (torch.eye(3)[:2], "returns probabilities"),
        (F.log_softmax(LOGITS, dim=1)[..., None, None], r"shape \[2, 3, 1, 1\] for 2 images"),
        (F.log_softmax(LOGITS, dim=1)[0], r"shape \[3\] for 2 images"),
        (F.log_softmax(LOGITS, dim=1)[:1], r"shape \[1, 3\] for 2 images"),
        ((LOGITS, LOGITS), "returns a tuple of no tensor"),
        (LOGITS.argmax(1), "returns a Tensor of torch.int64"),
    ],
)
def test_anything_else_is_refused_with_what_to_change(outputs: object, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        check_outputs(outputs, 2, num_classes=1)


def test_too_few_outputs_are_told_with_both_numbers() -> None:
    with pytest.raises(ModelError, match="3 outputs for an image, but the data has 4 classes"):
        check_outputs(F.log_softmax(LOGITS, dim=1), 2, num_classes=4)


def changed(**attributes: object) -> nn.Module:
    model = SimpleCNN()
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


@pytest.mark.parametrize(
    ("model", "shape", "told"),
    [
        (SimpleCNN, (3, 32, 32), "takes images of 1x28x28.* has images of 3x32x32"),
        (
            lambda: changed(image_shape=None),
            (3, 28, 28),
            "fails on images of 3x28x28, which the data set stripes has .*RuntimeError",
        ),
        (
            lambda: changed(fc2=nn.Linear(500, 7)),
            (1, 28, 28),
            "the model net has 7 outputs for an image, but the data has 10",
        ),
        (
            lambda: changed(num_classes=12),
            (1, 28, 28),
            "says num_classes = 12, but has 10 outputs",
        ),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_told_apart(
    model: Callable[[], nn.Module], shape: tuple[int, ...], told: str
) -> None:
    with pytest.raises(ModelError, match=told):
        check_model(model(), "net", torch.zeros(2, *shape), 10, "stripes")


def test_the_check_leaves_no_trace() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, images: Tensor) -> Tensor:
            noise = torch.rand(2)
            return F.log_softmax(self.norm(images).flatten(1)[:, :2] + noise, dim=1)

    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)

    check_model(model, "net", torch.zeros(4, 1, 3, 3), 2, "stripes")

    assert torch.equal(torch.rand(1), expected)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
