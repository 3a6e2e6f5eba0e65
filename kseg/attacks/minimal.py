"""Attacks that look for the smallest change that succeeds; each `(problem, **options) -> Best`."""

from math import inf
from typing import Any, NamedTuple

import tensorflow as tf

from kseg.attacks.checks import check_number
from kseg.attacks.gradient import ATTACKS
from kseg.attacks.norms import TINY
from kseg.attacks.problem import Best, better, choose, remember
from kseg.attacks.proximal import margins, prox_linf, pull, ratios, strictest, typical
from kseg.registry import unknown

MASKINGS = ("gradual", "full", "none")
CONSTRAINTS = {"margin": margins, "ratio": ratios}
STEEPEST = 1e7  # of penalties: above it squares of gradients leave float32


def least(problem, best, images, look, step):
    """`Best` with images in place of those that they are better than: success first, then the smaller change.

    Where nothing succeeds yet the share of pixels as wanted takes the place of success. At step 0 all are taken.
    """
    size = problem.bounds.norm.size
    smaller = size(images - problem.origin) < size(best.images - problem.origin)
    share, known = (-problem.sign * what.agreement for what in (look, best.look))
    nearer = (share > known) | ((share == known) & smaller)
    wanted = tf.where(problem.succeeded(best.look), problem.succeeded(look) & smaller, nearer)
    return better(best, images, look, step, wanted | (step == 0))


class Walk(NamedTuple):
    """Where `dag` is: images, which of them are `done` `[B]`, and the best so far."""

    images: Any
    done: Any
    best: Best


@ATTACKS.register("dag", unbounded=True, minimal=True, source="Xie et al. 2017, algorithm 1")
def dag(problem, *, steps=200):
    """Steps along the gradient of the margins of those pixels that are not yet as wanted, until enough of them are.

    The margin is what the logit of the mask's class is above the best other, or below for "target" and "fortify". Each
    step has the length `step_size` in the norm chosen, and the walk of an image ends with its first success: the change
    found is too large by up to a step, and a smaller `step_size` with more steps finds a smaller one (Rony et al. 2023
    take 0.001 to 0.003 of the range). Without a success the images with most pixels as wanted are given. `loss` is
    told, but not climbed; a budget bounds the walk.

    Args:
        steps: gradients taken at most.
    """
    norm, toward = problem.bounds.norm, problem.sign < 0

    def margins(seen):
        return seen.mean(tf.where(tf.stop_gradient(seen.agrees) == toward, 0.0, seen.rivalry))

    pulled = problem._replace(climbed=margins)

    def step(i, walk):
        gradient, _, look = pulled.slope(walk.images)
        best = least(problem, remember(walk.best, look, i), walk.images, look, i)
        done = problem.succeeded(look)
        size = tf.reshape(norm.size(gradient), [-1, *[1] * (gradient.shape.rank - 1)])
        moved = problem.within(walk.images + problem.bounds.step * gradient / tf.maximum(size, TINY))
        return Walk(choose(done, walk.images, moved), done, best)

    start = Walk(problem.origin, tf.zeros_like(problem.rows, tf.bool), problem.nothing())
    walk = problem.repeat(step, steps, start, going=lambda walk: ~tf.reduce_all(walk.done))
    return least(problem, walk.best, walk.images, problem.look(walk.images), steps)


class Split(NamedTuple):
    """State of `alma_prox`.

    Attributes:
        change: of the images, in units of the range of values, `[B, *S, C]`.
        square: running mean of the squared gradient, `[B, *S, C]`.
        multiplier, penalty: of each pixel's constraint, mu and rho, `[B, *S]`.
        before: the constraints when their progress was looked at last, `[B, *S]`.
        hit: whether a pixel was as wanted since then, `[B, *S]`.
        scale: of the constraints, w, `[B]`.
        unit: of margins, `[B]`.
        found: step of the first success, or half of all, `[B]`.
        best: so far.
    """

    change: Any
    square: Any
    multiplier: Any
    penalty: Any
    before: Any
    hit: Any
    scale: Any
    unit: Any
    found: Any
    best: Best


@ATTACKS.register("alma_prox", unbounded=True, minimal=True, norms=("linf",), source="Rony, Pesquet, Ben Ayed 2023")
def alma_prox(
    problem, *, steps=200, rate=0.1, lengthening=1.05, slowing=0.1, constraint="margin", multiplier=1.0, penalty=0.01,
    check=10, progress=0.95, growth=2.0, average=0.8, square_average=None, scale=(0.1, 1.0), scale_start=1.0,
    scale_rate=0.02, tolerance=1e-4, masking="gradual",
):  # fmt: skip
    """The smallest Linf change by an augmented Lagrangian with one constraint a pixel and proximal steps.

    Each step goes down the penalties of the pixels that are not yet as wanted, in the metric of the gradient's running
    root mean square, and then shrinks the largest changes by the proximal operator of the Linf norm within the range of
    values (and the budget, if there is one). The smallest change that succeeded is given, or the one with most pixels
    as wanted. `loss` is told, but not climbed.

    The method is the paper's but for two defaults. Steps lengthen as long as there is no success: those of the paper
    reach 0.13 of the range of values in 200 steps and 0.3 in its 500. And constraints are margins, not ratios of logit
    differences, which a pixel also makes smaller by a larger denominator: on small U-Nets of four and six classes
    margins found smaller changes, and more of them. The paper's own are `lengthening=1`, `constraint="ratio"`,
    `steps=500`.

    Args:
        steps: gradients taken.
        rate: length of a step at first, lambda, as a share of `step_size`: without a budget 0.001 of the range.
        lengthening: factor of it a step without success, up to `step_size`, or to `rate` if that is more; so a change
            as large as the range of values is reached, and a small one still found by small steps.
        slowing: what is left of it at the end; steps shorten from the first success on, from half of the steps at last.
        constraint: "margin" or "ratio", see `kseg.attacks.proximal`.
        multiplier, penalty: of each constraint at first, mu and rho.
        check: steps from one look at the progress of the constraints to the next, M.
        progress: share of a constraint's value that it has to get below by then, tau, unless its pixel was as wanted.
        growth: factor of the penalty of a constraint that did not, gamma.
        average: of the multipliers from step to step, alpha.
        square_average: of the squared gradient; `average` by default.
        scale: (lowest, highest) factor of the constraints, w.
        scale_start: the factor at first.
        scale_rate: by how much it falls a step in which an image succeeds, and rises otherwise.
        tolerance: added to margins, or to the differences of ratios, so that ties do not count as success.
        masking: the pixels that may stay as they are, 1 - goal of those that count, do not pull: "gradual" with more
            of them each step, "full" or "none".
    """
    square_average = average if square_average is None else square_average
    if masking not in MASKINGS:
        raise unknown("masking", masking, MASKINGS)
    if constraint not in CONSTRAINTS:
        raise unknown("constraint", constraint, CONSTRAINTS)
    measure = CONSTRAINTS[constraint]
    for name, value, lowest, highest in (
        ("slowing", slowing, 1e-6, 1.0), ("lengthening", lengthening, 1.0, 2.0),
        ("multiplier", multiplier, 1e-12, 1.0), ("penalty", penalty, 0.0, STEEPEST), ("check", check, 1, inf),
        ("progress", progress, 0.0, 1.0), ("growth", growth, 1.0, inf),
        ("average", average, 0.0, 0.9999), ("square_average", square_average, 0.0, 0.9999),
        ("scale[0]", scale[0], 1e-6, scale[1]), ("scale_start", scale_start, *scale),
        ("scale_rate", scale_rate, 0.0, 0.9999), ("tolerance", tolerance, 0.0, inf),
    ):  # fmt: skip
        check_number(name, value, lowest, highest)
    bounds, width = problem.bounds, problem.bounds.high - problem.bounds.low
    low = tf.maximum(bounds.low - problem.origin, -bounds.radius) / width
    high = tf.minimum(bounds.high - problem.origin, bounds.radius) / width
    pixels = tf.reduce_sum(problem.counted, axis=list(range(1, problem.counted.shape.rank)))
    spare = (1.0 - problem.goal) * pixels
    lasting = slowing / max(1.0 - slowing, 1e-6)

    def each(values, tensor):
        return tf.reshape(values, [-1, *[1] * (tensor.shape.rank - 1)])

    def kept(i, value):
        """Which pixels pull."""
        if masking == "none" or problem.goal == 1.0:
            return problem.counted > 0.0
        share = tf.cast(i, tf.float32) / max(steps - 1, 1) if masking == "gradual" else 1.0
        most = tf.cast((1.0 - problem.goal) * tf.cast(tf.size(value[0]), tf.float32) + 1e-3, tf.int32)
        return strictest(value, problem.counted, tf.cast(spare * share + 1e-3, tf.int32), most)

    def step(i, state):
        images = problem.within(problem.origin + width * state.change)
        with tf.GradientTape() as tape:
            tape.watch(images)
            seen = problem.see(images)
            unit = tf.where(i == 0, typical(seen), state.unit)
            plain = measure(seen, problem.sign, tolerance, each(unit, seen.rivalry))
        look = problem._look(seen, problem.told(seen))
        best = least(problem, remember(state.best, look, i), images, look, i)
        done, first = problem.succeeded(look), i == 0
        found = tf.where(done & (state.found > i), i, state.found)
        factor = tf.clip_by_value(state.scale / tf.where(done, 1.0 + scale_rate, 1.0 - scale_rate), *scale)
        value = each(factor, plain) * plain
        pulls = kept(i, value)
        # Penalties rise where a constraint neither held since the last look nor came nearer to it.
        due = (i + 1) % check == 0
        hit = state.hit | (seen.agrees == (problem.sign < 0))
        nearer = tf.where(pulls, value, 0.0) <= progress * state.before
        rho = tf.where(due & ~first & ~hit & ~nearer, growth * state.penalty, state.penalty)
        rho = tf.minimum(rho, STEEPEST)
        before = tf.where(due | first, value, state.before)
        fresh = tf.where(pulls, pull(value, rho, state.multiplier), 0.0)
        mean = tf.clip_by_value(average * state.multiplier + (1.0 - average) * fresh, 1e-12, 1.0)
        mu = tf.where(first, state.multiplier, mean)
        slope = tf.where(pulls, pull(value, rho, mu), 0.0) * each(factor, plain)
        gradient = tape.gradient(plain, images, output_gradients=slope, unconnected_gradients="zero")
        gradient = width * tf.where(tf.math.is_nan(gradient), 0.0, gradient)
        square = square_average * state.square + (1.0 - square_average) * tf.square(gradient)
        ages = 1.0 - tf.pow(square_average, tf.cast(i + 1, tf.float32))
        metric = tf.maximum(tf.sqrt(square / ages), 1e-8)
        slack = lasting * tf.cast(tf.maximum(steps - found, 1), tf.float32)
        longer = rate * tf.pow(lengthening, tf.cast(tf.minimum(i, found), tf.float32))
        length = tf.minimum(longer, max(rate, 1.0)) * bounds.step / width
        short = length * slack / (tf.cast(tf.maximum(i - found, 0), tf.float32) + slack)
        change = prox_linf(state.change - each(short, gradient) * gradient / metric, metric, short, low, high)
        return Split(change, square, mu, rho, before, hit & ~due, factor, unit, found, best)

    zero, none = tf.zeros_like(problem.origin), tf.zeros_like(problem.counted)
    ones = tf.ones_like(pixels)
    state = Split(
        zero, zero, none + multiplier, none + penalty, none, none > 0.0, scale_start * ones, ones,
        tf.zeros_like(problem.rows) + steps // 2, problem.nothing(),
    )  # fmt: skip
    state = problem.repeat(step, steps, state)
    images = problem.within(problem.origin + width * state.change)
    return least(problem, state.best, images, problem.look(images), steps)
