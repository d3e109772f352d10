"""Sums of batches."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by

from fl_app.core.metrics import LOSS, LOSS_METRIC
from fl_app.tasks.tally import Tally, loss_sum

PADDING = -100


def test_a_batch_of_padding_alone_leaves_the_mean_loss_as_it_is() -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    tally = Tally()
    for targets in (torch.tensor([1, PADDING]), torch.tensor([PADDING, PADDING])):
        loss = F.cross_entropy(scores, targets, ignore_index=PADDING)
        tally.add({LOSS: loss_sum(loss, (targets != PADDING).sum())})

    mean = LOSS_METRIC.value(tally.sums()[LOSS])
    assert math.isclose(mean, math.log(1 + math.exp(-1)), rel_tol=1e-6)


def test_a_loss_that_diverged_stays_so() -> None:
    for weight in (4, torch.tensor(4)):
        total, _ = loss_sum(torch.tensor(math.nan), weight)
        assert total.isnan()


def test_a_sum_of_half_precision_losses_is_float64() -> None:
    total, weight = loss_sum(torch.tensor(60000.0, dtype=torch.float16), 1000)
    assert (total.item(), total.dtype, weight) == (6e7, torch.float64, 1000)
