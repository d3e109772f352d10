"""A strategy as a round sees it."""

from typing import Any

import numpy as np
import pytest
from flwr.common import Parameters, ndarrays_to_parameters
from flwr.server.client_manager import SimpleClientManager
from flwr.server.strategy import FedAvg

from fl_app.rounds.round_strategy import DeltaRounds, FlowerRounds, round_strategy
from strategies import DeltaFedAvg
from strategies.core.npy import GlobalWeights
from strategies.flower_strategies import SeededStrategy


def test_a_strategy_with_a_way_of_its_own_is_called_as_flower_would():
    class Own(DeltaFedAvg):
        def aggregate_fit(self, server_round, results, failures):
            return super().aggregate_fit(server_round, results[:1], failures)

    assert isinstance(round_strategy(DeltaFedAvg()), DeltaRounds)
    assert isinstance(round_strategy(Own()), FlowerRounds)
    assert isinstance(round_strategy(FedAvg()), FlowerRounds)
    with pytest.raises(TypeError, match="takes no sum"):
        round_strategy(FedAvg()).receive_sum(1, [], [])


@pytest.mark.parametrize("seeded", [False, True])
def test_the_servers_evaluation_is_given_arrays_and_not_bytes_to_parse(seeded):
    """The parser of their headers fails in Python 3.11 where two threads use it at once."""
    given: list[Any] = []

    def see(server_round: int, weights: Any, config: Any) -> tuple[float, dict[str, Any]]:
        given.append(weights)
        return 0.0, {}

    plain = FedAvg(evaluate_fn=see)
    weights = GlobalWeights([np.ones(2, np.float32)])

    round_strategy(SeededStrategy(plain, 0) if seeded else plain).evaluate(1, weights)

    assert given[0] is weights.arrays


@pytest.mark.parametrize(
    ("aggregate", "told"),
    [
        (ndarrays_to_parameters([np.ones(3, np.float32)]), "does not have the model's shapes"),
        (Parameters([b"no array"], "numpy.ndarray"), "ValueError: array 0 cannot be decoded"),
    ],
)
def test_an_aggregate_that_is_no_model_ends_the_round_and_not_the_run(aggregate, told):
    class Odd(FedAvg):
        def configure_fit(self, server_round, parameters, client_manager):
            return []

        def aggregate_fit(self, server_round, results, failures):
            return aggregate, {}

    strategy = round_strategy(Odd())
    strategy.begin_round(1, GlobalWeights([np.ones(2, np.float32)]), SimpleClientManager())

    assert strategy.finish_round(1, []) == (None, {})
    assert told in str(strategy.unchanged())
