"""The server, as in Flower's PyTorch tutorial: FedAvg and Flower's own loop."""

import json
import time
from collections.abc import Sequence
from logging import INFO
from pathlib import Path

from flwr.common import Context, Metrics, NDArrays, Scalar, ndarrays_to_parameters
from flwr.common.logger import log
from flwr.server import ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.serverapp import ServerApp

from .task import SimpleCNN, get_weights, load_data, set_weights, test


def weighted_average(metrics: Sequence[tuple[int, Metrics]]) -> Metrics:
    """Average the accuracy over examples."""
    total = sum(examples for examples, _ in metrics)
    return {"accuracy": sum(examples * float(m["accuracy"]) for examples, m in metrics) / total}


def server_fn(context: Context) -> ServerAppComponents:
    """Build the server; it notes when each round's model was evaluated."""
    config = context.run_config
    _, testloader = load_data(str(config["data-dir"]), 0, 1, int(str(config["batch-size"])))
    net = SimpleCNN()
    folder = Path(str(config["output-dir"])) / f"stock-{context.run_id}"
    folder.mkdir(parents=True)
    log(INFO, "results: %s", folder)

    def evaluate(
        server_round: int, weights: NDArrays, _: dict[str, Scalar]
    ) -> tuple[float, dict[str, Scalar]]:
        set_weights(net, weights)
        loss, accuracy = test(net, testloader)
        row = {"round": server_round, "time": time.time(), "accuracy": accuracy}
        with (folder / "rounds.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        return loss, {"accuracy": accuracy}

    strategy = FedAvg(
        min_available_clients=int(str(config["num-participants"])),
        initial_parameters=ndarrays_to_parameters(get_weights(net)),
        evaluate_fn=evaluate,
        evaluate_metrics_aggregation_fn=weighted_average,
    )
    server_config = ServerConfig(num_rounds=int(str(config["num-server-rounds"])))
    return ServerAppComponents(strategy=strategy, config=server_config)


app = ServerApp(server_fn=server_fn)
