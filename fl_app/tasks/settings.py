"""Run config -> the plain settings of each component, which never sees the whole config.

What only the server needs is in `fl_app.experiment.settings`.
"""

from fl_app.core.run_config import RunConfig
from fl_app.data.partition import PartitionSpec


def partition_spec(config: RunConfig) -> PartitionSpec:
    """Who holds which examples."""
    return PartitionSpec(
        name=config.partitioner,
        num_partitions=config.num_participants,
        seed=config.seed,
        dirichlet_alpha=config.dirichlet_alpha,
        shards_per_participant=config.shards_per_participant,
        classes_per_participant=config.classes_per_participant,
    )
