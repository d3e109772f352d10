"""A strategy's round of two small arrays, with replies that no participant had to compute."""

from dataclasses import replace
from typing import Any

import numpy as np
from flwr.common import (
    Code,
    EvaluateRes,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.client_manager import SimpleClientManager
from flwr.server.client_proxy import ClientProxy

from strategies import DeltaFedAvg

OK = Status(Code.OK, "")
W_T = [np.array([1.0, 2.0], np.float32), np.array(10.0, np.float32)]
TOP = float(np.finfo(np.float32).max)


class Proxy(ClientProxy):
    """A participant that is only there: nothing is asked of it."""

    def __init__(self, cid: str, participant: str | None = None) -> None:
        super().__init__(cid)
        if participant is not None:
            self.properties["participant"] = participant

    def _unasked(self, *_args: Any, **_kwargs: Any) -> Any:
        raise AssertionError("a strategy sends nothing itself")

    get_properties = get_parameters = fit = evaluate = reconnect = _unasked


def arrays(first: list[float], second: float) -> list[np.ndarray]:
    return [np.array(first, np.float32), np.array(second, np.float32)]


def reply(name: str, delta: list[np.ndarray], num_examples: Any = 1, **metrics: Any):
    result = FitRes(OK, ndarrays_to_parameters(delta), num_examples, {"update": "delta", **metrics})
    return Proxy(f"node-{name}", name), result


def raw_reply(name: str, *tensors: bytes):
    return Proxy(f"node-{name}", name), FitRes(
        OK, Parameters(list(tensors), "numpy.ndarray"), 1, {}
    )


def evaluation(name: str, loss: float, num_examples: int, **metrics: Any):
    return Proxy(f"node-{name}", name), EvaluateRes(OK, loss, num_examples, metrics)


def manager_of(*proxies: Proxy) -> SimpleClientManager:
    manager = SimpleClientManager()
    for proxy in proxies:
        assert manager.register(proxy)
    return manager


def participants(num: int, prefix: str = "node") -> list[Proxy]:
    return [Proxy(f"{prefix}-{i}", str(i)) for i in range(num)]


def in_a_round(weights: list[np.ndarray] = W_T, **arguments: Any) -> DeltaFedAvg:
    """A strategy that has sent `weights` to its participants."""
    strategy = DeltaFedAvg(**arguments)
    strategy.configure_fit(
        server_round=1,
        parameters=ndarrays_to_parameters(weights),
        client_manager=manager_of(*participants(2)),
    )
    return strategy


def aggregate(strategy: DeltaFedAvg, *results: Any, failures: Any = ()):
    parameters, metrics = strategy.aggregate_fit(
        server_round=1, results=list(results), failures=list(failures)
    )
    return (None if parameters is None else parameters_to_ndarrays(parameters)), metrics


def received(strategy: DeltaFedAvg, *results: Any, failures: Any = ()):
    """Like `aggregate`, but the replies are taken in one after the other, in order."""
    for proxy, result in sorted(results, key=lambda r: int(r[0].properties["participant"])):
        strategy.receive(1, proxy, result)
    bare = [(p, replace(r, parameters=Parameters([], ""))) for p, r in results]
    return aggregate(strategy, *bare, failures=failures)
