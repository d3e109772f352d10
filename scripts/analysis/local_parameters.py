"""What a saved model cannot hold: the parameters that participants keep."""

from torch import nn

from fl_app.tasks.model.federated_model import local_tensors

_SHOWN = 5


def told_local(model: nn.Module) -> str:
    """Say which parameters of a saved model are the initial ones; "" if none is.

    Local parameters and statistics do not travel, so a run's file cannot have the trained ones.
    """
    names = [held.names[0] for held in local_tensors(model)]
    if not names:
        return ""
    shown = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
    return f"local to each participant, which keeps its own; here the initial ones: {shown}"
