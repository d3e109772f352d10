"""The precision that local training computes in, and where."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from fl_app.training.local.local_training import evaluate, resolve_device, widened
from tests.fl_app.training.softmax_training import TASK, Softmax, bits, examples, fresh, train


def test_bfloat16_computes_coarser_and_keeps_float32_weights():
    update = train(fresh(), examples(40), precision="bfloat16")
    exact = train(fresh(), examples(40))

    assert all(array.dtype == np.float32 for array in update.weights)
    assert bits(update) != bits(exact)
    for coarse, fine in zip(update.delta, exact.delta, strict=True):
        np.testing.assert_allclose(coarse, fine, rtol=0, atol=0.02 * np.abs(fine).max())
    assert update.loss == pytest.approx(exact.loss, rel=0.01)


def test_bfloat16_gives_the_same_bits_again():
    runs = [train(fresh(), examples(40), precision="bfloat16") for _ in range(2)]

    assert bits(runs[0]) == bits(runs[1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_model_trains_in_the_precision_asked_for_and_is_evaluated_in_float32(precision):
    seen: list[torch.dtype] = []

    class Watching(Softmax):
        def forward(self, images: Tensor) -> Tensor:
            output = self.fc(images.flatten(1))
            seen.append(output.dtype)
            return F.log_softmax(output, dim=1)

    model = fresh(Watching)
    train(model, examples(4), precision=precision)
    evaluate(TASK, model, examples(4))

    assert seen == [getattr(torch, precision), torch.float32]
    assert not torch.is_autocast_enabled("cpu")


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(Exception, match="no GPU"):
        resolve_device("cuda")


def test_outputs_of_sixteen_bits_are_widened_wherever_they_are():
    half, whole = torch.ones(2, dtype=torch.float16), torch.ones(2, dtype=torch.int64)

    first, (second, kept), named = widened((half, [half.bfloat16(), whole], {"x": half}))

    assert first.dtype == second.dtype == named["x"].dtype == torch.float32
    assert kept is whole


def test_a_float16_loss_is_summed_beyond_the_end_of_float16(monkeypatch):
    def steep(outputs: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return (F.nll_loss(outputs, batch[-1]) * 0 + 60000).half()  # four times that is no float16

    monkeypatch.setattr(TASK, "loss", steep)

    assert train(fresh(), examples(40)).loss == pytest.approx(60000, rel=0.01)
