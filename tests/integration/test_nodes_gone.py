"""Nodes that go and do not come back; see `test_nodes_killed`."""

from pathlib import Path

import pytest

from scripts.real_federation import Federation
from tests.real_run import Run, kill, wait_for_log

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.timeout(900)]


def test_a_node_that_is_gone_for_good_is_missed_even_without_a_deadline(
    federation: Federation, tmp_path: Path
) -> None:
    run = Run(federation, tmp_path / "out", round_deadline=0.0)
    wait_for_log(federation, "node-1", "Receiving: train message")
    kill(federation, federation.nodes["node-1"])

    assert run.finish() == "finished:completed", run.log

    first, *later = run.participants()
    assert first["0"] is None
    assert "Node Unavailable" in str(first["1"])
    assert later == [{"0": None}]  # who is not there is not asked


def test_when_all_nodes_have_signed_off_the_run_ends_with_a_sentence(
    federation: Federation, tmp_path: Path
) -> None:
    run = Run(federation, tmp_path / "out", num_server_rounds=99, quorum_deadline=10.0)
    run.wait_for(r"round +1/99 \|")
    for process in federation.nodes.values():
        process.terminate()
        process.wait()

    assert run.finish() == "finished:failed", run.log
    assert "run stopped: 0 of the 1 participants needed are connected (none)" in run.log
    assert "Traceback" not in run.log
