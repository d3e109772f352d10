from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fl_app.messaging.reorder_buffer import ReorderBuffer


@given(st.integers(0, 12), st.randoms(use_true_random=False))
def test_whatever_the_order_of_arrival_all_are_handed_on_in_turn(number: int, order: Random):
    names = [str(i) for i in range(number)]
    reorder_buffer: ReorderBuffer[int] = ReorderBuffer(names)
    arrived = list(range(number))
    order.shuffle(arrived)

    handed_on = [item for i in arrived for item in reorder_buffer.arrived(str(i), i)]

    assert handed_on == list(range(number))


def test_nothing_waits_longer_than_it_must():
    reorder_buffer: ReorderBuffer[str] = ReorderBuffer(["a", "b", "c"])

    assert list(reorder_buffer.arrived("b", "B")) == []
    assert list(reorder_buffer.arrived("a", "A")) == ["A", "B"]
    assert list(reorder_buffer.arrived("c", "C")) == ["C"]
