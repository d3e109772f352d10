"""What the server knows of Flower's simulation: its nodes live in one process, and are many.

In a simulation, Flower registers its nodes one after the other, in the order of their partitions,
and then goes through all nodes again and again, looking for each through every message that has
not been answered. Of `N` nodes with `m` messages, one look costs `N * m` checks of 5 microseconds:
asking 10,000 nodes for their names would take a core for minutes, and 1,000 messages at once to
1,000 nodes keep one busy that the workers could use.
"""

import os
from collections.abc import Mapping
from typing import Any

from flwr.serverapp import Grid

from fl_app.messaging.flower_compat import is_simulated, registration_times

# Messages sent ahead, per CPU that may work on one: enough for Flower's next look to find some.
_AHEAD_PER_CPU = 16


def names_by_registration(grid: Grid) -> dict[int, str]:
    """Return the partition that each node of a simulation should have, by node id.

    It rests on an order that Flower does not promise, so ask some of the nodes before you
    believe it; what participants answer carries their names, too.

    Returns:
        Nothing where nodes are not simulated, or their order is not known.
    """
    times = registration_times(grid)
    if times is None or len(set(times.values())) < len(times):
        return {}
    order = sorted(times, key=lambda node_id: times[node_id])
    return {node_id: str(partition) for partition, node_id in enumerate(order)}


def num_outstanding(grid: Grid) -> int | None:
    """Return how many messages may wait for an answer at a time; `None` is any number."""
    if not is_simulated(grid):
        return None
    return _AHEAD_PER_CPU * _num_cpus()


def worker_environment(runtime_env: Mapping[str, Any] | None) -> dict[str, Any]:
    """Tell Ray what a run's workers need beyond what they were started with.

    Flower asks Ray for workers with the app on their `PYTHONPATH`. Where workers wait that have it
    there already, and have loaded it, this is Ray's hook (`RAY_RUNTIME_ENV_HOOK`): workers are
    given to nobody who asks for another environment than theirs.

    Args:
        runtime_env: What Flower asks for.

    Returns:
        Nothing, if that is a `PYTHONPATH` alone; else the same.
    """
    asked = dict(runtime_env or {})
    only_path = set(asked) == {"env_vars"} and set(asked["env_vars"]) == {"PYTHONPATH"}
    return {} if only_path else asked


def _num_cpus() -> int:
    """Count the CPUs that simulated participants may run on: those of the whole Ray cluster."""
    # Flower is loading it in another thread, perhaps: this waits until it is whole.
    import ray
    from ray.exceptions import RayError

    try:
        if ray.is_initialized():
            resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
            return max(1, int(resources.get("CPU", 1)))
    except RayError:  # it is about to connect
        pass
    return os.cpu_count() or 1
