"""Every law can be broken: parts that break one, and are told which."""

from pathlib import Path

import pytest

from scripts.analysis import contract
from strategies import part_kinds
from strategies.contract import KINDS, check_part
from strategies.registry import PartError

CALM = """
import numpy as np
from dataclasses import replace
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.compression.codec import Identity
from strategies.compression.quantization import UniformLevels

calls = []

def twice_as_precise(updates):
    return [a.astype(np.float64) for a in weighted_mean(updates)]

def in_place(updates):
    updates[0].delta[0] *= 0
    return weighted_mean(updates)

def shared(updates):
    return updates[0].delta

def forgetful(updates):
    calls.append(1)
    return [np.asarray(a * np.float32(len(calls))) for a in weighted_mean(updates)]

def first(updates):
    return [np.array(a) for a in updates[0].delta]

def halved(updates):
    return [np.asarray(a / np.float32(2)) for a in weighted_mean(updates)]

class Codec(Identity):
    lossless = False
    unbiased = False

class Flat(Codec):
    def decode(self, payload, like):
        return [a.ravel() for a in payload]

class Scribbling(Codec):
    def encode(self, delta, generator):
        delta[0] += 1
        return list(delta)

class Global(Codec):
    def encode(self, delta, generator):
        calls.append(1)
        return [np.asarray(d + np.float32(len(calls))) for d in delta]

class Shifted(Codec):
    def encode(self, delta, generator):
        return [np.asarray(d + np.float32(1)) for d in delta]

class Objects(Codec):
    def encode(self, delta, generator):
        return [np.array([d.tolist() for d in delta], dtype=object)]
    def decode(self, payload, like):
        return [np.asarray(d, np.float32) for d in payload[0].tolist()]

class Raw(Codec):
    def encode(self, delta, generator):
        return [d.ravel(order="K").reshape(d.shape) for d in delta]

class Trusting(Codec):
    def decode(self, payload, like):
        return [np.asarray(payload[i]).reshape(a.shape).astype(a.dtype) for i, a in enumerate(like)]

class Boastful(Codec):
    lossless = True
    def encode(self, delta, generator):
        return [d.astype(np.float16).astype(d.dtype) for d in delta]

class Biased(Codec):
    unbiased = True
    def encode(self, delta, generator):
        return [np.asarray(d * np.float32(generator.uniform(0.9, 1.0))) for d in delta]

class Reversed(Codec):
    def encode(self, delta, generator):
        return [-d for d in delta]

class Plain:
    def step(self, weights, delta, lr_factor):
        return [np.asarray(w + np.float32(lr_factor) * d) for w, d in zip(weights, delta)]

class Double(Plain):
    def step(self, weights, delta, lr_factor):
        return [np.float64(w) for w in super().step(weights, delta, lr_factor)]

class InPlace(Plain):
    def step(self, weights, delta, lr_factor):
        for w, d in zip(weights, delta):
            w += lr_factor * d
        return weights

class Forgetful(Plain):
    velocity = 0.0
    def step(self, weights, delta, lr_factor):
        self.velocity = 0.9 * self.velocity + 1
        factor = np.float32(lr_factor * self.velocity)
        return [np.asarray(w + factor * d) for w, d in zip(weights, delta)]

class Unscheduled(Plain):
    def step(self, weights, delta, lr_factor):
        return super().step(weights, delta, 1.0)

class Backwards(Plain):
    def step(self, weights, delta, lr_factor):
        return super().step(weights, delta, -lr_factor)

def negative(server_round):
    return 1.0 - server_round / 10

class Counting:
    count = 0
    def __call__(self, server_round):
        self.count += 1
        return 1.0 / self.count

class Honest:
    def poison_labels(self, labels, num_classes):
        return labels
    def poison_update(self, delta, num_examples, scene):
        return delta, num_examples

class NoLabel(Honest):
    def poison_labels(self, labels, num_classes):
        return labels + num_classes

class Infinite(Honest):
    def poison_update(self, delta, num_examples, scene):
        return [d / 0.0 for d in delta], num_examples

class Global2(Honest):
    def poison_update(self, delta, num_examples, scene):
        calls.append(1)
        return [np.asarray(d * np.float32(len(calls))) for d in delta], num_examples
"""

BREAKS = [
    ("aggregator", "twice_as_precise", "shapes and dtypes"),
    ("aggregator", "in_place", "stay as they are"),
    ("aggregator", "shared", "stay as they are"),
    ("aggregator", "forgetful", "equal bits"),
    ("aggregator", "first", "order of the updates"),
    ("aggregator", "halved", "all the same give themselves"),
    ("codec", "Flat", "shapes and dtypes"),
    ("codec", "Scribbling", "stays as it is"),
    ("codec", "Global", "equal payloads"),
    ("codec", "Shifted", "zeros comes back"),
    ("codec", "Objects", "survives the wire"),
    ("codec", "Raw", "lies in memory"),
    ("codec", "Trusting", "damaged payload"),
    ("codec", "Boastful", "where it says so"),
    ("codec", "Biased", "where it says so"),
    ("codec", "Reversed", "smaller than the delta"),
    ("server-optimizer", "Double", "shapes and dtypes"),
    ("server-optimizer", "InPlace", "stays as it is"),
    ("server-optimizer", "Forgetful", "same steps"),
    ("server-optimizer", "Unscheduled", "moves nothing"),
    ("server-optimizer", "Backwards", "along the delta"),
    ("lr-schedule", "negative", "not negative"),
    ("server-lr-schedule", "Counting", "round alone"),
    ("adversary", "NoLabel", "become labels"),
    ("adversary", "Infinite", "server accepts"),
    ("adversary", "Global2", "equal lies"),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("own") / "law_breakers.py"
    path.write_text(CALM, encoding="utf-8")
    return path


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("kind", "name", "law"), BREAKS)
def test_a_part_that_breaks_a_law_is_told_which_and_how(own, kind, name, law):
    broken = {v.law.says: v.broken for v in check_part(kind, f"{own}:{name}") if v.broken}

    (how,) = [told for says, told in broken.items() if law in says]
    assert len(str(how)) > 10


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name in part_kinds.KINDS[kind].names],
    ids=str,
)
def test_the_projects_own_parts_obey_all_laws_that_a_run_relies_on(kind, name):
    verdicts = check_part(kind, name)

    assert [v.broken for v in verdicts if not v.accepted] == []


def test_the_laws_that_need_not_hold_tell_what_a_part_is():
    def broken(part: str) -> list[str]:
        return [v.law.says for v in check_part("aggregator", part) if v.broken]

    assert broken("median") == []
    assert broken("norm-clipped-mean(max_norm=0.1)") == [
        "updates that are all the same give themselves",
        "adding a number to all updates adds it to the result",
        "no coordinate leaves the range of the updates",
    ]


def test_the_command_says_which_laws_hold_and_its_status_whether_a_run_can_use_it(own, capsys):
    assert contract.main(["aggregator", "norm-clipped-mean"]) == 0
    told = capsys.readouterr().out
    assert "holds  the order of the updates does not matter\n" in told
    assert "BROKEN (adding a number to all updates adds it to the result)\n" in told

    assert contract.main(["aggregator", f"{own}:first"]) == 1
    told = capsys.readouterr().out
    assert "BROKEN the order of the updates does not matter\n       another order gives" in told

    assert contract.main(["aggregator", "medain"]) == 2
    assert "did you mean median?" in capsys.readouterr().err


def test_a_part_that_does_not_exist_is_no_broken_law():
    with pytest.raises(PartError, match="is not known"):
        check_part("codec", "nonsense")
    with pytest.raises(ValueError, match="strategy has no contract"):
        check_part("strategy", "FedAvg")
