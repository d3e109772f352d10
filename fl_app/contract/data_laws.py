"""Laws of a task's data: the same each time, of one form, with a name for everything."""

import math
from collections.abc import Mapping, Sized

import numpy as np
import torch
from torch import Tensor

from fl_app.contract.trial import EXAMPLES, tensors_in, trial_of
from fl_app.data.tensor_dataset import Batch, TensorExamples
from fl_app.tasks.checks import describe
from strategies.contract.comparisons import demand
from strategies.contract.laws import Build


def loads_the_same_each_time(build: Build, generator: np.random.Generator) -> None:
    """Every process loads the data by itself, and indexes it alike."""
    trial, again = trial_of(build), trial_of(build).second
    for part in ("train", "test"):
        first, second = getattr(trial.data, part), getattr(again.data, part)
        demand(
            len(first) == len(second),
            f"load_data gave {len(first)} examples for {part}, and {len(second)} when it was "
            "called again; derive all random numbers in it from a fixed seed",
        )
        chosen = generator.permutation(len(first))[:EXAMPLES].astype(np.int64)
        if len(chosen) == 0:
            continue
        one, other = (t.batch(e.select(chosen)) for t, e in ((trial, first), (again, second)))
        demand(
            _same_bits(one, other),
            f"load_data gave other examples for {part} when it was called again; derive all "
            "random numbers in it (and in collate) from a fixed seed",
        )


def has_data_of_one_form(build: Build, generator: np.random.Generator) -> None:
    """What a model is tested on looks like what it is trained on."""
    trial = trial_of(build)
    if len(trial.data.test) == 0:
        return
    few = np.arange(min(EXAMPLES, len(trial.data.test)))
    test = trial.data.test.select(few)
    train = trial.some(generator, len(few))
    first, second = trial.batch(train), trial.batch(test)
    forms = [_form(batch, isinstance(train, TensorExamples)) for batch in (first, second)]
    demand(
        forms[0] == forms[1],
        f"a batch of the training data is ({describe(first)}), one of the test data "
        f"({describe(second)}); let both have as many tensors, of equal dtypes and dimensions",
    )


def counts_its_labels_and_owners(build: Build, generator: np.random.Generator) -> None:
    """A partition needs one label, and one owner, for each example."""
    data, task = trial_of(build).data, trial_of(build).task
    for part, examples in (("train", data.train), ("test", data.test)):
        labels = task.partition_labels(examples)
        _demand_length(labels, f"partition_labels of the {part} examples", len(examples))
        if labels is None or len(labels) == 0:
            continue
        demand(
            labels.dtype == np.int64 and labels.ndim == 1 and int(labels.min()) >= 0,
            f"partition_labels gave {labels.dtype} {list(labels.shape)} from {labels.min()}; it "
            "must give int64 [N], classes from 0",
        )
        names = len(data.label_names)
        demand(
            names == 0 or int(labels.max()) < names,
            f"there are {names} label_names, and a label is {labels.max()}; name every class, in "
            "the order of the labels",
        )
    demand(
        data.train_groups is None or data.test_groups is not None or len(data.test) == 0,
        "there are train_groups and no test_groups; give an owner to each test example as well",
    )
    if data.train_groups is not None and data.test_groups is not None:
        strangers = sorted(set(data.test_groups) - set(data.train_groups))
        demand(
            not strangers,
            f"{strangers[:1]} owns test examples and none to train on; leave these out",
        )


def says_texts_of_itself(build: Build, generator: np.random.Generator) -> None:
    """What a saved model says stands in its file, which holds texts only."""
    trial = trial_of(build)
    for name, said in (("metadata()", trial.task.metadata()), ("TaskData", trial.data.metadata)):
        wrong = [k for k, v in said.items() if not (isinstance(k, str) and isinstance(v, str))]
        demand(
            not wrong,
            f"the metadata of {name} has a {type(said[wrong[0]]).__name__ if wrong else ''} for "
            f"{wrong}; a saved file holds texts only: write json.dumps(...) of it",
        )
    metadata: Mapping[str, str] = {**trial.task.metadata(), **trial.data.metadata}
    trial.build().restore(metadata)


def leaves_examples_as_they_are(build: Build, generator: np.random.Generator) -> None:
    """Batches may be views of the data, which later rounds and other participants read."""
    trial = trial_of(build)
    examples = trial.some(generator)
    (batch,) = trial.batches(examples, [len(examples)])
    before = [tensor.clone() for tensor in tensors_in(batch)]
    trial.measured(trial.model(), batch)
    changed = [
        index
        for index, (tensor, old) in enumerate(zip(tensors_in(batch), before, strict=True))
        if not _bits_equal(tensor, old)
    ]
    demand(
        not changed,
        f"tensor {changed} of a batch is another one afterwards; in the model, loss and measure, "
        "write x = x - mean in place of x -= mean or x.sub_(mean)",
    )


def does_not_see_the_order(build: Build, generator: np.random.Generator) -> None:
    """What is measured of a batch does not depend on which example comes first."""
    trial = trial_of(build)
    examples, model = trial.some(generator), trial.model()
    order = generator.permutation(len(examples)).tolist()
    straight = trial.measured(model, trial.batch(examples))
    mixed = trial.measured(model, trial.batch(examples, order))
    for name, pair in straight.items():
        other = mixed[name]
        same = bool(np.allclose(pair.total, other.total, rtol=1e-3, atol=1e-4))
        demand(
            same and math.isclose(pair.weight, other.weight),
            f"{name} of a batch is {pair.total} / {pair.weight}, and {other.total} / "
            f"{other.weight} in another order; look in collate, loss and measure for what goes by "
            "the first example, such as padding to its length",
        )


def _demand_length(values: Sized | None, what: str, count: int) -> None:
    demand(
        values is None or len(values) == count,
        f"{what}: there are {0 if values is None else len(values)} for {count} examples; give "
        "one for each, in their order",
    )


def _same_bits(one: Batch, other: Batch) -> bool:
    first, second = tensors_in(one), tensors_in(other)
    return len(first) == len(second) and all(map(_bits_equal, first, second))


def _bits_equal(one: Tensor, other: Tensor) -> bool:
    same_form = one.dtype == other.dtype and one.shape == other.shape
    return same_form and bool(torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)))


def _form(batch: Batch, of_rows: bool) -> list[tuple[torch.dtype, object]]:
    """Return dtype and form of each tensor; what is collated may differ in length."""
    return [
        (tensor.dtype, tuple(tensor.shape[1:]) if of_rows else tensor.ndim)
        for tensor in tensors_in(batch)
    ]
