import numpy as np
import pytest

from strategies.core.client_update import ClientUpdate, UpdateError, steps_of
from strategies.optimization.scaffold import ControlVariate, control_change

W = [np.array([1.0, 2.0], np.float32), np.array(5.0, np.float32)]
LR = 0.5


def update(name: str, first: list[float], second: float, steps: float | None) -> ClientUpdate:
    delta = [np.array(first, np.float32), np.array(second, np.float32)]
    return ClientUpdate(name, delta, 7, steps)


def control(trainable: tuple[bool, bool] = (True, True), num_participants: int = 4):
    return ControlVariate(num_participants, trainable, lambda server_round: LR / server_round)


def move(control: ControlVariate, server_round: int, updates: list[ClientUpdate]) -> None:
    change = control.begin(server_round)
    for received in updates:
        change.add(received)
    control.move(change)


def test_the_control_variate_begins_at_zero_in_the_form_of_the_weights():
    value = control().value(W)

    assert [v.shape for v in value] == [(2,), ()]
    assert all(v.dtype == np.float32 and not v.any() for v in value)


def test_it_moves_as_the_paper_says_by_hand():
    c = control()
    c.value(W)

    # c_i+ - c_i = -c - delta / (K * lr); c = 0, K = 2, lr = 0.5: -delta; K = 4: -delta / 2
    move(c, 1, [update("0", [1, -2], 4, 2), update("1", [2, 2], 0, 4)])

    # |S|/N * mean = sum / 4: ([-1 - 1, 2 - 1], -4) / 4
    np.testing.assert_array_equal(c.value(W)[0], [-0.5, 0.25])
    np.testing.assert_array_equal(c.value(W)[1], -1.0)

    move(c, 2, [update("0", [1, 0], 0, 4)])  # lr is 0.25 now, K * lr = 1

    # c + (-c - delta) / 4 = 0.75 * c - delta / 4
    np.testing.assert_array_equal(c.value(W)[0], [-0.375 - 0.25, 0.1875])
    np.testing.assert_array_equal(c.value(W)[1], -0.75)


def test_the_server_follows_the_mean_of_the_participants_control_variates():
    generator = np.random.default_rng(0)
    server = control(num_participants=3)
    own = [[np.zeros_like(w) for w in W] for _ in range(3)]

    for server_round in range(1, 6):
        c = server.value(W)
        sampled = generator.choice(3, size=2, replace=False)
        updates = []
        for i in sampled:
            steps = float(generator.integers(1, 9))
            delta = [generator.standard_normal(w.shape).astype(np.float32) for w in W]
            change = control_change(c, delta, steps * LR / server_round, [True, True])
            own[i] = [c_i + move for c_i, move in zip(own[i], change, strict=True)]
            updates.append(ClientUpdate(str(i), delta, 1, steps))
        move(server, server_round, updates)

        for parameter, value in enumerate(server.value(W)):
            mean = np.mean([c_i[parameter] for c_i in own], axis=0)
            np.testing.assert_allclose(value, mean, atol=1e-5)


def test_what_has_no_gradient_has_no_control_variate():
    c = control(trainable=(True, False))
    c.value(W)

    move(c, 1, [update("0", [1, 1], 9, 1)])

    assert c.value(W)[1] == 0
    assert c.value(W)[0].any()


def test_its_state_brings_it_back_to_the_bit():
    c = control()
    c.value(W)
    move(c, 1, [update("0", [1 / 3, -2], 4, 3)])
    saved = {name: array.copy() for name, array in c.state().items()}
    move(c, 2, [update("0", [1, 2], 4, 3)])
    after = [array.copy() for array in c.value(W)]

    resumed = control()
    resumed.load_state(saved)
    move(resumed, 2, [update("0", [1, 2], 4, 3)])

    for ours, theirs in zip(resumed.value(W), after, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_who_does_not_tell_its_steps_is_named():
    with pytest.raises(UpdateError, match="participant 3 refused: it does not tell"):
        steps_of(update("3", [1, 1], 1, None))


@pytest.mark.parametrize("rate", [0.0, 1e-60])  # the second is 0 as a float32
def test_with_no_step_no_control_variate_changes_by_hand(rate):
    c = ControlVariate(4, (True, True), lambda server_round: LR if server_round == 1 else rate)
    c.value(W)
    move(c, 1, [update("0", [1, -2], 4, 2)])  # sum / 4, of -delta

    move(c, 2, [update("0", [0, 0], 0, 2), update("1", [0, 0], 0, 4)])

    np.testing.assert_array_equal(c.value(W)[0], [-0.25, 0.5])
    np.testing.assert_array_equal(c.value(W)[1], -1.0)
    own = control_change(c.value(W), update("0", [0, 0], 0, 2).delta, 2 * rate, (True, True))
    assert not any(array.any() for array in own)  # the participant's side of it


@pytest.mark.parametrize("steps", [1e-39, 1e-300])
def test_who_would_make_the_control_variate_infinite_is_refused_and_changes_nothing(steps):
    c = control()
    c.value(W)
    change = c.begin(1)
    change.add(update("0", [1, -2], 4, 2))

    with pytest.raises(UpdateError, match="participant liar refused: its delta is too large"):
        change.add(update("liar", [1, 1], 1, steps))
    c.move(change)

    np.testing.assert_array_equal(c.value(W)[0], [-0.25, 0.5])


def test_beginning_anew_is_zero_and_the_mean_holds_from_there_by_hand():
    c = control(num_participants=2)
    c.value(W)
    move(c, 1, [update("0", [2, 0], 0, 2), update("1", [-4, 0], 0, 2)])
    np.testing.assert_array_equal(c.value(W)[0], [1, 0])  # c_0 = -2, c_1 = 4

    c.begin_anew()
    np.testing.assert_array_equal(c.value(W)[0], [0, 0])
    move(c, 2, [update("0", [3, 0], 0, 4), update("1", [1, 0], 0, 4)])  # lr is 0.25: K * lr = 1

    np.testing.assert_array_equal(c.value(W)[0], [-2, 0])  # of c_0 = -3, c_1 = -1
