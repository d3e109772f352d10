"""What server and participants say to each other in an instruction's config."""

ROUND_KEY = "server-round"
"""The round, 1-based: decides the participant's random numbers."""

DATASET_KEY = "dataset"
"""The data set that the server resolved, so that all train on the same."""

PARTICIPANT_KEY = "participant"
"""In what a participant answers: who it is."""

RUN_KEY = "run"
"""The name of the run: participants keep what they remember by it."""

EVALUATE_KEY = "evaluate-received"
"""Whether to evaluate the weights received before training on them."""

RECEIVED_LOSS_KEY = "received-loss"
RECEIVED_ACCURACY_KEY = "received-accuracy"
RECEIVED_EXAMPLES_KEY = "received-examples"
"""In the fit metrics: how the weights received did on the participant's own test examples."""

NUM_EXAMPLES_KEY = "num-examples"
"""In the properties, with secure aggregation: how many examples a participant trains on."""

STATE_LOST_KEY = "state-lost"
"""In the fit metrics: the participant's memory was not there, and it began anew."""
