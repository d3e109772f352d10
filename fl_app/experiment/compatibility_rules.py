"""The rules of `check_compatibility`: what cannot be combined, why, and the way out."""

from fl_app.core.plugins import OWN_DATA, SGD
from fl_app.experiment.combination import Rule
from fl_app.secure_aggregation.settings import MIN_PARTICIPANTS
from strategies.attacks import ALittleIsEnough, largest_hidden_deviation
from strategies.flower_strategies import needs_other_clients
from strategies.part_kinds import STATELESS
from strategies.registry import facts_of, known_name

RULES: tuple[Rule, ...] = (
    Rule(
        "a strategy of Flower's, and a part of delta-fedavg",
        "Flower's strategies aggregate weights in their own way, and the parts would be ignored.",
        'set strategy = "delta-fedavg", or leave aggregator, server-optimizer, '
        "server-lr-schedule, codec, clip-norm, privacy, scaffold and over-selection as they are",
        lambda facts: not facts.own_strategy and bool(facts.changed()),
    ),
    Rule(
        "a strategy of Flower's that remembers, and resume",
        "Flower's strategies cannot save what they remember between rounds, so the run would not "
        "go on as it was.",
        "use server-optimizer adam, adagrad, yogi or sgd(momentum=...), whose state is saved",
        lambda facts: (
            not facts.own_strategy
            and bool(facts.config.resume)
            and STATELESS not in facts_of("strategy", facts.config.strategy)
        ),
    ),
    Rule(
        "a strategy of Flower's, and work that it leaves to clients",
        "FedProx expects its clients to add the proximal term, and differential privacy with "
        "client-side clipping expects them to clip; participants here go by the run config, so the "
        "first would be plain averaging and the second would protect nobody.",
        "set proximal-mu, or privacy and clip-norm, or let the server clip",
        lambda facts: facts.strategy is not None and needs_other_clients(facts.strategy),
    ),
    Rule(
        "scaffold, and an aggregator that is no weighted mean",
        "The server's control variate is a plain average over participants: whom a robust "
        "aggregator keeps out of the weights would still move it, and FedNova counts steps anew.",
        'set aggregator = "weighted-mean", or scaffold = false',
        lambda facts: facts.config.scaffold and not facts.averages,
    ),
    Rule(
        "scaffold, and a lossy codec",
        "The server works out a participant's control variate from the delta that it decodes, "
        "the participant from the one that it sent: they would drift apart.",
        'set codec = "identity", or scaffold = false',
        lambda facts: facts.config.scaffold and facts.lossy,
    ),
    Rule(
        "scaffold or fednova, and a local-optimizer that is not SGD",
        "Both reckon with the steps of SGD: that the gradients of a round add up to "
        "delta / learning-rate. Those of Adam and others do not.",
        'set local-optimizer = "sgd", or scaffold = false and another aggregator',
        lambda facts: (
            facts.config.local_optimizer != SGD
            and (
                facts.config.scaffold
                or known_name("aggregator", facts.config.aggregator) == "fednova"
            )
        ),
    ),
    Rule(
        "scaffold, and momentum, proximal-mu or gradient-clip",
        "Option II of SCAFFOLD takes delta / (steps * learning rate) for the mean gradient, which "
        "it is in plain SGD only.",
        "set momentum, proximal-mu and gradient-clip to 0.0, or scaffold = false",
        lambda facts: (
            facts.config.scaffold
            and max(facts.config.momentum, facts.config.proximal_mu, facts.config.gradient_clip) > 0
        ),
    ),
    Rule(
        "scaffold, and clip-norm",
        "A delta that was clipped no longer tells the mean gradient, of which SCAFFOLD makes its "
        "control variates.",
        "set clip-norm = 0.0, or scaffold = false",
        lambda facts: facts.config.scaffold and facts.config.clip_norm > 0,
    ),
    Rule(
        "privacy, and scaffold",
        "The control variates are averages of deltas without noise.",
        'set scaffold = false, or privacy = "none"',
        lambda facts: facts.private and facts.config.scaffold,
    ),
    Rule(
        "privacy, and an aggregator that is no weighted mean",
        "How much noise hides a participant is known for a sum of clipped deltas, not for what "
        "other aggregators make of them.",
        'set aggregator = "weighted-mean" (with privacy everybody weighs the same), or '
        'privacy = "none"',
        lambda facts: facts.private and not facts.averages,
    ),
    Rule(
        "privacy, and evaluate-with-training",
        "With privacy a reply to training holds the protected delta and nothing else.",
        'set evaluate-with-training = false, or privacy = "none"',
        lambda facts: facts.private and facts.config.evaluate_with_training,
    ),
    Rule(
        "privacy distributed, and a lossy codec",
        "Only in the sum are there enough shares of noise, and what a codec drops of every share "
        "depends on each by itself.",
        'set codec = "identity", or privacy = "central"',
        lambda facts: facts.config.privacy == "distributed" and facts.lossy,
    ),
    Rule(
        "privacy central, and error-feedback with a lossy codec",
        "What was dropped makes the next delta longer than clip-norm, and what the server's clip "
        "then cuts off is in no residual: it would be lost, round by round.",
        'set error-feedback = false, or codec = "identity"',
        lambda facts: (
            facts.config.privacy == "central" and facts.lossy and facts.config.error_feedback
        ),
    ),
    Rule(
        "adaptive-clip-quantile, and privacy distributed",
        "Deltas that come with noise do not show whether they were clipped.",
        'set adaptive-clip-quantile = 0.0, or privacy = "central"',
        lambda facts: facts.adaptive and facts.config.privacy == "distributed",
    ),
    Rule(
        "adaptive-clip-quantile, and a lossy codec",
        "Whether a delta was clipped shows in its length, which a lossy codec changes.",
        'set adaptive-clip-quantile = 0.0, or codec = "identity"',
        lambda facts: facts.adaptive and facts.lossy,
    ),
    Rule(
        "adversary, and clip-norm where the server does not clip",
        "Who lies would not clip its delta, but here the participant's own code does it even so: "
        "the test would show a defence that is none.",
        'set aggregator = "norm-clipped-mean" and clip-norm = 0.0, or privacy = "central"',
        lambda facts: (
            facts.adversary is not None
            and facts.config.clip_norm > 0
            and facts.config.privacy != "central"
        ),
    ),
    Rule(
        "adversary, and participants with data of their own",
        "Adversaries are for tests in simulation, where participants are known by partition id.",
        'set adversary = "none"',
        lambda facts: facts.adversary is not None and facts.config.dataset == OWN_DATA,
    ),
    Rule(
        "adversary, and scaffold",
        "What an adversary lies about would have to include its control variate, which no attack "
        "here does.",
        'set adversary = "none", or scaffold = false',
        lambda facts: facts.adversary is not None and facts.config.scaffold,
    ),
    Rule(
        "secure-aggregation, and no clip-norm",
        "Under masks deltas are whole numbers of a fixed range. Without a bound on them there is "
        "no range, and what lies outside one would be cut off in silence.",
        "set clip-norm to what deltas rarely exceed (a run without secure-aggregation shows their "
        "update_norm in metrics.jsonl)",
        lambda facts: facts.secure and facts.config.clip_norm == 0,
    ),
    Rule(
        "secure-aggregation, and fewer than three participants in a round",
        "With two, each could work out the other's delta from the mean and its own.",
        "raise num-participants, fraction-fit or min-fit-clients",
        lambda facts: facts.secure and facts.sampled < MIN_PARTICIPANTS,
    ),
    Rule(
        "secure-aggregation, and an aggregator that is no weighted mean",
        "The server sees the weighted mean of the deltas and none of them, and other aggregators "
        "have to look at each.",
        'set aggregator = "weighted-mean", or secure-aggregation = false',
        lambda facts: facts.secure and not facts.averages,
    ),
    Rule(
        "secure-aggregation, and a codec",
        "Masked values are added up as they travel, so they cannot be in a code of another form; "
        "and no mask can be compressed.",
        'set codec = "identity", or secure-aggregation = false',
        lambda facts: facts.secure and facts.coded,
    ),
    Rule(
        "secure-aggregation, and scaffold",
        "The server works out each participant's control variate from its delta, which it does "
        "not see.",
        "set scaffold = false, or secure-aggregation = false",
        lambda facts: facts.secure and facts.config.scaffold,
    ),
    Rule(
        "secure-aggregation, and adaptive-clip-quantile",
        "The clip norm follows the number of deltas that were clipped, which masks hide.",
        "set adaptive-clip-quantile = 0.0, or secure-aggregation = false",
        lambda facts: facts.secure and facts.adaptive,
    ),
    Rule(
        "secure-aggregation, and over-selection",
        "Whoever is cut off for being slow is a dropout whose masks the others have to take back, "
        "and more dropouts than secure-threshold allows end the round without a mean.",
        "set over-selection = 0.0, and round-deadline for those who are slow",
        lambda facts: facts.secure and facts.config.over_selection > 0,
    ),
    Rule(
        "secure-aggregation, and a strategy of Flower's",
        "Their results are weights, which have no bound; this project's range is for deltas.",
        'set strategy = "delta-fedavg", or secure-aggregation = false',
        lambda facts: facts.secure and not facts.own_strategy,
    ),
    Rule(
        "secure-aggregation, and adversary",
        "The adversaries here clip like everybody, which a real one behind masks would not, and "
        "the aggregators that they are there to try cannot be used.",
        'set adversary = "none", or secure-aggregation = false',
        lambda facts: facts.secure and facts.adversary is not None,
    ),
    Rule(
        "adversary, and an adversary-fraction that makes nobody lie",
        "The share of num-participants is rounded to whole participants, and is 0 here: the test "
        "would show a defence against nobody.",
        'raise adversary-fraction or num-participants, or set adversary = "none"',
        lambda facts: facts.adversary is not None and facts.liars == 0,
    ),
    Rule(
        "adversary-fraction, and no adversary",
        "It says how many lie, and nothing says how.",
        'set adversary, for instance to "sign-flip", or adversary-fraction = 0.0',
        lambda facts: facts.adversary is None and facts.config.adversary_fraction > 0,
    ),
    Rule(
        "adversary a-little-is-enough without z, and too few or too many that lie",
        "The deviation that still finds a majority around it is 0, so all adversaries would send "
        "the mean of their honest deltas.",
        "set z, as in a-little-is-enough(z=1.0), or change adversary-fraction",
        lambda facts: (
            isinstance(facts.adversary, ALittleIsEnough)
            and facts.adversary.z == 0
            and facts.liars > 0
            and largest_hidden_deviation(facts.config.num_participants, facts.liars) == 0
        ),
    ),
    Rule(
        "an aggregator, and fewer participants in a round than it is defined for",
        "Krum, for instance, takes 2 f + 3 updates or more, and Bulyan 4 f + 3: with fewer, every "
        "round would leave the model as it was.",
        "raise num-participants or fraction-fit, or let the aggregator count on fewer liars",
        lambda facts: facts.sampled < facts.least_updates,
    ),
)
