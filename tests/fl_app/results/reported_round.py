"""A round's report and its weights, as a run directory is given them."""

from typing import Any

import numpy as np

from fl_app.results.records import ParticipantReport, RoundReport, Score

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(0.5, np.float32)]
NAN = float("nan")


def round_report(server_round: int = 1, **changes: Any) -> RoundReport:
    known: dict[str, Any] = {
        "server_round": server_round,
        "aggregated": True,
        "central": Score(0.5, {"accuracy": 0.75}, 360),
        "participants": (ParticipantReport("0", num_examples=5), ParticipantReport("1", "gone")),
        "fit_seconds": 2.0,
        "evaluate_seconds": 1.0,
    }
    return RoundReport(**known | changes)
