"""What the application relies on of Flower's nodes, simulated or not, and of its log."""

import logging

from tests.support.flower.reliance import Reliance, compat, contains, found, has, takes


def _client_proxy() -> None:
    proxy = found("flwr.server.compat.grid_client_proxy:GridClientProxy")(7, None, 1)
    assert (proxy.node_id, proxy.cid, proxy.properties) == (7, "7", {})


def _grid() -> None:
    has("flwr.serverapp:Grid", "run", "get_node_ids", "get_nodes")
    takes("flwr.serverapp:Grid.push_messages", None, [])
    takes("flwr.serverapp:Grid.pull_messages", None, {"an id"})
    takes("flwr.serverapp:Grid.send_and_receive", None, [], timeout=None)


def _registration_order() -> None:
    memory = found("flwr.supercore.constant:FLWR_IN_MEMORY_DB_NAME")
    factory = found("flwr.server.superlink.linkstate:LinkStateFactory")(
        memory,
        found("flwr.superlink.federation:NoOpFederationManager")(),
        found("flwr.supercore.object_store:ObjectStoreFactory")(),
    )
    partitions = found("flwr.server.superlink.fleet.vce.vce_api:_register_nodes")(20, factory)
    infos = factory.state().get_node_info(node_ids=list(partitions))
    times = {partitions[info.node_id]: info.registered_at for info in infos}
    assert [times[i] for i in range(20)] == sorted(times.values())
    assert isinstance(times[0], str)


def _simulated_grid() -> None:
    module = compat()._IN_MEMORY_GRID
    has(f"{module}:InMemoryGrid", "get_nodes")
    contains("simulation/run_simulation.py", "InMemoryGrid(")


def _partition_keys() -> None:
    constants = found("flwr.common.constant")
    keys = (constants.PARTITION_ID_KEY, constants.NUM_PARTITIONS_KEY)
    assert keys == ("partition-id", "num-partitions")


def _client_manager() -> None:
    manager = "flwr.server.client_manager:SimpleClientManager"
    has(manager, "register", "unregister", "all", "num_available")
    found(manager)().wait_for(0, timeout=86_400)


def _logger() -> None:
    log = found("flwr.common.logger:log")
    assert log.__self__ is logging.getLogger("flwr")
    assert found("flwr.common:log") == log


def _traceback() -> None:
    for path in ("simulation/app.py", "superlink/runtime/run_serverapp.py"):
        contains(path, 'raised an exception", exc_entity, exc_info=ex')


NODES = [
    Reliance(
        "flwr.server.compat.grid_client_proxy.GridClientProxy",
        "stand for a participant in a strategy",
        _client_proxy,
        ("GridClientProxy",),
    ),
    Reliance("flwr.serverapp.Grid", "exchange messages with the nodes", _grid),
    Reliance(
        "flwr.superlink.grid.inmemory_grid.InMemoryGrid",
        "tell a simulation from a deployment",
        _simulated_grid,
        ("is_simulated",),
    ),
    Reliance(
        "the order in which a simulation registers its nodes, and NodeInfo.registered_at",
        "know the partitions of many nodes without asking each",
        _registration_order,
        ("registration_times",),
    ),
    Reliance("the node config's keys", "find a simulated participant's data", _partition_keys),
    Reliance(
        "the logger `flwr` behind flwr.common.logger.log",
        "write to the run's log, and filter it",
        _logger,
    ),
    Reliance(
        "the traceback that Flower logs of an app that failed",
        "tell a user's mistake in a sentence instead",
        _traceback,
    ),
    Reliance(
        "flwr.server.client_manager.SimpleClientManager",
        "register participants and wait for them",
        _client_manager,
    ),
]
