"""The round loop: the only place that loops over rounds."""

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from flwr.serverapp import Grid

from fl_app.messaging.client_registry import ClientRegistry
from fl_app.messaging.flower_compat import LegacyContext
from fl_app.results.records import RoundReport
from fl_app.rounds.central_evaluation import CentralEvaluation, CentralScore
from fl_app.rounds.phases import Phases
from fl_app.rounds.round_results import EvaluateResult, TrainResult
from fl_app.rounds.round_strategy import RoundStrategy, round_strategy
from fl_app.rounds.settings import WorkflowSettings
from strategies.core.client_update import Arrays
from strategies.core.npy import GlobalWeights
from strategies.core.vectors import euclidean_norm
from strategies.privacy.accountant import BudgetSpent


class RoundHook(Protocol):
    """Something that happens after each round; hooks run in the order they are given."""

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Look at a round, the initial evaluation (round 0) included.

        Args:
            report: What happened.
            weights: The global weights after the round, one array per parameter; not to be
                written to.

        Returns:
            Why the run should end here, as a sentence; `None` lets it go on.
        """
        ...


class FederatedWorkflow:
    """Steps 2 to 5 of the algorithm, over Flower's grid.

    A round asks the sampled participants to train, aggregates their updates, and
    evaluates the new global model on the server and, at the same time, on the participants. A
    round in which nothing could be aggregated leaves the global model as it was and counts as a
    round. The initial model is evaluated while the participants start and say who they are.

    With `evaluate_with_training` the participants' evaluation of a round's model comes with
    the next round's training. Hooks see the round then, before that training is aggregated: if
    one ends the run, the training was in vain, and everything else is as without it. The last
    round's model is evaluated in a message of its own.
    """

    def __init__(
        self, hooks: Sequence[RoundHook], settings: WorkflowSettings, done: int | None = None
    ) -> None:
        """Set up.

        Args:
            hooks: What happens after each round.
            settings: Quorum and deadlines.
            done: The last round of an earlier part of the run; `None` for a new run. The
                strategy's initial parameters are the global weights after it.
        """
        self._hooks = hooks
        self._settings = settings
        self._done = done

    def __call__(self, grid: Grid, context: LegacyContext) -> str:
        """Run the rounds; return the reason for which they ended.

        Args:
            grid: Flower's connection to the nodes.
            context: Holds strategy, client manager and number of rounds.

        Raises:
            ValueError: If the strategy has no initial parameters.
            QuorumError: If too few participants are connected for too long.
        """
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="evaluation") as thread:
            strategy = round_strategy(context.strategy)
            return self._run(grid, context, strategy, CentralEvaluation(strategy, thread))

    def _run(
        self,
        grid: Grid,
        context: LegacyContext,
        strategy: RoundStrategy,
        evaluation: CentralEvaluation,
    ) -> str:
        """Evaluate the initial model, wait for the participants, and go through the rounds."""
        settings, manager = self._settings, context.client_manager
        participants = ClientRegistry(
            grid, manager, settings.dataset, settings.names, settings.agreement
        )
        phases = Phases(
            grid, manager, strategy, settings.round_deadline, settings.secure, settings.metrics
        )
        initial_parameters = strategy.flower.initialize_parameters(client_manager=manager)
        if initial_parameters is None:
            raise ValueError("the strategy has no initial_parameters; the server sets them")
        weights = GlobalWeights.decode(initial_parameters)

        if self._done is None:
            initial = evaluation.begin(0, weights)
            participants.refresh()
            report = _with_central(RoundReport(0), initial)
            reason = self._after_round(report, weights)
            if reason is not None:
                return reason
        participants.wait_for(settings.num_participants, settings.quorum_deadline)
        rounds = range((self._done or 0) + 1, context.config.num_rounds + 1)
        reason = self._run_rounds(rounds, weights, participants, phases, evaluation)
        return reason or f"all {context.config.num_rounds} rounds are done"

    def _run_rounds(
        self,
        rounds: range,
        weights: GlobalWeights,
        participants: ClientRegistry,
        phases: Phases,
        evaluation: CentralEvaluation,
    ) -> str | None:
        """Train, aggregate and evaluate; return the reason if something ends the run early."""
        settings = self._settings
        pending: _Unreported | None = None  # waits for its evaluation by the participants
        try:
            for server_round in rounds:
                participants.wait_for(settings.min_fit_clients, settings.quorum_deadline)
                trained = phases.train(server_round, weights)
                if pending is not None:
                    received = phases.received(pending.report.server_round, trained)
                    report, pending = _with_federated(pending.evaluated(), received), None
                    if (reason := self._after_round(report, weights)) is not None:
                        return reason
                report, weights = _aggregate(trained, weights, phases)
                current = _Unreported(report, evaluation.begin(server_round, weights))
                if settings.evaluate_with_training and server_round < rounds[-1]:
                    pending = current
                    continue
                report = _evaluated_by_all(current, weights, phases)
                if (reason := self._after_round(report, weights)) is not None:
                    return reason
        except BudgetSpent as end:
            if pending is not None:
                report = _evaluated_by_all(pending, weights, phases)
                self._after_round(report, weights)
            return str(end)
        except BaseException:  # also whatever a signal raises
            if pending is not None:  # its work is done, only a score is missing
                self._after_round(pending.evaluated(), weights)
            raise
        return None

    def _after_round(self, report: RoundReport, weights: GlobalWeights) -> str | None:
        """Run every hook, and return the first reason to stop."""
        reasons = [hook.after_round(report, weights.arrays) for hook in self._hooks]
        return next((reason for reason in reasons if reason is not None), None)


@dataclass(frozen=True)
class _Unreported:
    """A round whose model is being evaluated."""

    report: RoundReport
    central: "Future[CentralScore]"

    def evaluated(self) -> RoundReport:
        return _with_central(self.report, self.central)


def _aggregate(
    trained: TrainResult, weights: GlobalWeights, phases: Phases
) -> tuple[RoundReport, GlobalWeights]:
    """Aggregate what was trained; return the new weights, and what there is to say so far."""
    fit = phases.aggregate(trained)
    new_weights = fit.weights or weights
    report = RoundReport(
        server_round=trained.server_round,
        aggregated=fit.weights is not None,
        unchanged=fit.unchanged,
        relative_update=_relative_update(weights, new_weights),
        train_loss=fit.train_loss,
        train_metrics=fit.train_metrics,
        epsilon=fit.epsilon,
        clip_norm=fit.clip_norm,
        participants=fit.participants,
        bytes_up=sum(p.bytes_up for p in fit.participants),
        bytes_down=sum(p.bytes_down for p in fit.participants),
        fit_seconds=fit.seconds,
    )
    return report, new_weights


def _evaluated_by_all(current: _Unreported, weights: GlobalWeights, phases: Phases) -> RoundReport:
    """Let the participants evaluate the new model, in messages of their own."""
    start = time.monotonic()
    federated = phases.evaluate(current.report.server_round, weights)
    report = _with_federated(current.evaluated(), federated)
    return replace(report, evaluate_seconds=time.monotonic() - start)


def _with_central(report: RoundReport, future: "Future[CentralScore]") -> RoundReport:
    central = future.result()
    return replace(report, central=central.score, evaluate_seconds=central.seconds)


def _with_federated(report: RoundReport, evaluation: EvaluateResult) -> RoundReport:
    return replace(
        report,
        federated=evaluation.score,
        evaluation_failures=evaluation.failures,
        bytes_down=report.bytes_down + evaluation.bytes_down,
    )


def _relative_update(old: GlobalWeights, new: GlobalWeights) -> float:
    """Return |new - old| / |old|, in Euclidean norms."""
    if new is old:
        return 0.0
    pairs = zip(old.arrays, new.arrays, strict=True)
    with np.errstate(over="ignore"):
        update = math.hypot(*(euclidean_norm([w_new - w_old]) for w_old, w_new in pairs))
    weights = euclidean_norm(old.arrays)
    return update / weights if weights > 0 else math.inf
