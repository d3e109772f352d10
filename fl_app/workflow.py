"""The round loop: the only place that loops over rounds."""

import time
from collections.abc import Sequence
from logging import WARNING
from typing import Protocol

from flwr.common import Parameters
from flwr.common.logger import log
from flwr.server.compat import LegacyContext
from flwr.serverapp import Grid

from fl_app.participants import Participants
from fl_app.phases import Phases
from fl_app.reports import RoundReport, Score, as_number


class RoundHook(Protocol):
    """Something that happens after each round; hooks run in the order they are given."""

    def after_round(self, report: RoundReport, parameters: Parameters) -> str | None:
        """Look at a round, the initial evaluation (round 0) included.

        Args:
            report: What happened.
            parameters: The global weights after the round.

        Returns:
            Why the run should end here, as a sentence; `None` lets it go on.
        """
        ...


class FederatedWorkflow:
    """Steps 2 to 5 of the algorithm, over Flower's grid.

    A round asks the sampled participants to train, aggregates their updates, and
    evaluates the new global model on the server and on the participants. A round in which
    nothing could be aggregated leaves the global model as it was and counts as a round.
    """

    def __init__(self, hooks: Sequence[RoundHook], num_participants: int) -> None:
        """Set up.

        Args:
            hooks: What happens after each round.
            num_participants: How many participants to wait for before round 1.
        """
        self._hooks = hooks
        self._num_participants = num_participants

    def __call__(self, grid: Grid, context: LegacyContext) -> str:
        """Run the rounds; return the reason for which they ended.

        Args:
            grid: Flower's connection to the nodes.
            context: Holds strategy, client manager and number of rounds.

        Raises:
            ValueError: If the strategy has no initial parameters.
        """
        strategy = context.strategy
        participants = Participants(grid, context.client_manager)
        phases = Phases(grid, context.client_manager, strategy)
        parameters = strategy.initialize_parameters(client_manager=context.client_manager)
        if parameters is None:
            raise ValueError("the strategy has no initial_parameters; the server sets them")

        reason = self._after_round(self._evaluate_initial(context, parameters), parameters)
        participants.wait_for(self._num_participants)
        for server_round in range(1, context.config.num_rounds + 1):
            if reason is not None:
                return reason
            participants.refresh()
            report, parameters = self._run_round(server_round, parameters, phases, context)
            reason = self._after_round(report, parameters)
        return reason or f"all {context.config.num_rounds} rounds are done"

    def _evaluate_initial(self, context: LegacyContext, parameters: Parameters) -> RoundReport:
        start = time.monotonic()
        score = _central_score(context, 0, parameters)
        return RoundReport(0, central=score, evaluate_seconds=time.monotonic() - start)

    def _run_round(
        self, server_round: int, parameters: Parameters, phases: Phases, context: LegacyContext
    ) -> tuple[RoundReport, Parameters]:
        fit = phases.fit(server_round, parameters)
        if fit.parameters is None:
            log(WARNING, "round %s changed nothing: no update to aggregate", server_round)
        new_parameters = fit.parameters or parameters

        start = time.monotonic()
        evaluation = phases.evaluate(server_round, new_parameters)
        report = RoundReport(
            server_round=server_round,
            aggregated=fit.parameters is not None,
            central=_central_score(context, server_round, new_parameters),
            federated=evaluation.score,
            train_loss=fit.train_loss,
            train_accuracy=fit.train_accuracy,
            participants=fit.participants,
            evaluation_failures=evaluation.failures,
            bytes_up=sum(p.bytes_up for p in fit.participants),
            bytes_down=sum(p.bytes_down for p in fit.participants) + evaluation.bytes_down,
            fit_seconds=fit.seconds,
            evaluate_seconds=time.monotonic() - start,
        )
        return report, new_parameters

    def _after_round(self, report: RoundReport, parameters: Parameters) -> str | None:
        """Run every hook, and return the first reason to stop."""
        reasons = [hook.after_round(report, parameters) for hook in self._hooks]
        return next((reason for reason in reasons if reason is not None), None)


def _central_score(
    context: LegacyContext, server_round: int, parameters: Parameters
) -> Score | None:
    evaluated = context.strategy.evaluate(server_round=server_round, parameters=parameters)
    if evaluated is None:
        return None
    loss, metrics = evaluated
    examples = metrics.get("num-examples")
    return Score(
        loss=loss,
        accuracy=as_number(metrics.get("accuracy")),
        num_examples=examples if isinstance(examples, int) else 0,
    )
