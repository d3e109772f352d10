"""Who is there: connected nodes become participants with names."""

import time
from collections.abc import Sequence
from logging import INFO, WARNING

from flwr.common import GetPropertiesIns, Scalar
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.serverapp import Grid

from fl_app.core.errors import UserError
from fl_app.messaging.fit_config import AGREEMENT_KEY, DATASET_KEY, PARTICIPANT_KEY
from fl_app.messaging.flower_compat import (
    GridClientProxy,
    getpropertiesins_to_recorddict,
    recorddict_to_getpropertiesres,
)
from fl_app.messaging.simulation import names_by_registration
from fl_app.messaging.transport import Instruction, MessageType, exchange
from strategies.core.client_update import participant_order
from strategies.core.clients import participant_of

_POLL_SECONDS = 0.1
_REPORT_SECONDS = 10.0
_PROPERTIES_SECONDS = 120.0
# A node that was refused may be put right, or its name become free: ask again now and then.
_ASK_AGAIN_SECONDS = 30.0
# Of so many new nodes, or more, in a simulation not all are asked; see
# `fl_app.messaging.simulation`.
_MANY = 64
_PROBES = 8
# Names that a message has room for.
_NAMES_SHOWN = 20


class QuorumError(UserError):
    """Too few participants are connected for the run to begin or to go on."""


class ClientRegistry:
    """Keeps Flower's client manager in step with the nodes that are connected.

    A node id is random in every run and changes when a node restarts. A participant's name
    (see `Participant.get_properties`) does not: it is asked for once per node and kept in
    `proxy.properties["participant"]`, where strategies find it. Of a large simulation, only
    some are asked.
    """

    def __init__(
        self,
        grid: Grid,
        client_manager: ClientManager,
        dataset: str = "",
        names: Sequence[str] | None = None,
        agreement: str = "",
    ) -> None:
        """Attach a client manager to a grid.

        Args:
            grid: Flower's connection to the nodes.
            client_manager: Where strategies look for participants.
            dataset: The set that the server resolved, for those who say how much they hold.
            names: The participants' names by partition, where they are not its number.
            agreement: What participants agreed on before round 1.
        """
        self._names = names
        told = {DATASET_KEY: dataset, AGREEMENT_KEY: agreement}
        self._config: dict[str, Scalar] = {key: value for key, value in told.items() if value}
        self._grid = grid
        self._client_manager = client_manager
        self._nodes: dict[int, GridClientProxy] = {}
        self._taken: set[str] = set()  # their names
        # Node ids, when each may be asked again, and why it was refused.
        self._refused: dict[int, tuple[float, str]] = {}

    def names(self) -> list[str]:
        """Return the names of the participants connected, sorted."""
        return sorted(map(participant_of, self._nodes.values()), key=participant_order)

    def refresh(self) -> None:
        """Register nodes that have connected since, and forget those that are gone."""
        connected = set(self._grid.get_node_ids())
        for node_id in set(self._nodes) - connected:
            proxy = self._nodes.pop(node_id)
            self._client_manager.unregister(proxy)
            self._taken.discard(participant_of(proxy))
            log(WARNING, "participant %s has disconnected", participant_of(proxy))
            self._refused.clear()  # its name is free
        self._introduce(sorted(self._to_ask(connected)))

    def _to_ask(self, connected: set[int]) -> set[int]:
        """Return who is connected and not registered, but for those refused a moment ago."""
        now = time.monotonic()
        waiting = {node_id for node_id, (when, _) in self._refused.items() if now < when}
        return connected - set(self._nodes) - waiting

    def wait_for(self, num_needed: int, deadline: float | None = None) -> None:
        """Wait until enough participants are connected, and say so while waiting.

        Args:
            num_needed: How many there must be.
            deadline: Seconds to wait at most; `None` waits as long as it takes.

        Raises:
            QuorumError: If the deadline passes first.
        """
        self.refresh()
        start = time.monotonic()
        next_report = start + _REPORT_SECONDS
        while self._missing(num_needed):
            now = time.monotonic()
            if deadline is not None and now - start > deadline:
                raise QuorumError(
                    f"{self._standing(num_needed)} after {deadline:g} s (quorum-deadline). "
                    f"{self._advice(num_needed)}"
                )
            if now >= next_report:
                log(INFO, "%s; waiting for the others", self._standing(num_needed))
                next_report = now + _REPORT_SECONDS
            time.sleep(_POLL_SECONDS)

    def _missing(self, num_needed: int) -> bool:
        """Tell whether participants are missing; names are asked for when all may be there."""
        if len(self._nodes) < num_needed:
            connected = set(self._grid.get_node_ids())
            if len(self._nodes) + len(self._to_ask(connected)) >= num_needed:
                self.refresh()
        return len(self._nodes) < num_needed

    def _standing(self, num_needed: int) -> str:
        self.refresh()
        names = self.names()
        shown = ", ".join(names[:_NAMES_SHOWN]) or "none"
        if len(names) > _NAMES_SHOWN:
            shown += f" and {len(names) - _NAMES_SHOWN} more"
        return (
            f"{len(self._nodes)} of the {num_needed} participants needed are connected ({shown}), "
            f"{max(0, num_needed - len(self._nodes))} are missing"
        )

    def _advice(self, num_needed: int) -> str:
        """Say what to do about those who are missing: those left out are there already."""
        here = set(self._grid.get_node_ids())
        left_out = [reason for node, (_, reason) in self._refused.items() if node in here]
        if left_out:
            return f"{len(left_out)} more are connected and left out; the last {left_out[-1]}"
        return (
            "In simulation, start as many: --federation-config 'num-supernodes="
            f"{num_needed} client-resources-num-cpus=1'. In deployment, see that the "
            "SuperNodes run and reach the SuperLink"
        )

    def _introduce(self, node_ids: list[int]) -> None:
        """Learn the names of new nodes and register them."""
        expected = {} if len(node_ids) < _MANY else names_by_registration(self._grid)
        if not set(node_ids) <= expected.keys():
            self._ask(node_ids)
            return
        if self._names is not None:
            expected = {node: self._names[int(number)] for node, number in expected.items()}
        probes = sorted(node_ids, key=lambda node_id: participant_order(expected[node_id]))
        probes = probes[:: max(1, (len(probes) - 1) // (_PROBES - 1))]
        self._ask(probes)
        believed = all(
            node_id in self._nodes
            # Where participants say more than their name (secure aggregation), all are asked.
            and self._nodes[node_id].properties == {PARTICIPANT_KEY: expected[node_id]}
            for node_id in probes
        )
        rest = sorted(set(node_ids) - set(probes))
        if not believed:
            self._ask(rest)
            return
        for node_id in rest:
            proxy = self._proxy(node_id)
            proxy.properties = {PARTICIPANT_KEY: expected[node_id]}
            self._register(proxy)

    def _ask(self, node_ids: list[int]) -> None:
        """Ask nodes for their names and register those that say one."""
        instructions = [
            Instruction(
                self._proxy(node_id),
                getpropertiesins_to_recorddict(GetPropertiesIns(self._config)),
            )
            for node_id in node_ids
        ]
        for reply in exchange(
            self._grid, instructions, MessageType.GET_PROPERTIES, "0", deadline=_PROPERTIES_SECONDS
        ):
            if reply.content is None:
                self._refuse(reply.proxy, f"did not say who it is: {reply.failure}")
                continue
            reply.proxy.properties = recorddict_to_getpropertiesres(reply.content).properties
            self._register(reply.proxy)

    def _proxy(self, node_id: int) -> GridClientProxy:
        return GridClientProxy(node_id, self._grid, self._grid.run.run_id)

    def _refuse(self, proxy: GridClientProxy, reason: str) -> None:
        self._refused[proxy.node_id] = time.monotonic() + _ASK_AGAIN_SECONDS, reason
        log(WARNING, "node %s is left out, it %s", proxy.cid, reason)

    def _register(self, proxy: GridClientProxy) -> None:
        name = participant_of(proxy)
        if name in self._taken:
            self._refuse(proxy, f"calls itself participant {name}, who is connected already")
            return
        self._nodes[proxy.node_id] = proxy
        self._taken.add(name)
        self._client_manager.register(proxy)
