"""One participant's work in one round: train, and make of the delta what is sent.

train -> delta -> clip, noise -> codec, with error feedback -> payload
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from logging import WARNING
from typing import Any

import numpy as np
import torch
from flwr.common.logger import log
from numpy.typing import NDArray
from torch import nn

from fl_app.data.tensor_dataset import BatchedExamples
from fl_app.tasks.model.federated_model import local_tensors, trainable_flags
from fl_app.tasks.model.parameters import load_local, local_arrays
from fl_app.tasks.task import Task
from fl_app.training.client_state import ClientState
from fl_app.training.local.gradient_correction import LocalCorrection
from fl_app.training.local.local_training import LocalUpdate, local_update
from fl_app.training.local.sgd import TrainingSettings
from strategies.compression.codec import Codec
from strategies.compression.error_feedback import encode_with_feedback
from strategies.core.client_update import Arrays
from strategies.core.vectors import euclidean_norm
from strategies.optimization.scaffold import control_change
from strategies.privacy.clipping import UNPROTECTED, Protection


@dataclass(frozen=True)
class PipelineSettings:
    """What a participant adds to plain local training, and how its delta travels.

    Attributes:
        codec: How the delta travels.
        error_feedback: Whether what a lossy codec drops is added to the next delta.
        proximal_mu: FedProx's pull towards the global weights; 0 is none.
        scaffold: Whether gradients are corrected by control variates.
        protection: What it does for its own privacy.
    """

    codec: Codec
    error_feedback: bool = False
    proximal_mu: float = 0.0
    scaffold: bool = False
    protection: Protection = UNPROTECTED

    @property
    def feeds_back(self) -> bool:
        """Whether there is a residual to remember."""
        return self.error_feedback and not self.codec.lossless

    @property
    def remembers(self) -> bool:
        """Whether the participant keeps a state over rounds."""
        return self.feeds_back or self.scaffold


@dataclass(frozen=True)
class UpdatePipeline:
    """Everything a participant needs for a round but weights, examples and client_state.

    Attributes:
        server_round: The round, 1-based.
        task: What is learned.
        model: A model of the kind that is trained; used as the place to work in.
        training: Epochs, batch size, step size.
        settings: What is added to plain training, and how the delta travels.
        generator: Decides the order of the examples.
        codec_generator: Decides a codec's stochastic rounding.
        device: Where to train.
    """

    server_round: int
    task: Task
    model: nn.Module
    training: TrainingSettings
    settings: PipelineSettings
    generator: torch.Generator
    codec_generator: np.random.Generator
    device: torch.device

    @property
    def has_local(self) -> bool:
        """Whether parameters or statistics stay with the participant."""
        return bool(local_tensors(self.model))

    @property
    def remembers(self) -> bool:
        """Whether the participant keeps a state over rounds."""
        return self.settings.remembers or self.has_local

    def train(
        self, received: Sequence[NDArray[Any]], examples: BatchedExamples, client_state: ClientState
    ) -> LocalUpdate:
        """Train from what the server sent: the global weights and, with SCAFFOLD, `c`.

        Raises:
            ValueError: If there are no examples, or `received` does not fit the model.
        """
        weights, c = self.split(received)
        drift = None
        if c is not None:
            own = client_state.control or [np.zeros_like(array) for array in c]
            drift = [c_k - own_k for c_k, own_k in zip(c, own, strict=True)]
        load_local(self.model, client_state.local)
        return local_update(
            self.task,
            self.model,
            weights,
            examples,
            self.training,
            self.generator,
            self.device,
            LocalCorrection(self.settings.proximal_mu, drift),
        )

    def encode(
        self,
        received: Sequence[NDArray[Any]],
        update: LocalUpdate,
        client_state: ClientState,
        clip_norm: float | None = None,
    ) -> tuple[Arrays, ClientState]:
        """Return what to send for an update, and what to remember if it counts.

        Args:
            received: What the server sent.
            update: What training gave.
            client_state: What the participant remembered.
            clip_norm: The norm to clip the delta to, if not that of the settings.
        """
        delta = self._protected(update.delta, clip_norm)
        _, c = self.split(received)
        if c is not None:
            client_state = self._with_new_control(client_state, c, update)
        codec = self.settings.codec
        if self.has_local:
            client_state = replace(client_state, local=local_arrays(self.model))
        if not self.settings.feeds_back:
            return codec.encode(delta, self.codec_generator), client_state
        payload, residual = encode_with_feedback(
            codec, delta, client_state.residual, self.codec_generator
        )
        return payload, replace(client_state, residual=residual)

    def _protected(self, delta: Arrays, clip_norm: float | None) -> Arrays:
        protection = self.settings.protection
        if clip_norm is not None:
            protection = replace(protection, clip_norm=clip_norm)
        if protection.private and not math.isfinite(euclidean_norm(delta)):
            # Refused by the server it would tell something of the data.
            log(WARNING, "local training diverged; a delta of zeros is sent instead")
            delta = [np.zeros_like(array) for array in delta]
        return protection.apply(delta)

    def split(self, received: Sequence[NDArray[Any]]) -> tuple[Arrays, Arrays | None]:
        """Part what the server sent into the global weights and SCAFFOLD's `c`, if it is on."""
        if not self.settings.scaffold:
            return list(received), None
        half = len(received) // 2
        return list(received[:half]), list(received[half:])

    def _with_new_control(
        self, client_state: ClientState, c: Arrays, update: LocalUpdate
    ) -> ClientState:
        step_sum = update.effective_steps * self.training.learning_rate
        change = control_change(c, update.delta, step_sum, trainable_flags(self.model))
        own = client_state.control or [np.zeros_like(array) for array in c]
        return replace(
            client_state, control=[c_i + move for c_i, move in zip(own, change, strict=True)]
        )
