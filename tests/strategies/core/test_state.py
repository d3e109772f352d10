from strategies.core.state import ClientStateRounds


def told(participation: ClientStateRounds, participant: str) -> tuple[int, int]:
    instruction = participation.instruction(participant)
    return instruction["state-round"], instruction["state-keep-from"]


def test_a_participant_goes_on_from_the_round_in_which_it_last_counted():
    participation = ClientStateRounds()
    assert told(participation, "a") == (0, 0)

    participation.record(1, ["a", "b"])
    participation.record(2, ["b"])

    assert told(participation, "a") == (1, 0)
    assert told(participation, "b") == (2, 0)
    assert told(participation, "c") == (0, 0)


def test_states_are_kept_as_far_back_as_a_resume_may_go():
    participation = ClientStateRounds()
    participation.record(1, ["a"])
    participation.checkpoint_saved()
    participation.record(2, ["a"])

    assert told(participation, "a") == (2, 1)


def test_a_resumed_run_goes_on_from_its_checkpoint():
    participation = ClientStateRounds()
    participation.record(4, ["a/b", "c"])
    saved = participation.state()
    participation.record(5, ["c"])

    resumed = ClientStateRounds()
    resumed.load_state(saved)

    assert told(resumed, "a/b") == (4, 4)
    assert told(resumed, "c") == (4, 4)
