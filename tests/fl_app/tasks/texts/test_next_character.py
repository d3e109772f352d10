"""Loss and metrics count real characters once, whatever the batching; the model learns."""

import math

import pytest
import torch
from torch import Tensor

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import ACCURACY
from fl_app.data.tensor_dataset import TensorExamples
from fl_app.tasks.checks import check_task
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import build_task, initial_model
from fl_app.tasks.texts.character_model import CharacterModel
from fl_app.tasks.texts.next_character import NextCharacter
from fl_app.tasks.texts.own_text import OwnText
from fl_app.tasks.texts.sequences import PADDING
from fl_app.training.local.local_training import evaluate, local_update
from fl_app.training.local.sgd import TrainingSettings

LETTERS = "abcdefgh"


def tiny(**options: object) -> OwnText:
    return OwnText(**{"hidden": 16, "context": 7, **options})  # type: ignore[arg-type]


def encoded(task: NextCharacter, *texts: str) -> TensorExamples:
    return task.examples([task._alphabet.encode(text) for text in texts])


def test_loss_and_metrics_are_those_worked_out_by_hand():
    task = tiny()
    scores = torch.zeros(2, 2, 3)
    scores[0, 0, 1] = math.log(2)  # probability 1/2
    scores[1, 1] = 1000  # where there is padding, which counts for nothing
    batch = (torch.zeros(2, 2), torch.tensor([[1, 2], [0, PADDING]], dtype=torch.int16))

    expected = (math.log(2) + math.log(3) + math.log(3)) / 3
    measured = task.measure(scores, batch)

    assert float(task.loss(scores, batch)) == pytest.approx(expected)
    assert int(task.weight(batch)) == 3
    assert [int(part) for part in measured["accuracy"]] == [2, 3]
    total, weight = (float(part) for part in measured["perplexity"])
    assert task.metrics["perplexity"].finish is not None
    value = task.metrics["perplexity"].finish(torch.tensor(total).numpy(), weight)
    assert value == pytest.approx(math.exp(expected), rel=1e-6)


def test_scores_of_sixteen_bits_are_summed_up_in_thirty_two():
    task = tiny()
    batch = (torch.zeros(1, 1000), torch.zeros(1, 1000, dtype=torch.int16))
    scores = torch.zeros(1, 1000, 3, dtype=torch.bfloat16)

    total, _ = task.measure(scores, batch)["perplexity"]

    assert float(total) == pytest.approx(1000 * math.log(3), rel=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 500])
def test_the_same_texts_in_other_batchings_have_the_same_loss(size):
    """Batches have different shares of padding, so a mean of their means would differ."""
    task = tiny()
    texts = ["ab", "to be, or not to be", "c" * 30, "xyz"]
    model = initial_model(task, seed=1)
    together = evaluate(task, model, encoded(task, *texts))

    task.evaluation_batch_size = size
    divided = evaluate(task, model, encoded(task, *texts))

    assert together.sums["loss"].weight == sum(len(text) - 1 for text in texts)
    assert divided.sums["loss"].weight == together.sums["loss"].weight
    assert divided.metrics == pytest.approx(together.metrics, rel=1e-5)


def test_padding_changes_no_prediction_of_a_real_character():
    task = tiny()
    model = initial_model(task, seed=1)
    alone = evaluate(task, model, encoded(task, "hello"))

    ragged = encoded(task, "hello", "a much longer text than that")
    first = TensorExamples(*(tensor[:1] for tensor in ragged.tensors))

    assert evaluate(task, model, first).metrics == pytest.approx(alone.metrics)


def test_gradients_do_not_depend_on_what_fills_a_sequence_up():
    task = tiny()
    inputs, targets = encoded(task, "hello").tensors
    others = inputs.clone()
    others[targets == PADDING] = 5

    def gradients(given: Tensor) -> list[Tensor]:
        model = initial_model(task, seed=1)
        loss = task.loss(task.outputs(model, (given, targets)), (given, targets))
        return list(torch.autograd.grad(loss, list(model.parameters())))

    for one, other in zip(gradients(inputs), gradients(others), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("targets", ["every", "last"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_text_that_repeats_is_learned(cell, targets):
    task = tiny(cell=cell, targets=targets)
    examples = encoded(task, LETTERS * 40)
    model = initial_model(task, seed=1)
    before = evaluate(task, model, examples)

    local_update(
        task,
        model,
        get_weights(model),
        examples,
        TrainingSettings(30 if targets == "every" else 6, 4, 1.0),
        torch.Generator().manual_seed(0),
    )
    after = evaluate(task, model, examples)

    assert before.metrics["accuracy"] < 0.3
    assert after.metrics["accuracy"] > 0.8
    assert after.metrics["perplexity"] == pytest.approx(math.exp(after.loss), rel=1e-6)


@pytest.mark.parametrize("targets", ["every", "last"])
def test_the_made_up_batch_is_one_that_a_run_can_be_tried_on(targets):
    task = tiny(targets=targets)

    check_task(task, initial_model(task, seed=0), task.sample_batch())


def test_the_model_is_that_of_the_literature():
    model = build_task("shakespeare", {}).build_model()

    assert isinstance(model, CharacterModel)
    assert (model.embedding.embedding_dim, model.recurrent.hidden_size) == (8, 256)
    assert model.recurrent.num_layers == 2
    assert sum(parameter.numel() for parameter in model.parameters()) == 824425


def test_a_step_at_a_time_gives_the_scores_of_the_whole_sequence():
    model = CharacterModel(10, hidden=6).eval()
    characters = torch.randint(10, (1, 5), generator=torch.Generator().manual_seed(0))
    whole = model(characters)[0]

    state, scores = None, []
    for position in range(5):
        step, state = model.step(characters[:, position : position + 1], state)
        scores.append(step)

    torch.testing.assert_close(torch.stack(scores), whole)


def test_there_are_no_classes_to_divide_by():
    task = tiny(targets="last")

    assert task.partition_labels(encoded(task, "a longer text")) is None


def test_accuracy_is_what_is_best():
    assert next(iter(tiny().metrics.items())) == ("accuracy", ACCURACY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "rnn"}, "cell = 'rnn' must be one of lstm, gru"),
        ({"hidden": 0}, "hidden = 0 must be 1 or more"),
        ({"embedding": -1}, "embedding = -1 must be 1 or more"),
        ({"context": 0}, "context = 0 must be 1 or more"),
        ({"alphabet": "klingon"}, "alphabet = 'klingon'"),
        ({"targets": "some"}, "targets = 'some'"),
        ({"temperature": -1.0}, r"temperature = -1\.0 must be 0"),
        ({"length": 0}, "length = 0 must be 1 or more"),
        ({"max_megabytes": 0.0}, r"max_megabytes = 0\.0 must be above 0"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(options, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**options)
