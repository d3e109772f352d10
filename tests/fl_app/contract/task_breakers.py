"""A small task that obeys every law, and others that break one each."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from fl_app.core.metrics import ACCURACY, Metric
from fl_app.data.tensor_dataset import ItemExamples, TensorExamples
from fl_app.tasks.task import Task, TaskData


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.fc = nn.Linear(3, 3)
        self.own = nn.Parameter(torch.zeros(3))

    def forward(self, inputs: Tensor) -> Any:
        return self.fc(inputs * self.frozen) + self.own


class Good(Task):
    metrics = {"accuracy": ACCURACY}

    def build_model(self):
        return Net()

    def is_federated(self, name):
        return name != "own"

    def load_data(self, data_dir):
        generator = torch.Generator().manual_seed(1)
        inputs = torch.randn(60, 3, generator=generator)
        everything = TensorExamples(inputs, inputs.argmax(1))
        train, test = everything.select(torch.arange(40)), everything.select(torch.arange(40, 60))
        owners = ["a", "b"] * 20
        return TaskData(train, test, owners, owners[:20], ("x", "y", "z"), {"mean": "0"})

    def loss(self, outputs, batch):
        return F.cross_entropy(outputs, batch[-1])

    def measure(self, outputs, batch):
        return {"accuracy": ((outputs.argmax(1) == batch[-1]).sum(), len(outputs))}


class Reloading(Good):
    """Draws its data anew."""

    def load_data(self, data_dir):
        inputs = torch.from_numpy(np.random.default_rng().normal(size=(40, 3))).float()
        examples = TensorExamples(inputs, inputs.argmax(1))
        return TaskData(examples, examples)


class Growing(Good):
    """Has other numbers of examples."""

    def load_data(self, data_dir):
        count = int(np.random.default_rng().integers(20, 10_000))
        examples = TensorExamples(torch.zeros(count, 3), torch.zeros(count, dtype=torch.int64))
        return TaskData(examples, examples)


class TwoForms(Good):
    """Is tested on inputs of another dtype."""

    def load_data(self, data_dir):
        data = super().load_data(data_dir)
        inputs, labels = data.test.tensors
        return replace(data, test=TensorExamples(inputs.double(), labels))


class FewOwners(Good):
    """Names too few owners."""

    def load_data(self, data_dir):
        return replace(super().load_data(data_dir), train_groups=["a", "b"])


class NumberedOwners(Good):
    """Names its owners by numbers, in an array."""

    def load_data(self, data_dir):
        data = super().load_data(data_dir)
        return replace(data, train_groups=np.arange(40) % 2, test_groups=np.arange(20) % 2)


class NoTestSet(Good):
    """Has no test data, and says so by None."""

    def load_data(self, data_dir):
        return replace(super().load_data(data_dir), test=None)


class PairForExamples(Good):
    """Gives a pair of tensors for examples."""

    def load_data(self, data_dir):
        return replace(super().load_data(data_dir), train=(torch.ones(40, 3), torch.ones(40)))


class BugInInit(Good):
    """Cannot be built, by mistake."""

    def __init__(self):
        raise KeyError("width")


class FewNames(Good):
    """Names too few classes."""

    def load_data(self, data_dir):
        return replace(super().load_data(data_dir), label_names=("x", "y"))


class Strangers(Good):
    """Tests owners that have nothing to train on."""

    def load_data(self, data_dir):
        return replace(super().load_data(data_dir), test_groups=["c"] * 20)


class NumberInMetadata(Good):
    def metadata(self):
        return {"mean": 0.5}


class LossOfEach(Good):
    """Has a loss for every example."""

    def loss(self, outputs, batch):
        return F.cross_entropy(outputs, batch[-1], reduction="none")


class Narrow(Good):
    """Builds a model for other inputs."""

    def build_model(self):
        return nn.Linear(4, 3)


class Unmeasured(Good):
    """Names a metric that it does not measure."""

    metrics = {"accuracy": ACCURACY, "auc": Metric("higher")}


class Unfinished(Good):
    """Measures an array, and does not say what to make of it."""

    def measure(self, outputs, batch):
        return {"accuracy": (outputs.sum(0), len(outputs))}


class DictBatches(Good):
    """Makes dicts of its batches, and says how to call the model, but not how large they are."""

    def load_data(self, data_dir):
        inputs, labels = super().load_data(data_dir).train.tensors
        items = ItemExamples(list(zip(inputs, labels, strict=True)))
        return TaskData(items, items)

    def collate(self, items):
        inputs, labels = zip(*items, strict=True)
        return {"inputs": torch.stack(inputs), "labels": torch.stack(labels)}

    def outputs(self, model, batch):
        return model(batch["inputs"])

    def loss(self, outputs, batch):
        return F.cross_entropy(outputs, batch["labels"])


class NegativeWeight(Good):
    def measure(self, outputs, batch):
        return {"accuracy": (1.0, -1)}


def look_up(total: Any, weight: float) -> float:
    raise KeyError("x")


class UnworkableFinish(Good):
    metrics = {"accuracy": Metric("higher", finish=look_up)}


class MeasuresLoss(Good):
    metrics = {"loss": Metric("lower")}


class TakenName(Good):
    """Names a metric as the results name something else."""

    metrics = {"num_examples": Metric("lower")}


class NameOfTwoWords(Good):
    metrics = {"my score": Metric("higher")}


class BetterDown(Good):
    metrics = {"accuracy": Metric("down")}  # type: ignore[arg-type]


class ListOfMetrics(Good):
    metrics = ["accuracy"]  # type: ignore[assignment]


class Forgetful(Good):
    """Forgets a metric of larger batches."""

    def measure(self, outputs, batch):
        return super().measure(outputs, batch) if len(outputs) < 6 else {}


class MeanMetric(Good):
    """Measures a mean and calls it a sum."""

    def measure(self, outputs, batch):
        return {"accuracy": ((outputs.argmax(1) == batch[-1]).float().mean(), len(outputs))}


class SummedLoss(Good):
    def loss(self, outputs, batch):
        return F.cross_entropy(outputs, batch[-1], reduction="sum")


class BatchedWeight(Good):
    """Weighs by batches."""

    def weight(self, batch):
        return 1


class Padding(Good):
    """Lets the model see how far the others are padded, and pads to the first one's length."""

    def load_data(self, data_dir):
        generator = torch.Generator().manual_seed(1)
        lengths = torch.randint(1, 8, (40,), generator=generator).tolist()
        items = [(torch.ones(n, 3), int(n > 4)) for n in lengths]
        return TaskData(ItemExamples(items), ItemExamples(items))

    def collate(self, items):
        inputs = pad_sequence([item[0] for item in items], batch_first=True)
        return inputs.sum(1) * inputs.shape[1], torch.tensor([item[1] for item in items])


class FirstCounts(Padding):
    """Cuts all to the length of the first."""

    def collate(self, items):
        inputs = pad_sequence([item[0][: len(items[0][0])] for item in items], batch_first=True)
        return inputs.sum(1), torch.tensor([item[1] for item in items])


class Scribbling(Good):
    """Changes the examples that it is given."""

    def outputs(self, model, batch):
        return model(batch[0].mul_(0.5))


class NumpyWeights(Good):
    """Draws its initial weights where no seed is set."""

    def build_model(self):
        model = Net()
        model.fc.weight.data = torch.from_numpy(np.random.default_rng().normal(size=(3, 3))).float()
        return model


class NumpyDropout(Good):
    """Draws in training where no seed is set."""

    def outputs(self, model, batch):
        noise = np.random.default_rng().normal(size=batch[0].shape)
        return model(batch[0] + model.training * torch.from_numpy(noise).float())


class Fickle(Good):
    """Federates now this, now that."""

    count = 0

    def is_federated(self, name):
        Fickle.count += name == "own"
        return name != "own" or Fickle.count % 2 == 0


class Thawing(Good):
    """Changes a frozen parameter while it trains."""

    def outputs(self, model, batch):
        if model.training:
            model.frozen.data.mul_(0.99)
        return model(batch[0])


class Hidden(Good):
    """Keeps something that is no parameter."""

    def build_model(self):
        class Scaled(Net):
            def __init__(self) -> None:
                super().__init__()
                self.scale = float(torch.rand(())) + 1

            def forward(self, inputs: Tensor) -> Any:
                return super().forward(inputs) * self.scale

        return Scaled()


class Unused(Good):
    """Has a parameter that the loss does not depend on."""

    def build_model(self):
        model = Net()
        model.spare = nn.Linear(2, 2)
        return model


class Rising(Good):
    """Goes uphill."""

    def outputs(self, model, batch):
        out = super().outputs(model, batch)
        return 2 * out.detach() - out  # the same numbers, and gradients of the other sign


class NoData(Good):
    def load_data(self, data_dir):
        from fl_app.core.errors import DataError

        raise DataError("plays are not here; pip install plays brings them")


class Bug(Good):
    def load_data(self, data_dir):
        raise KeyError("column")


class Untrainable(Good):
    def build_model(self):
        return nn.ReLU()
