"""Training under secure aggregation: Flower's SecAgg+ stages, run by our rules.

The cryptography and the order of the protocol are those of flwr's `SecAggPlusWorkflow`. What
surrounds it is ours: the range of the whole numbers, deadlines, checked answers, dropouts by
name, and a look at the sum before it counts.

What comes of it is one mean, and the names of those whose deltas are in it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging import WARNING
from typing import cast

import numpy as np
from flwr.app import RecordDict
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.serverapp import Grid

from fl_app.messaging.fit_config import NUM_EXAMPLES_KEY
from fl_app.messaging.flower_compat import (
    GridClientProxy,
    LegacyContext,
    SecAggPlusWorkflow,
    WorkflowState,
)
from fl_app.messaging.replies import without_parameters
from fl_app.messaging.transport import Reply
from fl_app.secure_aggregation.channel import SecureChannel, Stage, Traffic
from fl_app.secure_aggregation.fixed_point import secure_range
from fl_app.secure_aggregation.flower_workflow import (
    Configured,
    Handover,
    flower_context,
    flower_workflow,
    forget_the_missing,
    silence_flower_workflow,
)
from fl_app.secure_aggregation.reply_validation import (
    MaskedUpdateCheck,
    check_encrypted_shares,
    check_key_shares,
    check_public_keys,
)
from fl_app.secure_aggregation.settings import MIN_PARTICIPANTS, SecureSettings
from fl_app.secure_aggregation.sum_validation import NoSum, check_enough, checked_mean
from strategies.core.client_update import AggregationError, Arrays
from strategies.core.clients import participant_of
from strategies.core.vectors import num_values, unravel
from strategies.update_collector import FitResults


@dataclass(frozen=True)
class Collected:
    """What came of a round of training under masks.

    Attributes:
        replies: One per participant that was asked; those with content are in the sum.
        results: What those in the sum say of their training; without parameters.
        mean: The mean of their deltas, weighted by their numbers of examples; `None` where the
            round gave no sum.
        traffic: Bytes up and down, by participant.
    """

    replies: list[Reply]
    results: FitResults
    mean: Arrays | None
    traffic: dict[str, Traffic]


class SecureTraining:
    """Lets participants train, and learns the mean of their deltas but none of them."""

    def __init__(
        self,
        grid: Grid,
        client_manager: ClientManager,
        settings: SecureSettings,
        deadline: float | None = None,
        charge: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        """Set up.

        Args:
            grid: Flower's connection to the nodes.
            client_manager: Who is connected.
            settings: How secure aggregation goes.
            deadline: Seconds that the training itself may take.
            charge: Pays for a sum that the server has seen, where that costs privacy even if it
                is of no use.
        """
        self._grid = grid
        self._client_manager = client_manager
        self._settings = settings
        self._deadline = deadline
        self._charge = charge
        silence_flower_workflow()

    def collect(self, server_round: int, weights: Arrays, configured: Configured) -> Collected:
        """Run a round; who drops out is named, and a round without a sum changes nothing.

        Args:
            server_round: The round.
            weights: The global weights, for their shapes and dtypes.
            configured: Who takes part, and what each is asked to do.
        """
        start = time.monotonic()
        proxies = {p.node_id: p for p in (cast(GridClientProxy, proxy) for proxy, _ in configured)}
        channel = SecureChannel(self._grid, proxies, server_round)
        results: FitResults = []
        mean: Arrays | None = None
        reason = ""
        try:
            results, mean = self._train(channel, _who_announced(configured, channel), weights)
        except NoSum as error:
            reason = f"secure aggregation gave no sum: {error}"
            log(WARNING, "round %s: %s", server_round, reason)
        seconds = time.monotonic() - start
        counted = {participant_of(proxy) for proxy, _ in results}
        replies = [
            Reply(proxy, RecordDict(), None, seconds)
            if name in counted
            else Reply(proxy, None, channel.failures.get(name, reason), seconds)
            for proxy in proxies.values()
            for name in (participant_of(proxy),)
        ]
        return Collected(replies, results, mean, channel.traffic)

    def _train(
        self, channel: SecureChannel, configured: Configured, like: Arrays
    ) -> tuple[FitResults, Arrays]:
        """Run the protocol among those who announced what they hold.

        Returns:
            Who is in the sum, and the mean of their deltas, shaped like `like`.
        """
        if len(configured) < MIN_PARTICIPANTS:
            raise NoSum(f"{len(configured)} participants can take part, {MIN_PARTICIPANTS} must")
        announced = {
            cast(GridClientProxy, proxy).node_id: int(proxy.properties[NUM_EXAMPLES_KEY])
            for proxy, _ in configured
        }
        plan = secure_range(self._settings.clipping_range, list(announced.values()))
        handover = Handover(configured)
        self._run_stages(
            flower_workflow(self._settings, len(configured), plan),
            channel,
            flower_context(
                self._grid.run.run_id, channel.server_round, handover, self._client_manager
            ),
            MaskedUpdateCheck(num_values(like), announced),
        )
        if not handover.results:
            raise NoSum("too few of those who trained were left to unmask it")
        try:
            mean = checked_mean(handover.results, plan, self._settings)
        except NoSum:
            if self._charge is not None:
                with suppress(AggregationError):  # it is over the budget, and kept back anyway
                    self._charge([participant_of(proxy) for proxy, _ in handover.results])
            raise
        results = [(proxy, without_parameters(result)) for proxy, result in handover.results]
        return results, unravel(mean.astype(np.float32), like)

    def _run_stages(
        self,
        workflow: SecAggPlusWorkflow,
        channel: SecureChannel,
        context: LegacyContext,
        check_masked: MaskedUpdateCheck,
    ) -> None:
        """Run Flower's stages, and between them count who is left."""
        grid, short = cast(Grid, channel), self._settings.stage_deadline
        state = WorkflowState()

        channel.stage = Stage("sending its public keys", check_public_keys, short)
        workflow.setup_stage(grid, context, state)
        forget_the_missing(state)
        check_enough(state, channel)

        channel.stage = Stage("sharing its keys", check_encrypted_shares, short)
        workflow.share_keys_stage(grid, context, state)
        forget_the_missing(state)
        check_enough(state, channel)

        channel.stage = Stage("training", check_masked, self._deadline)
        workflow.collect_masked_vectors_stage(grid, context, state)
        check_enough(state, channel)
        if len(state.active_node_ids) < self._settings.min_updates:
            raise NoSum(
                f"{len(state.active_node_ids)} updates came, {self._settings.min_updates} are "
                "needed (min-fit-clients), so they were not unmasked"
            )

        channel.stage = Stage("unmasking the sum", check_key_shares, short)
        try:
            with np.errstate(all="ignore"):  # a wrong sum is looked for, and dealt with, after
                workflow.unmask_stage(grid, context, state)
        except Exception as error:  # whatever a wrong secret provokes in the libraries
            raise NoSum(f"the shares of the keys do not fit together ({error!r})") from error


def _who_announced(configured: Configured, channel: SecureChannel) -> Configured:
    """Return those who said how many examples they hold; the others have failed."""
    able = []
    for proxy, instruction in configured:
        count = proxy.properties.get(NUM_EXAMPLES_KEY)
        if type(count) is int and count > 0:
            able.append((proxy, instruction))
        else:
            channel.failures[participant_of(proxy)] = (
                f"it announced {count!r} as its number of examples, a positive number is needed"
            )
    return able
