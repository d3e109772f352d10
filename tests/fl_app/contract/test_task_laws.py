"""Every law of tasks can be broken, and is told in a sentence that says what to change."""

import re
from pathlib import Path

import pytest

import fl_app.core.plugins  # noqa: F401 - declares the kind "task"
from fl_app.contract.task_laws import LAWS
from scripts.analysis import contract
from strategies.contract import CannotBeCheckedError, check_part
from strategies.part_kinds import KINDS

OWN = Path(__file__).with_name("task_breakers.py")

BREAKS = [
    ("Reloading", "data is the same", "derive all random numbers in it"),
    ("Growing", "data is the same", "derive all random numbers in it"),
    ("TwoForms", "one form", "as many tensors, of equal dtypes"),
    ("FewNames", "label and an owner", "there are 2 label_names, and a label is 2"),
    ("Strangers", "label and an owner", r"\['c'\] owns test examples and none to train on"),
    ("NumberInMetadata", "made of texts", r"a float for \['mean'\]; .* json.dumps"),
    ("LossOfEach", "fit the data", "the mean over the batch"),
    ("Narrow", "fit the data", r"fails on a batch of its data \(float32 \[4, 3\], int64 \[4\]\)"),
    ("Unmeasured", "fit the data", r"let it give a pair \(sum, weight\) for each"),
    ("Unfinished", "fit the data", r"or say in Metric\(finish=...\)"),
    ("DictBatches", "fit the data", r"the weight of .* fails .*: override weight as well"),
    ("NegativeWeight", "fit the data", r"weight of the metric accuracy .* is -1; it must be one"),
    ("UnworkableFinish", "fit the data", "finish of the metric accuracy .* KeyError: 'x'"),
    ("MeasuresLoss", "fit the data", "every task has it anyway: take it out"),
    ("TakenName", "fit the data", "has the name 'num_examples'; take another"),
    ("NameOfTwoWords", "fit the data", "has the name 'my score'; take another, without spaces"),
    ("BetterDown", "fit the data", r'for \'accuracy\'; it must be Metric\("higher"\) or'),
    ("ListOfMetrics", "fit the data", "is a list; it must be a dict of Metric by name"),
    ("Forgetful", "for each metric", r"let it give a pair \(sum, weight\) for each"),
    ("MeanMetric", "metrics merge", "a sum and what it is divided by, not a mean"),
    ("SummedLoss", "loss merges", "it is no mean"),
    ("Padding", "loss merges", "how far they are padded"),
    ("SummedLoss", "is a mean", "divide by the number of terms"),
    ("BatchedWeight", "is a mean", "it must be twice as much"),
    ("FirstCounts", "order of examples", "padding to its length"),
    ("Scribbling", "stay as they are", "x = x - mean in place of"),
    ("NumpyWeights", "initial weights", "fc.weight begins with other values"),
    ("NumpyDropout", "local update", "draw random numbers in forward and loss by torch"),
    ("Fickle", "federated is the same", r"\['own'\]; let is_federated depend on the name alone"),
    ("Thawing", "frozen parameters", "training changes frozen"),
    ("Hidden", "hold the whole model", "register_buffer it"),
    ("Unused", "reach every parameter", r"depend on spare.weight, spare.bias; use it in forward"),
    ("Rising", "loss falls", "the wrong sign"),
]


@pytest.mark.parametrize(("name", "law", "told"), BREAKS)
def test_a_task_that_breaks_a_law_is_told_which_and_what_to_change(name, law, told):
    broken = {v.law.says: v.broken for v in check_part("task", f"{OWN}:{name}") if v.broken}

    (how,) = [sentence for says, sentence in broken.items() if law in says]
    assert re.search(told, how), how


def test_what_all_later_laws_would_repeat_is_told_once():
    verdicts = check_part("task", f"{OWN}:Narrow")

    assert [v.law.says for v in verdicts if v.broken] == ["model, loss and metrics fit the data"]
    assert verdicts[-1].broken is not None


def test_every_law_has_a_task_that_breaks_it():
    told = [says for _, says, _ in BREAKS]

    assert [law.says for law in LAWS if not any(says in law.says for says in told)] == []


def test_a_task_that_obeys_breaks_none():
    assert [v.broken for v in check_part("task", f"{OWN}:Good") if v.broken] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS["task"].names)
def test_the_tasks_of_the_project_obey_all_laws(name):
    needed = {
        "image-classification": "image-classification(dataset='digits')",
        "table": "table(target='outcome', classes='no,yes')",
    }
    name = needed.get(name, name)
    try:
        verdicts = check_part("task", name)
    except CannotBeCheckedError as error:
        pytest.skip(f"its data is not here: {error}")

    assert [v.broken for v in verdicts if v.broken] == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NoData", "plays are not here; pip install plays brings them"),
        ("Bug", "the task Bug cannot load its data or build its model: KeyError: 'column'"),
        ("Untrainable", "there is nothing to train"),
        ("FewOwners", "train_groups: there are 2 for 40 examples; give one for each"),
        ("NumberedOwners", "train_groups is a ndarray; it must be a list of texts"),
        ("NoTestSet", "gave a NoneType for test; it must be examples"),
        ("PairForExamples", "gave a tuple for train; it must be examples"),
        ("BugInInit", "KeyError: 'width'"),
    ],
)
def test_what_no_law_can_be_tried_on_is_told_once(capsys, name, told):
    assert contract.main(["task", f"{OWN}:{name}"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_the_command_tells_the_broken_law_and_its_status(capsys):
    assert contract.main(["task", f"{OWN}:Good"]) == 0
    assert "holds  the loss is a mean\n" in capsys.readouterr().out

    assert contract.main(["task", f"{OWN}:Unused"]) == 0
    assert "BROKEN (gradients reach every parameter)\n" in capsys.readouterr().out

    assert contract.main(["task", f"{OWN}:SummedLoss"]) == 1
    assert "BROKEN the loss is a mean\n       the loss of a batch is" in capsys.readouterr().out
