"""The plain settings of the round loop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fl_app.core.metrics import Metric
from fl_app.secure_aggregation.settings import SecureSettings


@dataclass(frozen=True)
class WorkflowSettings:
    """Whom a run waits for, and how long.

    Attributes:
        num_participants: Participants that must be connected before the first round.
        min_fit_clients: Participants that must be connected before every other round.
        round_deadline: Seconds that training, and evaluation, may take in a round; what has
            arrived by then counts. `None` waits for everybody.
        quorum_deadline: Seconds to wait for participants to connect; `None` waits for ever.
        evaluate_with_training: Whether participants evaluate a round's new model when they
            receive it to train on: one message less, see `FederatedWorkflow`.
        dataset: The set that the server resolved, where participants have to know it.
        secure: How updates are aggregated under masks; `None` if they are not.
        names: The participants' names by partition, where they have any.
        metrics: The task's, by name.
        agreement: What participants agreed on before round 1; "" is nothing.
    """

    num_participants: int
    min_fit_clients: int = 1
    round_deadline: float | None = None
    quorum_deadline: float | None = None
    evaluate_with_training: bool = False
    dataset: str = ""
    secure: SecureSettings | None = None
    names: Sequence[str] | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    agreement: str = ""
