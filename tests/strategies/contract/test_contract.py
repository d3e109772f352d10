"""Every law can be broken: parts that break one, and are told which."""

from importlib import import_module
from pathlib import Path

import pytest

from scripts.analysis import contract
from strategies import part_kinds
from strategies.contract import check_part, kinds_with_laws
from strategies.part_specs import PartError

# Tasks, a kind of the application, are tried in tests/fl_app/contract.
KINDS = [kind for kind in kinds_with_laws() if kind != "task"]

BREAKS = [
    ("aggregator", "twice_as_precise", "shapes and dtypes"),
    ("aggregator", "in_place", "stay as they are"),
    ("aggregator", "shared", "stay as they are"),
    ("aggregator", "forgetful", "equal bits"),
    ("aggregator", "first", "order of the updates"),
    ("aggregator", "halved", "all the same give themselves"),
    ("aggregator", "squared", "adding a number"),
    ("aggregator", "overshooting", "leaves the range"),
    ("codec", "Flat", "shapes and dtypes"),
    ("codec", "Scribbling", "stays as it is"),
    ("codec", "Global", "equal payloads"),
    ("codec", "Shifted", "zeros comes back"),
    ("codec", "Objects", "survives the wire"),
    ("codec", "Raw", "lies in memory"),
    ("codec", "Trusting", "damaged payload"),
    ("codec", "Boastful", "where it says so"),
    ("codec", "Biased", "where it says so"),
    ("codec", "Sparse(scale=200.0)", "where it says so"),
    ("codec", "Sparse(scale=120.0)", "where it says so"),
    ("codec", "Sparse(scale=80.0)", "where it says so"),
    ("codec", "Reversed", "smaller than the delta"),
    ("codec", "Nothing", "smaller than the delta"),
    ("codec", "TooLong", "smaller than the delta"),
    ("codec", "Sparse", "smaller than the delta"),
    ("codec", "WorseFedBack", "smaller than the delta"),
    ("server-optimizer", "Double", "shapes and dtypes"),
    ("server-optimizer", "InPlace", "stays as it is"),
    ("server-optimizer", "Forgetful", "same steps"),
    ("server-optimizer", "Unprepared", "refused round"),
    ("server-optimizer", "Unscheduled", "moves nothing"),
    ("server-optimizer", "Coasting", "moves nothing"),
    ("server-optimizer", "Backwards", "along the delta"),
    ("lr-schedule", "negative", "not negative"),
    ("lr-schedule", "late", "not negative"),
    ("lr-schedule", "whole", "is a float"),
    ("server-lr-schedule", "Counting", "round alone"),
    ("adversary", "NoLabel", "become labels"),
    ("adversary", "Relabelling", "labels stay as they are"),
    ("adversary", "Infinite", "server accepts"),
    ("adversary", "Countless", "server accepts"),
    ("adversary", "Colluding", "server accepts"),
    ("adversary", "Drawing", "equal lies"),
]


OWN = Path(__file__).with_name("law_breakers.py")
OWN_CODECS = Path(__file__).with_name("codec_breakers.py")


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("kind", "name", "law"), BREAKS)
def test_a_part_that_breaks_a_law_is_told_which_and_how(kind, name, law):
    own = OWN_CODECS if kind == "codec" else OWN

    broken = {v.law.says: v.broken for v in check_part(kind, f"{own}:{name}") if v.broken}

    (how,) = [told for says, told in broken.items() if law in says]
    assert len(str(how)) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_every_law_of_every_kind_has_a_part_that_breaks_it(kind):
    laws = import_module(str(part_kinds.KINDS[kind].laws))
    kinds = {k for k in KINDS if part_kinds.KINDS[k].laws == laws.__name__}
    broken = [says for breaking, _, says in BREAKS if breaking in kinds]

    assert [law.says for law in laws.LAWS if not any(says in law.says for says in broken)] == []


def test_a_codec_that_error_feedback_makes_diverge_is_refused_with_words(capsys):
    assert contract.main(["codec", f"{OWN_CODECS}:TooLong"]) == 1
    assert "the error is 1.78 times as large as the delta" in capsys.readouterr().out

    assert contract.main(["codec", f"{OWN_CODECS}:WorseFedBack"]) == 1
    told = capsys.readouterr().out
    assert "of error feedback the error is" in told
    assert "run it with error-feedback = false" in told


def test_an_unbiased_codec_that_is_unbiased_keeps_that_law():
    held = [v.law.says for v in check_part("codec", f"{OWN_CODECS}:Sparse") if v.broken is None]

    assert "it is lossless and unbiased where it says so" in held


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


def test_the_command_says_which_laws_hold_and_its_status_whether_a_run_can_use_it(capsys):
    assert contract.main(["aggregator", "norm-clipped-mean"]) == 0
    told = capsys.readouterr().out
    assert "holds  the order of the updates does not matter\n" in told
    assert "BROKEN (adding a number to all updates adds it to the result)\n" in told

    assert contract.main(["aggregator", f"{OWN}:first"]) == 1
    told = capsys.readouterr().out
    assert "BROKEN the order of the updates does not matter\n       another order gives" in told

    assert contract.main(["aggregator", "medain"]) == 2
    assert "did you mean median?" in capsys.readouterr().err


def test_a_part_that_does_not_exist_is_no_broken_law():
    with pytest.raises(PartError, match="is not known"):
        check_part("codec", "nonsense")
    with pytest.raises(ValueError, match="strategy has no contract"):
        check_part("strategy", "FedAvg")
