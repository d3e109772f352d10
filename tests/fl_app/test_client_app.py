import numpy as np
import pytest
import torch
from flwr.app import Message, RecordDict
from flwr.common import GetPropertiesIns
from flwr.compat.common.recorddict_compat import getpropertiesins_to_recorddict
from torch import Tensor

from fl_app.client_app import app, client_fn
from fl_app.core.errors import ConfigError
from fl_app.core.metrics import ACCURACY, decode, finished
from fl_app.tasks.registry import MODELS
from scripts.harness.in_process_grid import InProcessGrid
from tests.fl_app.linear_client import bits, fit, initial, node, participant
from tests.support.linear_model import Linear

# The participant


def test_it_returns_a_delta_when_asked_and_weights_otherwise(config):
    w_t = initial(config)

    delta, n, delta_metrics = participant(config).fit(w_t, {"update": "delta", "server-round": 1})
    weights, _, weights_metrics = participant(config).fit(w_t, {"server-round": 1})

    assert n == 1437 // 3
    assert (delta_metrics["update"], weights_metrics["update"]) == ("delta", "weights")
    for d, w_i, w in zip(delta, weights, w_t, strict=True):
        np.testing.assert_array_equal(d, w_i - w)
    norm = sum(float((d.astype(np.float64) ** 2).sum()) for d in delta) ** 0.5
    assert delta_metrics["update-norm"] == pytest.approx(norm, rel=1e-5)
    assert norm > 0.01


def test_its_metrics_are_flat_scalars(config):
    _, _, metrics = participant(config).fit(initial(config), {"update": "delta"})

    assert set(metrics) >= {"train-measures", "update-norm", "train-seconds"}
    assert all(isinstance(value, str | float | int) for value in metrics.values())


def test_seed_round_and_partition_each_decide_the_order_of_examples(config):
    base = bits(fit(config, 0, **{"server-round": 1}))

    assert bits(fit(config, 0, **{"server-round": 1})) == base
    assert bits(fit(config, 0, **{"server-round": 2})) != base
    assert bits(fit(config, 1, **{"server-round": 1})) != base
    assert bits(fit(config | {"seed": 43}, 0, **{"server-round": 1})) != base


def test_without_the_servers_round_it_counts_its_own_in_the_state_that_persists(config):
    state, w_t = RecordDict(), initial(config)

    counted = [bits(participant(config, 0, state).fit(w_t, {})[0]) for _ in range(3)]

    assert counted == [bits(fit(config, 0, **{"server-round": r})) for r in (1, 2, 3)]


def test_it_counts_on_from_the_latest_round_it_was_told(config):
    state, w_t = RecordDict(), initial(config)
    participant(config, 0, state).fit(w_t, {"server-round": 7})

    after = bits(participant(config, 0, state).fit(w_t, {})[0])

    assert after == bits(fit(config, 0, **{"server-round": 8}))


def test_weights_that_came_are_not_mutated(config):
    w_t = initial(config)
    before = bits(w_t)

    participant(config).fit(w_t, {})
    participant(config).evaluate(w_t, {})

    assert bits(w_t) == before


def test_it_evaluates_on_its_own_test_examples(config):
    results = [participant(config, i).evaluate(initial(config), {}) for i in range(3)]

    assert [n for _, n, _ in results] == [120, 120, 120]
    assert len({loss for loss, _, _ in results}) == 3
    for loss, _, metrics in results:
        assert 1.5 < loss < 4  # near log(10): nobody has learnt anything yet
        assert 0 <= finished({"accuracy": ACCURACY}, decode(metrics["measures"]))["accuracy"] <= 1


def test_it_says_who_it_is(config):
    assert participant(config, 2).get_properties({})["participant"] == "2"


def test_its_initial_weights_are_those_of_the_run(config):
    assert bits(participant(config, 1).get_parameters({})) == bits(initial(config))


def test_the_servers_data_set_goes_before_the_run_configs(config):
    auto = config | {"dataset": "mnist"}

    update = fit(auto, 0, dataset="digits", **{"server-round": 1})

    assert bits(update) == bits(fit(config, 0, **{"server-round": 1}))


def test_a_message_names_no_code_that_the_run_config_does_not(config, tmp_path):
    sentinel, code = tmp_path / "ran", tmp_path / "code.py"
    code.write_text(
        f"open({str(sentinel)!r}, 'w').close()\n"
        "from fl_app.data.datasets import load_digits as load\n"
    )

    with pytest.raises(ConfigError, match="the server says that the data set is"):
        fit(config, 0, dataset=f"{code}:load", **{"server-round": 1})
    assert not sentinel.exists()

    own = config | {"dataset": f"{code}:load"}
    update = fit(own, 0, dataset=f"{code}:load", **{"server-round": 1})
    assert bits(update) == bits(fit(config, 0, **{"server-round": 1}))


@pytest.mark.parametrize("threads", [1, 2])
def test_training_and_evaluation_use_the_configs_number_of_threads(config, monkeypatch, threads):
    seen: set[int] = set()

    class Watching(Linear):
        def forward(self, images: Tensor) -> Tensor:
            seen.add(torch.get_num_threads())
            return super().forward(images)

    monkeypatch.setitem(MODELS, "linear", Watching)
    one = participant(config | {"threads-per-client": threads})

    one.fit(initial(config), {})
    one.evaluate(initial(config), {})

    assert seen == {threads}


# The node config


def test_a_missing_partition_id_is_refused_with_what_to_do(config):
    with pytest.raises(ConfigError, match=r"partition-id is missing; start .* --node-config"):
        client_fn(node(config, num_partitions=3))


@pytest.mark.parametrize("partition_id", [-1, 3, "0", 1.0])
def test_an_invalid_partition_id_is_refused_with_what_is_allowed(config, partition_id):
    with pytest.raises(ConfigError, match=r"partition-id = .* must be a whole number from 0 to 2"):
        client_fn(node(config, partition_id=partition_id, num_partitions=3))


@pytest.mark.parametrize("num_partitions", [2, 4])
def test_another_number_of_participants_is_refused_with_both_numbers(config, num_partitions):
    with pytest.raises(ConfigError, match=rf"{num_partitions} participants.*num-participants = 3"):
        client_fn(node(config, partition_id=0, num_partitions=num_partitions))


def test_a_failure_is_answered_with_its_cause(config):
    """Not with Flower's bare "crashed": the server's log and files tell what to mend."""
    grid = InProcessGrid(app, config, 1)  # one node, where the run config says three
    (node_id,) = grid.contexts
    content = getpropertiesins_to_recorddict(GetPropertiesIns({}))
    message = Message(content, dst_node_id=node_id, message_type="get_properties")

    (reply,) = grid.send_and_receive([message])

    assert reply.has_error()
    assert "num-participants = 3" in str(reply.error.reason)
