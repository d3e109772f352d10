"""Participants of different names have different random streams."""

from itertools import combinations

from fl_app.core.seeding import Stream, derive_seed, numpy_generator, training_generator


def test_names_that_are_one_number_are_different_participants():
    names = ["7", "07", "007", "seven", "9" * 5000, "9" * 5001]
    seeds = [training_generator(42, 1, name).initial_seed() for name in names]
    assert len(set(seeds)) == len(names)
    draws = [numpy_generator(Stream.CODEC, 42, 1, name).random() for name in names]
    assert all(one != other for one, other in combinations(draws, 2))


def test_a_partition_id_is_its_own_key():
    for partition_id in (0, 7, 10**6):
        expected = derive_seed(Stream.LOCAL_TRAINING, 42, 3, partition_id)
        assert training_generator(42, 3, str(partition_id)).initial_seed() == expected
