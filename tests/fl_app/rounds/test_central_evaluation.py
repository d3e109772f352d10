import numpy as np
from flwr.common import ndarrays_to_parameters

from strategies import DeltaFedAvg
from tests.support.toy_rounds import Recorder, grid_of, run


def test_the_server_evaluates_the_initial_and_all_new_weights():
    recorder = Recorder()
    strategy = DeltaFedAvg(
        initial_parameters=ndarrays_to_parameters([np.zeros(1, np.float32)]),
        evaluate_fn=lambda server_round, weights, config: (
            float(weights[0][0]) + 10 * server_round,
            {"accuracy": 0.25, "num-examples": 7},
        ),
    )

    run(grid_of(3), [recorder], strategy=strategy)

    central = [report.central for report in recorder.reports]
    assert [c.loss for c in central if c is not None] == [0.0, 11.0, 22.0, 33.0]
    assert all(
        c is not None and (c.metrics, c.num_examples) == ({"accuracy": 0.25}, 7) for c in central
    )
