import json

import numpy as np
import pytest
import torch
from PIL import Image

from fl_app.data.datasets import load_dataset
from fl_app.results.saved_model import load_model
from scripts.analysis.class_scores import class_scores, format_table, plot_confusion
from scripts.analysis.evaluate import main
from tests.fl_app.results.test_reader import write_model


def test_scores_worked_out_by_hand():
    truth, predicted = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 1])
    scores = class_scores(truth, predicted, ("a", "b", "never seen"))
    assert scores.support.tolist() == [4, 2, 0]
    assert scores.confusion.tolist() == [[3, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert scores.precision == pytest.approx([1, 2 / 3, 0])
    assert scores.recall == pytest.approx([3 / 4, 1, 0])
    assert scores.f1 == pytest.approx([6 / 7, 4 / 5, 0])
    lines = format_table(scores).splitlines()
    assert lines[1].split() == ["a", "4", "100.00%", "75.00%", "85.71%"]
    assert lines[4].split() == ["mean", "6", "55.56%", "58.33%", "55.24%"]
    assert len({len(line) for line in lines}) == 1


def test_the_whole_test_set_is_evaluated(tmp_path, capsys):
    file = write_model(tmp_path / "model.safetensors", scale=2.0)
    assert main([str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out

    test = load_dataset("digits", tmp_path).test
    with torch.no_grad():
        log_probabilities = load_model(file)[0](test.images)
    right = (log_probabilities.argmax(1) == test.labels).sum().item()
    loss = -log_probabilities[torch.arange(len(test)), test.labels].mean().item()

    content = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert content["accuracy"] == right / 360
    assert content["loss"] == pytest.approx(loss, rel=1e-5)
    assert content["support"] == torch.bincount(test.labels).tolist()
    confusion = np.array(content["confusion"])
    assert confusion.sum(axis=1).tolist() == content["support"]
    assert confusion.trace() == right
    assert f"accuracy  {right / 360:.2%}" in output
    assert str(file) in output
    with Image.open(tmp_path / "out/confusion.png") as image:
        assert image.format == "PNG"


def test_best_is_another_file(tmp_path, capsys):
    write_model(tmp_path / "model.safetensors")
    write_model(tmp_path / "best.safetensors", scale=2.0)
    assert main([str(tmp_path), "--best"]) == 0
    assert "best.safetensors" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "does not exist"),
        (["unnamed.safetensors"], "use --dataset"),
        (["m.safetensors", "--output", "m.safetensors"], "cannot be written"),
        (["m.safetensors", "--best"], "in a run directory only"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "m.safetensors")
    write_model(tmp_path / "unnamed.safetensors", metadata={"model": "simple-cnn"})
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_a_confusion_matrix_must_fit_its_names(tmp_path):
    with pytest.raises(ValueError, match="do not fit 3 class names"):
        plot_confusion(np.zeros((2, 2), np.int64), ("a", "b", "c"), tmp_path / "a.png", "t")


def test_a_file_names_no_data_sets_code_to_run_but_the_user_may(tmp_path, capsys):
    code = tmp_path / "data.py"
    code.write_text("from fl_app.data.datasets import load_digits as load\nprint('was run')\n")
    metadata = {"model": "simple-cnn", "dataset": f"{code}:load"}
    write_model(tmp_path / "model.safetensors", metadata=metadata)

    assert main([str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "which is code of yours; to run that code, say so with --dataset" in told.err
    assert "was run" not in told.out

    assert main([str(tmp_path), "--dataset", f"{code}:load"]) == 0
    assert "was run" in capsys.readouterr().out


def test_an_unknown_data_set_is_told_with_those_there_are(tmp_path, capsys):
    write_model(tmp_path / "model.safetensors")

    assert main([str(tmp_path), "--dataset", "digit"]) == 1
    assert 'dataset = "digit" is not known; did you mean digits?' in capsys.readouterr().err
