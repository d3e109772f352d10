"""Whether a round under masks can give a sum, and whether the sum it gave may be used."""

import math

import numpy as np
from numpy.typing import NDArray

from fl_app.messaging.flower_compat import WorkflowState
from fl_app.secure_aggregation.channel import SecureChannel
from fl_app.secure_aggregation.fixed_point import SecureRange
from fl_app.secure_aggregation.settings import SecureSettings, check_value
from strategies.core.clients import participant_of
from strategies.core.npy import decode_arrays
from strategies.update_collector import FitResults


class NoSum(Exception):  # noqa: N818 - an outcome, whoever is at fault
    """The round gave no sum that may be used; the message says why."""


def check_enough(state: WorkflowState, channel: SecureChannel) -> None:
    """Raise unless everybody's secrets can be reconstructed by those who are left."""
    if not state.active_node_ids:
        raise NoSum("nobody is left")
    for node in state.sampled_node_ids:
        left = len(state.nid_to_neighbours[node] & state.active_node_ids)
        if left < state.threshold:
            name = participant_of(channel.proxies[node])
            raise NoSum(
                f"of the {state.num_shares} who hold shares of the keys of participant {name} "
                f"{left} are left after {channel.stage.words}, {state.threshold} are needed "
                "(secure-threshold)"
            )


def checked_mean(
    results: FitResults, plan: SecureRange, settings: SecureSettings
) -> NDArray[np.float64]:
    """Return the mean that was unmasked, unless honest participants cannot have it.

    Nothing can be said of a single update under masks. Of their mean one can: a wrong mask
    scatters it over the whole range, and no mean of clipped deltas is longer than one of them.
    """
    (vector,) = decode_arrays(results[0][1].parameters.tensors)
    mean, check = vector[:-1], float(vector[-1])
    error = plan.error_bound([result.num_examples for _, result in results])
    if not abs(check - check_value(plan.clipping_range)) <= error:
        raise NoSum(
            "the masks do not cancel, or a weight under them is not that of the values: somebody "
            "sent something wrong, and who cannot be known"
        )
    norm, longest = (
        float(np.linalg.norm(mean)),
        settings.longest_mean(mean.size) + error * math.sqrt(mean.size),
    )
    if not norm <= longest:
        raise NoSum(
            f"the mean has a norm of {norm:g}, and that of deltas clipped to "
            f"{settings.clip_norm:g} cannot be longer than {longest:g}: somebody did not clip, "
            "and who cannot be known"
        )
    return mean
