"""The keys of what is trained, on what, and how."""

from typing import Literal

from fl_app.core.run_config_keys.key import Keys, key


class TrainingKeys(Keys):
    """Who takes part, model, data, and local training."""

    num_server_rounds: int = key(
        10, "Rounds to run.", ge=1, may_change=True, section="Rounds and participants"
    )
    num_participants: int = key(
        10, "Participants to wait for before round 1; in simulation, all of them.", ge=1
    )
    fraction_fit: float = key(1.0, "Share of the participants that train in a round.", gt=0, le=1)
    fraction_evaluate: float = key(
        1.0, "Share that evaluates the new model; 0 turns it off.", ge=0, le=1
    )
    min_fit_clients: int = key(
        1,
        "Least number of participants to sample, and of updates to aggregate; with fewer, the "
        "round changes nothing.",
        ge=1,
    )
    over_selection: float = key(
        0.0,
        "Share of participants sampled beyond those needed; the first to finish count, which "
        "favours the fast.",
        ge=0,
        le=1,
    )
    seed: int = key(
        42, "Decides initial weights, partition, sampling, batch order.", ge=0, lt=2**63
    )

    task: str = key(
        "image-classification",
        "What is learned: model, data, loss and metrics; see docs/tasks.md.",
        section="Task, model and data",
    )
    model: str = key(
        "simple-cnn",
        "image-classification: what maps images to log-probabilities of classes.",
    )
    pretrained_weights: str = key(
        "",
        "Absolute path of a state dict, .pth or .safetensors, that the image model begins with; a "
        "last layer of another shape is begun anew. On every host.",
    )
    dataset: str = key(
        "auto",
        "auto: what the task comes with; for images MNIST if it is there or can be fetched, else "
        "digits. own: every participant brings its own data, named in its node config.",
    )
    data_dir: str = key(
        "",
        "Absolute path; empty: $DELTA_FEDAVG_DATA_DIR, or a folder in the user's cache.",
        may_change=True,
    )
    class_names: str = key("", "own images: the class names agreed on, separated by commas.")
    holdout_fraction: float = key(
        0.2, "own: share held out for evaluation where no test data is named.", gt=0, lt=1
    )
    image_mean: float = key(0.5, "own images: subtracted from pixels in [0, 1].")
    image_std: float = key(0.5, "own images: pixels are divided by this, after that.", gt=0)
    image_size: int = key(
        0,
        "Side in pixels of the square to which images of any size are resized and cropped; 0: as "
        "the model says, and others are refused.",
        ge=0,
        le=4096,
    )
    image_channels: int = key(
        0, "1: images are made grey; 3: colour; 0: as the model says.", ge=0, le=3
    )
    augmentation: str = key(
        "none", "What happens to training images by chance, anew in every epoch."
    )
    local_parameters: str = key(
        "",
        "Names of parameters and buffers that stay with each participant and are remembered "
        "there, separated by commas; * stands for anything, as in *running_mean, *running_var.",
    )
    partitioner: str = key(
        "contiguous",
        "Who holds which examples; natural: one participant for each speaker, hospital, or "
        "whatever else examples belong to.",
    )
    dirichlet_alpha: float = key(0.5, "dirichlet: smaller is more skewed.", gt=0)
    shards_per_participant: int = key(2, "shards: label-sorted shards each.", ge=1)
    classes_per_participant: int = key(2, "pathological: labels each.", ge=1)

    local_epochs: int = key(
        10,
        "Epochs that a participant trains on its own data in a round.",
        ge=1,
        section="Local training",
    )
    local_optimizer: str = key(
        "sgd",
        "What takes the local steps; like adamw(beta1=0.9). Its state begins anew each round.",
    )
    learning_rate: float = key(0.01, "Step size of the local optimizer.", gt=0)
    batch_size: int = key(32, "Examples per step; the short last batch is kept.", ge=1)
    lr_schedule: str = key(
        "constant",
        "Factor on learning-rate by round, like exponential(decay=0.99).",
    )
    momentum: float = key(0.0, "sgd: momentum; begins anew each round.", ge=0, lt=1)
    weight_decay: float = key(0.0, "Of the local optimizer.", ge=0)
    gradient_clip: float = key(
        0.0,
        "Largest norm of the gradient of a step, for recurrent networks; 0 is no limit. It is no "
        "protection of privacy: see clip-norm.",
        ge=0,
    )
    proximal_mu: float = key(
        0.0, "FedProx: pulls local weights back to the global ones; 0 is off.", ge=0
    )
    scaffold: bool = key(
        False, "SCAFFOLD: corrects the drift of local training by control variates."
    )
    precision: Literal["float32", "bfloat16"] = key(
        "float32",
        "Arithmetic of local training. bfloat16 is faster where the processor has it and rounds "
        "coarser; weights, updates and evaluation stay float32.",
    )
    device: Literal["auto", "cpu", "cuda"] = key(
        "auto", "auto: a GPU where the process was given one."
    )
    threads_per_client: int = key(
        1,
        "CPU threads of a participant's training; 0: the CPUs that it was given. Results are "
        "equal to the bit for equal numbers of threads.",
        ge=0,
    )
