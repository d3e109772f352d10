"""The evaluation on the server's own test set, beside whatever else goes on."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fl_app.results.records import Score, as_numbers
from fl_app.rounds.round_strategy import RoundStrategy
from strategies.core.npy import GlobalWeights


@dataclass(frozen=True)
class CentralScore:
    """The evaluation on the server; `score` is `None` if it has no test set."""

    score: Score | None
    seconds: float


class CentralEvaluation:
    """Evaluates on the server in a thread, so that the participants need not wait for it."""

    def __init__(self, strategy: RoundStrategy, thread: ThreadPoolExecutor) -> None:
        """Set up.

        Args:
            strategy: Evaluates.
            thread: Where; one thread, so that one evaluation follows the other.
        """
        self._strategy = strategy
        self._thread = thread

    def begin(self, server_round: int, weights: GlobalWeights) -> Future[CentralScore]:
        """Start to evaluate the global weights after a round."""
        return self._thread.submit(self._evaluate, server_round, weights)

    def _evaluate(self, server_round: int, weights: GlobalWeights) -> CentralScore:
        start = time.monotonic()
        evaluated = self._strategy.evaluate(server_round, weights)
        if evaluated is None:
            return CentralScore(None, 0.0)
        loss, metrics = evaluated
        examples = metrics.pop("num-examples", 0)
        count = examples if isinstance(examples, int) else 0
        score = Score(loss, as_numbers(metrics), count)
        return CentralScore(score, time.monotonic() - start)
