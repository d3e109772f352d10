import random
from collections import Counter
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.client_update import participant_order
from strategies.core.clients import most_participations, sample_names

TEN = [str(i) for i in range(10)]
names = st.lists(st.text(max_size=5), unique=True, max_size=20)


@given(names, st.integers(0, 25), st.integers(0, 2**63 - 1), st.integers(1, 1000))
def test_a_sample_is_sorted_unique_and_of_the_size_asked_for(available, size, seed, server_round):
    drawn = sample_names(available, size, seed=seed, server_round=server_round)

    assert len(drawn) == min(size, len(available))
    assert set(drawn) <= set(available)
    assert len(set(drawn)) == len(drawn)
    assert drawn == sorted(drawn, key=participant_order)


@given(names, st.integers(0, 20), st.randoms(use_true_random=False))
def test_the_order_of_connection_does_not_matter(available, size, order: Random):
    shuffled = list(available)
    order.shuffle(shuffled)

    expected = sample_names(available, size, seed=1, server_round=1)

    assert sample_names(shuffled, size, seed=1, server_round=1) == expected
    assert sample_names(iter(shuffled), size, seed=1, server_round=1) == expected


def test_all_take_part_where_all_are_asked_for():
    assert sample_names(reversed(TEN), 10, seed=5, server_round=2) == TEN
    assert sample_names(TEN, 99, seed=5, server_round=2) == TEN
    assert sample_names([], 3, seed=5, server_round=2) == []


def test_seeds_and_rounds_draw_differently():
    by_seed = {tuple(sample_names(TEN, 5, seed=s, server_round=1)) for s in range(30)}
    by_round = {tuple(sample_names(TEN, 5, seed=1, server_round=r)) for r in range(1, 31)}

    assert len(by_seed) > 20  # of 252 possible
    assert len(by_round) > 20


def test_seed_and_round_are_not_interchangeable():
    swapped = [
        sample_names(TEN, 5, seed=a, server_round=b) == sample_names(TEN, 5, seed=b, server_round=a)
        for a in range(1, 6)
        for b in range(6, 11)
    ]

    assert sum(swapped) < 3


def test_earlier_draws_leave_no_trace():
    fresh = sample_names(TEN, 4, seed=3, server_round=7)
    for server_round in range(1, 7):
        sample_names(TEN, 4, seed=3, server_round=server_round)

    assert sample_names(TEN, 4, seed=3, server_round=7) == fresh


def test_the_global_generators_are_neither_read_nor_moved():
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[index]

    first = sample_names(TEN, 4, seed=3, server_round=7)
    after = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[index]
    random.seed(2)
    np.random.seed(2)

    assert after == states
    assert sample_names(TEN, 4, seed=3, server_round=7) == first


def test_every_participant_is_equally_likely():
    rounds, size = 4000, 3
    drawn = Counter(
        name
        for server_round in range(1, rounds + 1)
        for name in sample_names(TEN, size, seed=11, server_round=server_round)
    )

    expected = rounds * size / len(TEN)
    # Binomial with p = 0.3: the standard deviation is 29, so this is five of them.
    assert all(abs(drawn[name] - expected) < 5 * (rounds * 0.3 * 0.7) ** 0.5 for name in TEN)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 20))
def test_the_most_participations_are_those_of_the_draw_whatever_the_names(available, size, rounds):
    named = [f"site-{i:02d}" for i in range(available)]
    drawn = Counter(
        name
        for server_round in range(1, rounds + 1)
        for name in sample_names(named, size, seed=9, server_round=server_round)
    )

    most = most_participations(available, size, seed=9, rounds=rounds)

    assert most == max(drawn.values())
    assert -(-rounds * min(size, available) // available) <= most <= rounds
