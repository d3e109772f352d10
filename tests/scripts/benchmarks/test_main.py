import json
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy.aggregate import aggregate_inplace

from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.registry import build_model
from scripts.benchmarks import aggregation, main
from scripts.benchmarks.aggregation import Size, replies
from scripts.benchmarks.table import interleave, median_ratio
from scripts.benchmarks.training import pictures
from scripts.harness.reference import TextbookCNN


def test_cases_take_turns_and_the_first_turn_is_not_measured():
    turns: list[str] = []
    cases = {name: lambda name=name: turns.append(name) for name in ("a", "b")}

    seconds = interleave(cases, 2)

    assert turns == ["a", "b"] * 3
    assert [len(times) for times in seconds.values()] == [2, 2]


def test_the_ratio_is_that_of_neighbours():
    # A machine that became ten times slower half-way changes nothing.
    assert median_ratio([2.0, 2.0, 20.0, 20.0], [1.0, 1.0, 10.0, 10.0]) == 2.0


def test_the_textbook_model_is_the_same_function():
    model = build_model("simple-cnn", 0)
    textbook = TextbookCNN.with_weights_of(model)
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(textbook(images), model(images), rtol=0, atol=1e-6)


def test_random_pictures_stand_in_for_mnist(tmp_path):
    data, kind = pictures(tmp_path, 5)

    examples = data.examples()

    assert kind.startswith("random")
    assert isinstance(examples, ImageExamples)
    for index in range(5):
        image, label = data[index]
        assert torch.equal(image, examples.images[index])
        assert label == examples.labels[index]


def test_replies_share_bytes_beyond_a_bound(monkeypatch):
    monkeypatch.setattr(aggregation, "_DISTINCT", 2)

    made = replies(Size("few", 5, [(3,)]))

    assert len(made) == 5
    assert made[4].parameters is made[0].parameters


def test_the_product_agrees_with_flowers_aggregation():
    results = replies(Size("few", 4, [(3, 2), (5,)]))

    ours = aggregation.product(results)

    theirs = aggregate_inplace([(Mock(spec=ClientProxy), r) for r in results])
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_a_quick_run_prints_every_table_and_writes_it_down(tmp_path, capsys):
    threads = torch.get_num_threads()
    output = tmp_path / "benchmark.json"

    main.main(["--quick", "--data-dir", str(tmp_path), "--output", str(output)])

    record = json.loads(output.read_text())
    tables = {row["table"] for row in record["rows"]}
    assert tables == {"training", "evaluation", "aggregation of 3 SimpleCNN"}
    assert all(row["seconds"] > 0 and row["ratio"] > 0 for row in record["rows"])
    assert {row["table"] for row in record["codecs"]} == {"SimpleCNN"}
    assert record["machine"]["cores"] >= 1
    printed = capsys.readouterr().out
    assert all(f"| {row['case']} |" in printed for row in record["rows"])
    assert all(f"| {row['codec']} |" in printed for row in record["codecs"])
    assert torch.get_num_threads() == threads


def test_nonsense_on_the_command_line_is_refused(capsys):
    with pytest.raises(SystemExit):
        main.main(["--repeats", "0"])

    assert "at least 1" in capsys.readouterr().err
