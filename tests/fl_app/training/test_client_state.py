import errno
import os
from pathlib import Path

import numpy as np
import pytest

from fl_app.core.errors import ConfigError
from fl_app.training.client_state import ClientState, ClientStateStore, StateError, state_folder


def memory(value: float) -> ClientState:
    return ClientState([np.full((2, 3), value, np.float32)], [np.array(value, np.float32)])


@pytest.fixture
def store(tmp_path: Path) -> ClientStateStore:
    return ClientStateStore(tmp_path / "a" / "b")


def rounds(store: ClientStateStore) -> list[str]:
    return sorted(path.name for path in store._folder.iterdir())


@pytest.mark.parametrize(
    "kept",
    [
        memory(1 / 3),
        ClientState(),
        ClientState(control=[np.zeros(2, np.float32)]),
        ClientState(residual=[]),
    ],
)
def test_a_memory_comes_back_to_the_bit(store, kept):
    store.save(3, kept, keep_from=0)

    loaded = store.load(3)

    assert loaded is not None
    for ours, theirs in ((loaded.control, kept.control), (loaded.residual, kept.residual)):
        assert (ours is None) == (not theirs)
        for a, b in zip(ours or [], theirs or [], strict=True):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def test_memories_are_kept_from_the_round_that_may_be_asked_for(store):
    for server_round, keep_from in ((1, 0), (2, 0), (3, 2), (5, 2), (6, 5)):
        store.save(server_round, memory(server_round), keep_from)

    assert rounds(store) == ["round-000005.safetensors", "round-000006.safetensors"]


def test_a_round_that_is_done_again_is_overwritten(store):
    store.save(2, memory(1.0), 0)
    store.save(2, memory(2.0), 0)

    loaded = store.load(2)
    assert loaded is not None
    assert loaded.control is not None
    assert loaded.control[0][0, 0] == 2


def test_what_is_not_there_or_damaged_is_none(store):
    assert store.load(1) is None
    store.save(1, memory(1.0), 0)
    path = store._folder / "round-000001.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    assert store.load(1) is None


def test_a_full_disk_is_told_and_the_old_memory_stays(store, monkeypatch):
    store.save(1, memory(1.0), 0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match=r"No space left on device; make room, or set state-dir"):
        store.save(2, memory(2.0), 1)
    assert store.load(1) is not None
    assert rounds(store) == ["round-000001.safetensors"]


def test_in_simulation_it_lies_in_the_run_directory(tmp_path):
    folder = state_folder({"partition-id": 3}, str(tmp_path), "", "20260101-mnist", "3")
    assert folder == tmp_path / "20260101-mnist" / "participants" / "3"

    resumed = str(tmp_path / "elsewhere" / "20260101-mnist")
    folder = state_folder({"partition-id": 3}, str(tmp_path), resumed, "20260101-mnist", "3")
    assert folder == Path(resumed) / "participants" / "3"


def test_in_deployment_the_node_decides_where(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    node = {"name": "north"}
    assert state_folder(node, "/servers/own", "/servers/own/run", "run", "north") == (
        tmp_path / "delta-fedavg" / "run" / "north"
    )
    own = {"name": "north", "state-dir": str(tmp_path / "own")}
    assert state_folder(own, "", "", "run", "north") == tmp_path / "own" / "run" / "north"
    with pytest.raises(ConfigError, match="state-dir"):
        state_folder({"name": "north", "state-dir": "relative"}, "", "", "run", "north")


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", ".", "..", "ü", "x" * 300])
def test_a_name_from_elsewhere_never_leads_out_of_the_folder(tmp_path, name):
    node = {"state-dir": str(tmp_path)}

    folder = state_folder(node, "", "", name, name)

    assert folder.resolve().parent.parent == tmp_path.resolve()
