"""What server and participants say to each other in an instruction's config."""

ROUND_KEY = "server-round"
"""The round, 1-based: decides the participant's random numbers."""

DATASET_KEY = "dataset"
"""The data set that the server resolved, so that all train on the same."""
