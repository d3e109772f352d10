import numpy as np
import pytest

from strategies.compression.quantization import BLOCK, UniformLevels

EIGHT, FOUR = UniformLevels(8), UniformLevels(4)
both = pytest.mark.parametrize("levels", [EIGHT, FOUR])


class Drawn:
    """A generator that draws what it is told."""

    def __init__(self, *draws: float) -> None:
        self._draws = draws

    def random(self, size: int, dtype: type) -> np.ndarray:
        assert size == len(self._draws)
        return np.array(self._draws, dtype)


def test_four_bits_by_hand():
    # Scale 14, seven steps of 2. 3 is halfway between 2 and 4, which are levels 8 and 9.
    values = np.array([14, 3, 3, -14, 0], np.float32)

    packed = FOUR.pack(values, Drawn(0.99, 0.49, 0.5, 0.99, 0.0))  # type: ignore[arg-type]

    assert packed[:4].view("<f4") == 14
    assert [f"{byte:02x}" for byte in packed[4:]] == ["9e", "08", "07"]
    np.testing.assert_array_equal(FOUR.unpack(packed, 5), [14, 4, 2, -14, 0])


def test_eight_bits_by_hand():
    values = np.array([-254, 3, 127], np.float32)  # steps of 2

    packed = EIGHT.pack(values, Drawn(0.0, 0.5, 0.49))  # type: ignore[arg-type]

    assert list(packed[4:]) == [0, 127 + 1, 127 + 64]
    np.testing.assert_array_equal(EIGHT.unpack(packed, 3), [-254, 2, 128])


@both
def test_a_value_between_levels_goes_up_as_often_as_it_should(levels: UniformLevels):
    share = 0.3
    values = np.full(BLOCK, share / levels.steps, np.float32)
    values[0] = 1  # the scale
    repeats = 200

    ups = sum(
        np.count_nonzero(levels.unpack(levels.pack(values, np.random.default_rng(i)), BLOCK)[1:])
        for i in range(repeats)
    )

    n = repeats * (BLOCK - 1)
    assert abs(ups / n - share) < 6 * np.sqrt(share * (1 - share) / n)


@both
def test_each_block_has_its_own_scale(levels: UniformLevels):
    values = np.concatenate([np.full(BLOCK, 1e-6), np.full(BLOCK, 1e6), [3.0]]).astype(np.float32)

    decoded = levels.unpack(levels.pack(values, np.random.default_rng(0)), values.size)

    np.testing.assert_array_equal(decoded, values)  # the largest of a block is exact


@both
def test_zeros_stay_zero_and_the_largest_exact_next_to_anything(levels: UniformLevels):
    draw = np.random.default_rng(1)
    values = draw.standard_normal(BLOCK, dtype=np.float32)
    values[::3] = 0
    largest = np.abs(values).argmax()

    decoded = levels.unpack(levels.pack(values, draw), BLOCK)

    assert (decoded[::3] == 0).all()
    assert decoded[largest] == values[largest]


@both
def test_the_error_in_expected_square_is_less_than_what_is_sent(levels: UniformLevels):
    # The worst that a block can hold: one value at the scale, the others a third of a step.
    values = np.full(BLOCK, 0.28 / levels.steps, np.float32)
    values[0] = 1

    errors = [
        np.sum((levels.unpack(levels.pack(values, np.random.default_rng(i)), BLOCK) - values) ** 2)
        for i in range(300)
    ]

    assert np.mean(errors) < 0.8 * np.sum(values**2)
    if levels is FOUR:
        assert np.mean(errors) > 0.7 * np.sum(values**2)  # the bound is near


@both
@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf, -1.0])
def test_a_scale_that_is_none_is_refused(levels: UniformLevels, scale: float):
    packed = levels.pack(np.ones(300, np.float32), np.random.default_rng(0))
    packed[4:8] = np.array([scale], "<f4").view(np.uint8)

    with pytest.raises(ValueError, match="1 scales are not finite or negative"):
        levels.unpack(packed, 300)


@pytest.mark.parametrize(("levels", "byte", "level"), [(EIGHT, 255, 255), (FOUR, 0xF3, 15)])
def test_a_level_that_is_none_is_refused(levels: UniformLevels, byte: int, level: int):
    packed = levels.pack(np.ones(4, np.float32), np.random.default_rng(0))
    packed[-1] = byte

    with pytest.raises(ValueError, match=f"level {level} is not one of 0 to {level - 1}"):
        levels.unpack(packed, 4)
