"""One task learned in three ways: by federated averaging, with all data in one place, and alone.

All three see the same training examples as often: `num-server-rounds` times `local-epochs`. All are
scored on the same test examples: those of all participants, metrics summed over them. Alone,
everybody is scored with a model of its own.
"""

import json
import tempfile
from typing import Any, Literal

from fl_app.core.metrics import Sums, finished, merge
from fl_app.core.run_config import RunConfig
from fl_app.core.seeding import training_generator
from fl_app.tasks.client_data import LocalTask
from fl_app.tasks.common_data import resolve_name
from fl_app.tasks.model.parameters import get_weights
from fl_app.training.local.local_training import cpu_threads, evaluate, local_update
from fl_app.training.settings import training_settings
from scripts.harness.in_process_run import run_app

Arm = Literal["federated", "pooled", "local-only"]
Scores = dict[str, float]

ARMS: tuple[Arm, ...] = ("federated", "pooled", "local-only")

# What only matters where several participants are averaged.
_ALONE = {"server-optimizer": "sgd", "server-lr-schedule": "constant"}
# What is better for whoever trains without others than the federated run's settings.
_BETTER_ALONE: dict[str, dict[str, Any]] = {
    "course-ratings": {"task": "course-ratings(side_scale=0.3)"},
}
_BETTER_LOCAL: dict[str, dict[str, Any]] = {"credit": {"learning-rate": 0.05}}


def score(arm: Arm, config: dict[str, Any]) -> Scores:
    """Learn a task in one of the ways, and return the loss and every metric in the end.

    Args:
        arm: The way.
        config: A whole run config, of the federated run.
    """
    task = str(config["task"]).partition("(")[0]
    if arm != "federated":
        config = {**config, **_ALONE, **_BETTER_ALONE.get(task, {})}
    if arm == "local-only":
        return _local_only(RunConfig.from_run_config(config | _BETTER_LOCAL.get(task, {})))
    if arm == "pooled":
        one = {"num-participants": 1, "partitioner": "contiguous", "local-parameters": ""}
        config = {**config, **one}
    with tempfile.TemporaryDirectory(prefix="study-") as scratch:
        directory = run_app({**config, "output-dir": scratch, "tensorboard": False})
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    found: Scores = dict(summary["federated"])
    found.pop("num_examples")
    return found


def _local_only(config: RunConfig) -> Scores:
    name = resolve_name(config)
    alone = [
        LocalTask(config, {"partition-id": i, "num-partitions": config.num_participants}, name)
        for i in range(config.num_participants)
    ]
    with cpu_threads(config.threads_per_client):
        sums = [_trained_alone(participant, config) for participant in alone]
    return finished(alone[0].task.metrics, merge(sums))


def _trained_alone(local: LocalTask, config: RunConfig) -> Sums:
    """Train on one participant's examples alone; return its sums on its own test examples."""
    model, data = local.model(), local.data()
    if len(data.test) == 0:
        return {}
    weights = get_weights(model)
    for server_round in range(1, config.num_server_rounds + 1):
        settings = training_settings(config, server_round)
        generator = training_generator(config.seed, server_round, local.name)
        update = local_update(local.task, model, weights, data.train, settings, generator)
        weights = update.weights  # what is local stays in the model
    return evaluate(local.task, model, data.test).sums
