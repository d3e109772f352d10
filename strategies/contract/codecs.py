"""The laws of codecs."""

from collections.abc import Callable

import numpy as np
from flwr.common import ndarrays_to_parameters

from strategies.compression.codec import Codec
from strategies.contract.codec_claims import (
    example_deltas,
    keeps_a_share,
    keeps_a_share_with_feedback,
    keeps_its_claims,
    through,
)
from strategies.contract.comparisons import (
    bits_of,
    demand,
    demand_form,
    demand_same_bits,
    example_arrays,
    frozen,
)
from strategies.contract.laws import BrokenLawError, Build, Law
from strategies.core.client_update import Arrays
from strategies.core.npy import decode_arrays


def has_the_form_of_the_model(codec: Codec, delta: Arrays) -> None:
    """Decoding needs no more of the model than its form, and gives back its form."""
    like = [np.full_like(array, np.nan) for array in delta]
    demand_form(codec.decode(codec.encode(delta, np.random.default_rng(0)), like), delta)


def leaves_what_it_is_given_alone(codec: Codec, delta: Arrays) -> None:
    """Neither a delta nor a payload is changed, and both may be read-only."""
    before, given = bits_of(delta), [np.array(array) for array in delta]
    payload = codec.encode(given, np.random.default_rng(0))
    demand(bits_of(given) == before, "the delta it was given is changed")
    sent, arrived = bits_of(payload), [np.array(array) for array in payload]
    codec.decode(arrived, given)
    demand(bits_of(arrived) == sent, "the payload it was given is changed")
    codec.decode(codec.encode(frozen(delta), np.random.default_rng(0)), frozen(delta))
    codec.decode(frozen(payload), frozen(delta))


def is_repeatable(codec: Codec, delta: Arrays, seed: int) -> None:
    """Equal generators give equal payloads, and equal payloads equal deltas."""
    first, second = (codec.encode(delta, np.random.default_rng(seed)) for _ in range(2))
    demand_same_bits(first, second, "the second payload is another one")
    again = codec.decode(first, delta)
    demand_same_bits(codec.decode(first, delta), again, "the second delta is another one")


def gives_zeros_for_zeros(codec: Codec, delta: Arrays) -> None:
    """Whoever learned nothing moves nothing."""
    for array in through(codec, [np.zeros_like(array) for array in delta]):
        demand(not array.any(), f"of a delta of zeros {np.count_nonzero(array)} are not zero")


def survives_the_wire(codec: Codec, delta: Arrays) -> None:
    """A payload can be sent by Flower, and decodes to the same afterwards."""
    payload = codec.encode(delta, np.random.default_rng(0))
    arrived = decode_arrays(ndarrays_to_parameters(payload).tensors)
    demand_same_bits(
        codec.decode(arrived, delta), codec.decode(payload, delta), "it arrives as another delta"
    )


def does_not_see_the_layout(codec: Codec, delta: Arrays) -> None:
    """How an array lies in memory does not matter."""
    otherwise = [np.asfortranarray(array) for array in delta]
    demand_same_bits(through(codec, otherwise), through(codec, delta), "Fortran order matters")


def refuses_damage(codec: Codec, payload: Arrays, like: Arrays) -> None:
    """A payload from anybody is refused with a `ValueError`, or decodes to the model's form.

    Values that are not finite may come out: the server looks for them once more.
    """
    try:
        decoded = codec.decode(payload, like)
    except ValueError:
        return
    except Exception as error:
        raise BrokenLawError(f"damage raises {error!r}, which is no ValueError") from error
    demand_form(decoded, like)


def _of_delta(check: Callable[[Codec, Arrays], None]) -> Callable[..., None]:
    def drawn(build: Build, generator: np.random.Generator) -> None:
        check(build(), example_arrays(generator))

    return drawn


def _repeatable(build: Build, generator: np.random.Generator) -> None:
    is_repeatable(build(), example_arrays(generator), int(generator.integers(1000)))


def _damage(build: Build, generator: np.random.Generator) -> None:
    codec: Codec = build()
    like = example_arrays(generator)
    payload = codec.encode(like, generator)
    refuses_damage(codec, [], like)
    refuses_damage(codec, [*payload, np.zeros(3, np.float32)], like)
    for index, array in enumerate(payload):
        others = [
            array.ravel()[: array.size // 2],
            np.repeat(array.ravel(), 2),
            array.astype(np.complex128),
            np.frombuffer(generator.bytes(array.nbytes), array.dtype).reshape(array.shape),
            np.full_like(array, np.nan if array.dtype.kind == "f" else 255),
        ]
        for other in others:
            refuses_damage(codec, [*payload[:index], other, *payload[index + 1 :]], like)


def _feedback(build: Build, generator: np.random.Generator) -> None:
    codec: Codec = build()
    if not codec.lossless:
        keeps_a_share(codec, example_arrays(generator))
    for deltas in example_deltas(generator):
        keeps_a_share_with_feedback(codec, deltas)


LAWS = (
    Law(
        "a delta comes back with the model's shapes and dtypes",
        _of_delta(has_the_form_of_the_model),
    ),
    Law(
        "what it is given stays as it is, and may be read-only",
        _of_delta(leaves_what_it_is_given_alone),
    ),
    Law("equal generators give equal payloads", _repeatable),
    Law("a delta of zeros comes back as zeros", _of_delta(gives_zeros_for_zeros)),
    Law("the payload survives the wire", _of_delta(survives_the_wire)),
    Law("how an array lies in memory does not matter", _of_delta(does_not_see_the_layout)),
    Law("a damaged payload is a ValueError, or harmless", _damage),
    Law("it is lossless and unbiased where it says so", _of_delta(keeps_its_claims)),
    Law("the error is smaller than the delta, also with what was dropped before", _feedback),
)
