"""Attacks by gradients within a ball; each `(problem, **options) -> Best`."""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from kseg.attacks.problem import Best, better, choose, remember
from kseg.registry import Registry

ATTACKS = Registry("attack")


def ascend(problem, images, steps):
    """Images after that many steps along the gradient, each put back into the bounds; nothing else is kept."""

    def step(i, images):
        gradient, *_ = problem.slope(images, tf.cast(i, tf.float32) / steps)
        uphill = problem.bounds.norm.direction(problem.inward(images, gradient))
        return problem.within(images + problem.bounds.step * uphill)

    return problem.repeat(step, steps, images)


class Walk(NamedTuple):
    """Where a walk is: images, what moves them (`[B, *S, C]`, or () without momentum), and the best so far."""

    images: Any
    velocity: Any
    best: Best


@ATTACKS.register("fgsm", steps=1, stride=1.0, norms=("linf", "l2"), source="Goodfellow et al. 2015; S4.1")
def fgsm(problem, *, keep="last"):
    """One step as far as the budget goes, along the sign of the gradient; in L2 balls along the gradient.

    Args:
        keep: "last" the image after the step, as it turns out, or "best": that or the one before.
    """
    whole = problem._replace(bounds=problem.bounds._replace(step=problem.reach))
    return pgd(whole, steps=1, keep=keep)


@ATTACKS.register("pgd", source="Madry et al. 2018; momentum: Dong et al. 2018; S4.2")
def pgd(problem, *, steps=20, random_start=False, restarts=1, momentum=0.0, keep="best"):
    """Steps along the sign of the gradient, each put back into the ball.

    Args:
        steps: gradients taken.
        random_start: begin within the ball; restarts after the first always do.
        restarts: times to begin; the best images of all are kept.
        momentum: of the gradient (divided by its mean absolute value) from step to step, in [0, 1].
        keep: "best" of all steps, or "last".
    """
    rate, known = problem.bounds.step, random_start or restarts > 1

    def step(i, walk):
        gradient, _, look = problem.slope(walk.images, tf.cast(i, tf.float32) / steps)
        best = walk.best if known else remember(walk.best, look, i)
        best = better(best, walk.images, look, i) if keep == "best" else best
        velocity = walk.velocity
        if momentum:
            axes = list(range(1, gradient.shape.rank))
            scale = tf.reduce_mean(tf.abs(gradient), axis=axes, keepdims=True)
            velocity = momentum * velocity + gradient / tf.maximum(scale, 1e-30)
            gradient = velocity
        uphill = problem.bounds.norm.direction(problem.inward(walk.images, gradient))
        images = problem.within(walk.images + rate * uphill)
        return Walk(images, velocity, best)

    def run(draw, best):
        first = problem.origin if not random_start else problem.start(draw)
        if restarts > 1:
            first = tf.cond(draw > 0, lambda: problem.start(draw), lambda: first)
        velocity = tf.zeros_like(first) if momentum else ()
        walk = problem.repeat(step, steps, Walk(tf.ensure_shape(first, problem.origin.shape), velocity, best))
        wanted = None if keep == "best" else tf.fill([tf.shape(walk.images)[0]], True)
        return better(walk.best, walk.images, problem.look(walk.images), steps, wanted)

    best = problem.begin() if known else problem.nothing()
    if restarts == 1:
        return run(tf.constant(0), best)
    return tf.while_loop(
        lambda draw, _: draw < restarts, lambda draw, best: (draw + 1, run(draw, best)), (tf.constant(0), best),
        parallel_iterations=1,
    )[1]  # fmt: skip


# The same walk on other losses: right pixels first, or pixels by how alike probabilities and mask are.
ATTACKS.register("segpgd", loss="segpgd", own="segpgd", source="Gu et al. 2022")(pgd)
ATTACKS.register("cospgd", loss="cospgd", own="cospgd", source="Agnihotri et al. 2024")(pgd)


class Pace(NamedTuple):
    """State of `apgd`; all but `images` and the like are `[B]`.

    Attributes:
        images, before: now and a step ago.
        rate: step size.
        top, top_gradient, top_value: where the climbed value was highest, its gradient there, and the value.
        value: climbed at the last step.
        rises: steps since the last checkpoint that raised the value.
        old_rate, old_top: at the last checkpoint.
        best: so far, by the judge.
    """

    images: Any
    before: Any
    rate: Any
    top: Any
    top_gradient: Any
    top_value: Any
    value: Any
    rises: Any
    old_rate: Any
    old_top: Any
    best: Best


RHO, ALPHA = 0.75, 0.75  # of Croce and Hein: share of steps that have to rise, and of the new step against momentum


def checkpoints(steps):
    """Steps of `apgd` at which the step size may be halved: ever closer, at least 6 % of the steps apart."""
    shares = [0.0, 0.22]
    while shares[-1] < 1.0:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # Rounded first: 0.41 + 0.16 is a little more than 0.57.
    return sorted({math.ceil(round(share * steps, 6)) for share in shares[1:] if share < 1.0})


@ATTACKS.register("apgd", norms=("linf", "l2"), stride=2.0, source="Croce and Hein 2020, algorithm 1")
def apgd(problem, *, steps=20, random_start=False):
    """PGD whose step size, of each image by itself, begins at twice the budget and is halved when progress stops.

    Args:
        steps: gradients taken.
        random_start: begin within the ball.
    """
    marks = tf.constant([0, *checkpoints(steps)])
    norm = problem.bounds.norm

    def step(i, pace):
        gradient, value, look = problem.slope(pace.images, tf.cast(i, tf.float32) / steps)
        best = pace.best if random_start else remember(pace.best, look, i)
        best = better(best, pace.images, look, i)
        rises = pace.rises + tf.cast((value > pace.value) & (i > 0), tf.int32)
        higher = value > pace.top_value
        top, top_gradient = choose(higher, pace.images, pace.top), choose(higher, gradient, pace.top_gradient)
        top_value = tf.where(higher, value, pace.top_value)
        # Halve where too few steps rose, or where neither the step size nor the highest value changed since.
        at_mark = tf.reduce_any(marks[1:] == i)
        since = i - tf.reduce_max(tf.where(marks < i, marks, 0))
        few = tf.cast(rises, tf.float32) < RHO * tf.cast(since, tf.float32)
        stuck = (pace.rate == pace.old_rate) & (top_value <= pace.old_top)
        halve = at_mark & (few | stuck)
        rate = tf.where(halve, 0.5 * pace.rate, pace.rate)
        old_rate, old_top = tf.where(at_mark, pace.rate, pace.old_rate), tf.where(at_mark, top_value, pace.old_top)
        now, uphill = choose(halve, top, pace.images), choose(halve, top_gradient, gradient)
        shape = [-1, *[1] * (now.shape.rank - 1)]
        plain = problem.within(now + tf.reshape(rate, shape) * norm.direction(problem.inward(now, uphill)))
        share = tf.where(i == 0, 1.0, ALPHA)
        after = problem.within(now + share * (plain - now) + (1.0 - share) * (now - pace.before))
        rises = tf.where(at_mark, 0, rises)
        value = tf.where(halve, top_value, value)
        return Pace(after, now, rate, top, top_gradient, top_value, value, rises, old_rate, old_top, best)

    first = problem.start(0) if random_start else problem.origin
    best = problem.begin() if random_start else problem.nothing()
    worst = tf.zeros_like(best.look.merit) + tf.float32.min
    rate = tf.zeros_like(worst) + 2.0 * problem.reach
    none = tf.zeros_like(problem.rows)
    pace = Pace(first, first, rate, first, tf.zeros_like(first), worst, worst, none, rate, worst, best)
    pace = problem.repeat(step, steps, pace)
    return better(pace.best, pace.images, problem.look(pace.images), steps)
