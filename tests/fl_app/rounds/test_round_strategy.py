"""A strategy as a round sees it."""

import pytest
from flwr.server.strategy import FedAvg

from fl_app.rounds.round_strategy import DeltaRounds, FlowerRounds, round_strategy
from strategies import DeltaFedAvg


def test_a_strategy_with_a_way_of_its_own_is_called_as_flower_would():
    class Own(DeltaFedAvg):
        def aggregate_fit(self, server_round, results, failures):
            return super().aggregate_fit(server_round, results[:1], failures)

    assert isinstance(round_strategy(DeltaFedAvg()), DeltaRounds)
    assert isinstance(round_strategy(Own()), FlowerRounds)
    assert isinstance(round_strategy(FedAvg()), FlowerRounds)
    with pytest.raises(TypeError, match="takes no sum"):
        round_strategy(FedAvg()).receive_sum(1, [], [])
