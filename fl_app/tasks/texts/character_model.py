"""The model of texts: an embedding, a recurrent network, and a score for each next character."""

from typing import Any, cast

from torch import Tensor, nn

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class CharacterModel(nn.Module):
    """Scores of the next character after each position of a sequence.

    The state is zero where a sequence begins. With the alphabet `ascii` and the sizes below the
    LSTM has 824,425 parameters.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629: embedding 8, two layers of 256.
    """

    def __init__(
        self, characters: int, cell: str = "lstm", embedding: int = 8, hidden: int = 256
    ) -> None:
        """Set up.

        Args:
            characters: Size of the alphabet, V.
            cell: `lstm` or `gru`.
            embedding: Numbers that a character is given to the network as.
            hidden: Units in each of the two layers.
        """
        super().__init__()
        self.embedding = nn.Embedding(characters, embedding)
        self.recurrent = CELLS[cell](embedding, hidden, num_layers=2, batch_first=True)
        self.output = nn.Linear(hidden, characters)

    def forward(self, characters: Tensor, last_only: bool = False) -> Tensor:
        """Map characters, integers [N, T], to scores [N, T, V], or [N, V] of the last position."""
        states = self.recurrent(self.embedding(characters.long()))[0]
        return cast(Tensor, self.output(states[:, -1] if last_only else states))

    def step(self, characters: Tensor, state: Any = None) -> tuple[Tensor, Any]:  # noqa: ANN401
        """Return the scores after the last of some characters [1, T], [V], and the state then.

        Args:
            characters: Those that follow on what led to the state.
            state: What an earlier call returned; `None` at the beginning of a text.
        """
        states, state = self.recurrent(self.embedding(characters), state)
        return cast(Tensor, self.output(states[0, -1])), state
