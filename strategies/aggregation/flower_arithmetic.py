"""Functions of Flower's robust strategies, which it does not export.

The one place in `strategies` that imports what Flower does not promise. It is apart from
`fl_app.messaging.flower_compat` because strategies know nothing of the application; the test of
that module names these functions, too.
"""

from flwr.server.strategy.aggregate import (
    aggregate_inplace,
    aggregate_krum,
    aggregate_median,
    aggregate_trimmed_avg,
)

__all__ = ["aggregate_inplace", "aggregate_krum", "aggregate_median", "aggregate_trimmed_avg"]
