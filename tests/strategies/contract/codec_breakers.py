"""Codecs, each of which breaks a law."""

import numpy as np

from strategies.compression.codec import Identity

calls: list[int] = []


class Codec(Identity):
    lossless = False
    unbiased = False


class Flat(Codec):
    def decode(self, payload, like):
        return [a.ravel() for a in payload]


class Scribbling(Codec):
    def encode(self, delta, generator):
        delta[0] += 1
        return list(delta)


class Global(Codec):
    def encode(self, delta, generator):
        calls.append(1)
        return [np.asarray(d + np.float32(len(calls))) for d in delta]


class Shifted(Codec):
    def encode(self, delta, generator):
        return [np.asarray(d + np.float32(1)) for d in delta]


class Objects(Codec):
    def encode(self, delta, generator):
        return [np.array([d.tolist() for d in delta], dtype=object)]

    def decode(self, payload, like):
        return [np.asarray(d, np.float32) for d in payload[0].tolist()]


class Raw(Codec):
    def encode(self, delta, generator):
        return [d.ravel(order="K").reshape(d.shape) for d in delta]


class Trusting(Codec):
    def decode(self, payload, like):
        return [np.asarray(payload[i]).reshape(a.shape).astype(a.dtype) for i, a in enumerate(like)]


class Boastful(Codec):
    lossless = True

    def encode(self, delta, generator):
        return [d.astype(np.float16).astype(d.dtype) for d in delta]


class Biased(Codec):
    unbiased = True

    def encode(self, delta, generator):
        return [np.asarray(d * np.float32(generator.uniform(0.9, 1.0))) for d in delta]


class Sparse(Codec):
    """One value of a hundred, drawn at random, times `scale`; 100 is unbiased."""

    unbiased = True

    def __init__(self, scale=100.0):
        self.scale = np.float32(scale)

    def encode(self, delta, generator):
        return [
            np.asarray(d * self.scale * (generator.random(d.shape) < 0.01), d.dtype) for d in delta
        ]


class Nothing(Codec):
    def encode(self, delta, generator):
        return [np.zeros_like(d) for d in delta]


class TooLong(Codec):
    """Right in direction, and 1.78 times its length off."""

    def encode(self, delta, generator):
        return [np.asarray(d * np.float32(2.78)) for d in delta]


class WorseFedBack(Codec):
    """The values below a tenth of the largest come back as a tenth of it: bad where most are 0."""

    def encode(self, delta, generator):
        top = max(np.abs(d).max(initial=0) for d in delta)
        return [
            np.asarray(
                np.where((np.abs(d) < top / 10) & (d != 0), np.sign(d) * top / 10, d), d.dtype
            )
            for d in delta
        ]


class Reversed(Codec):
    def encode(self, delta, generator):
        return [-d for d in delta]
