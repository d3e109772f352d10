"""The task as one participant has it: its name, its model and its examples."""

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from fl_app.core.node import NodeConfig
from fl_app.core.run_config import RunConfig
from fl_app.data.local_data import LocalData
from fl_app.data.tensor_dataset import BatchedExamples
from fl_app.tasks.client_data import data_name, local_data, name_of_participant
from fl_app.tasks.registry import initial_model, task_of
from fl_app.tasks.task import Task


@dataclass(frozen=True, eq=False)
class LocalTask:
    """What a message is about, as far as it is the same for training and evaluation.

    Attributes:
        config: The run config.
        node_config: Who the participant is, and where its data lies or which part is its own.
        dataset: The data set that the server resolved; `None` resolves it here.
    """

    config: RunConfig
    node_config: NodeConfig
    dataset: str | None = None

    @cached_property
    def name(self) -> str:
        """Who the participant is."""
        return name_of_participant(self.node_config, self.config, self.dataset)

    @cached_property
    def task(self) -> Task:
        """What is learned."""
        return task_of(self.config, data_name(self.config, self.dataset))

    @cached_property
    def data(self) -> LocalData[BatchedExamples]:
        """The participant's examples."""
        return local_data(self.node_config, self.config, self.dataset)

    def model(self) -> nn.Module:
        """Build a model with the initial weights of the run."""
        return initial_model(self.task, self.config.seed, self.config.local_parameters)
