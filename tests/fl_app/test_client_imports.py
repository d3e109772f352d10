"""In deployment every message starts a process: what it imports is part of every round."""

import subprocess
import sys

import pytest
from PIL import Image

from scripts.repository import REPOSITORY

pytestmark = pytest.mark.slow

# Seconds each; the server's half and the commands may use them.
NOT_NEEDED = {
    "datasets",
    "dp_accounting",
    "flwr_datasets",
    "matplotlib",
    "pandas",
    "pyarrow",
    "ray",
    "scipy",
    "sklearn",
    "tensorboard",
    "torchvision",
    "fl_app.results.run_directory",
    "fl_app.plots.training_curves",
    "fl_app.server_app",
    "fl_app.rounds.round_loop",
}

ONE_ROUND = """
import sys
from flwr.app import Context, RecordDict
from fl_app.client_app import client_fn
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import build_model

config = {config!r}
node = {{"name": "north", "data": {data!r}}}
context = Context(run_id=1, node_id=1, node_config=node, state=RecordDict(), run_config=config)
client = client_fn(context).numpy_client
weights = get_weights(build_model(config["model"], config["seed"]))
_, trained, _ = client.fit(weights, {{}})
_, evaluated, _ = client.evaluate(weights, {{}})
print(trained + evaluated, *sorted(set({not_needed!r}) & set(sys.modules)))
"""


def test_a_participant_with_its_own_images_imports_nothing_slow_that_it_does_not_need(
    run_config, tmp_path
):
    for name in ("dark", "light"):
        (tmp_path / "north" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("L", (28, 28), index).save(tmp_path / "north" / name / f"{index}.png")
    config = run_config | {"dataset": "own", "class-names": "dark,light"}
    code = ONE_ROUND.format(
        config=config, data=str(tmp_path / "north"), not_needed=sorted(NOT_NEEDED)
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )

    assert done.stdout.split() == ["8"], done.stdout + done.stderr
