"""Aggregators, optimizers, schedules and adversaries, each of which breaks a law of its kind."""

import numpy as np

from strategies.aggregation.weighted_mean import weighted_mean

calls: list[int] = []


def twice_as_precise(updates):
    return [a.astype(np.float64) for a in weighted_mean(updates)]


def in_place(updates):
    updates[0].delta[0] *= 0
    return weighted_mean(updates)


def shared(updates):
    return updates[0].delta


def forgetful(updates):
    calls.append(1)
    return [np.asarray(a * np.float32(len(calls))) for a in weighted_mean(updates)]


def first(updates):
    return [np.array(a) for a in updates[0].delta]


def squared(updates):
    return [np.asarray(a * np.abs(a)) for a in weighted_mean(updates)]


def overshooting(updates):
    return [np.asarray(a * np.float32(20)) for a in weighted_mean(updates)]


def halved(updates):
    return [np.asarray(a / np.float32(2)) for a in weighted_mean(updates)]


class Plain:
    def step(self, weights, delta, lr_factor):
        return [
            np.asarray(w + np.float32(lr_factor) * d) for w, d in zip(weights, delta, strict=True)
        ]


class Double(Plain):
    def step(self, weights, delta, lr_factor):
        return [np.float64(w) for w in super().step(weights, delta, lr_factor)]


class InPlace(Plain):
    def step(self, weights, delta, lr_factor):
        for w, d in zip(weights, delta, strict=True):
            w += lr_factor * d
        return weights


class Forgetful(Plain):
    velocity = 0.0

    def step(self, weights, delta, lr_factor):
        self.velocity = 0.9 * self.velocity + 1
        factor = np.float32(lr_factor * self.velocity)
        return [np.asarray(w + factor * d) for w, d in zip(weights, delta, strict=True)]


class Unprepared(Plain):
    """Takes it that there is something to go back to."""

    steps = 0

    def step(self, weights, delta, lr_factor):
        self.steps += 1
        return super().step(weights, delta, lr_factor)

    def state(self):
        return {"steps": np.array(self.steps)} if self.steps else {}

    def load_state(self, state):
        self.steps = int(state["steps"])


class Unscheduled(Plain):
    def step(self, weights, delta, lr_factor):
        return super().step(weights, delta, 1.0)


class Coasting(Plain):
    """Goes on by its momentum where the learning rate is 0."""

    velocity = None

    def step(self, weights, delta, lr_factor):
        before = self.velocity or [np.zeros_like(d) for d in delta]
        self.velocity = [
            np.asarray(np.float32(0.9) * v + np.float32(lr_factor) * d)
            for v, d in zip(before, delta, strict=True)
        ]
        return [np.asarray(w + v) for w, v in zip(weights, self.velocity, strict=True)]


class Backwards(Plain):
    def step(self, weights, delta, lr_factor):
        return super().step(weights, delta, -lr_factor)


def negative(server_round):
    return 1.0 - server_round / 10


def late(server_round):
    return 1.0 - server_round / 900


def whole(server_round):
    return 1


class Counting:
    count = 0

    def __call__(self, server_round):
        self.count += 1
        return 1.0 / self.count


class Honest:
    def poison_labels(self, labels, num_classes):
        return labels

    def poison_update(self, delta, num_examples, scene):
        return delta, num_examples


class NoLabel(Honest):
    def poison_labels(self, labels, num_classes):
        return labels + num_classes


class Relabelling(Honest):
    def poison_labels(self, labels, num_classes):
        labels[:] = 0
        return labels


class Colluding(Honest):
    def poison_update(self, delta, num_examples, scene):
        others = scene.honest_deltas()
        others[0][0] *= -1
        return others[0], num_examples


class Countless(Honest):
    def poison_update(self, delta, num_examples, scene):
        return delta, 0


class Infinite(Honest):
    def poison_update(self, delta, num_examples, scene):
        return [d / 0.0 for d in delta], num_examples


class Drawing(Honest):
    def poison_update(self, delta, num_examples, scene):
        calls.append(1)
        return [np.asarray(d * np.float32(len(calls))) for d in delta], num_examples
