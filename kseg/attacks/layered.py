"""Method one of D4: patterns of every class laid over an image, one after the other (S4.3, S4.4)."""

import math

import numpy as np
import tensorflow as tf

from kseg.attacks.gradient import ATTACKS, ascend
from kseg.attacks.problem import better, choose
from kseg.registry import unknown


@ATTACKS.register("layered", given="truth", source="D4, Formula 2; S4.4")
def layered(problem, *, steps=100, classes="mask", anchor="pass", mode="pass"):
    """PGD towards the mask that is one class all over, class after class, each pass from where the last one ended.

    An image takes as many passes as it has classes, a batch as many as the image of it with most. The loss of the masks
    given is told, and nothing is chosen by it: the images are those of the last pass. `extra` holds "passes" `[N]` and
    "total_budget" `[N]`, which bounds the whole change.

    Args:
        steps: of each pass.
        classes: which classes, always by ascending id: those in the "prediction" for the image or in the "mask", "all",
            or a tuple of ids.
        anchor: "pass" puts a ball of the budget around the start of each pass, so that patterns of earlier passes stay
            and the whole change is up to as many budgets as there are passes; "input" puts one around the image.
        mode: "pass", or "sum" for Formula 2 as it is written: each step adds up the steps towards all classes, within
            the range of values alone unless the anchor is "input".
    """
    best = problem.begin()
    if classes == "prediction":
        present = _present(problem.see(problem.origin).predicted, problem)
    elif classes == "mask":
        present = _present(tf.where(problem.counted > 0.0, problem.ids, -1), problem)
    else:
        _check(classes, count_of(problem))
        chosen = tf.range(count_of(problem)) if classes == "all" else tf.constant(sorted(classes))
        one = tf.reduce_any(tf.range(count_of(problem))[:, None] == chosen, axis=1)
        present = tf.tile(one[None], [tf.shape(problem.rows)[0], 1])
    lay = _sum if mode == "sum" else _passes
    images = lay(problem._replace(sign=-1.0, counted=tf.ones_like(problem.counted)), present, steps, anchor)
    passes = tf.reduce_sum(tf.cast(present, tf.int32), axis=1)
    free = anchor == "pass" and mode == "sum"  # the formula has no passes, and so no ball but the range of values
    total = tf.where(passes > 0, tf.constant(math.inf) if free else problem.bounds.radius, 0.0)
    total = total * tf.cast(tf.maximum(passes, 1), tf.float32) if anchor == "pass" else total
    best = better(best, images, problem.look(images), steps * passes, passes > 0)
    return best._replace(extra={"passes": passes, "total_budget": total})


def _check(classes, count):
    if isinstance(classes, str):
        if classes != "all":
            raise unknown("classes", classes, ("prediction", "mask", "all"))
        return
    whole = [k for k in np.ravel(classes).tolist() if not isinstance(k, bool) and k in range(count)]
    if not whole or len(whole) < np.size(classes):
        raise ValueError(f"classes={classes!r} does not fit. Expected ids of 0 to {count - 1}, at least one.")


def count_of(problem):
    """Number of classes."""
    return max(problem.model.output_shape[-1], 2)


def _present(ids, problem):
    """Which classes some pixel of each image has, `[B, K]`."""
    each = ids[..., None] == tf.range(count_of(problem))
    return tf.reduce_any(each, axis=list(range(1, each.shape.rank - 1)))


def full_area(problem, class_id):
    """Masks that are one class all over: of class ids `[B]`."""
    shape = [-1, *[1] * (problem.ids.shape.rank - 1)]
    return tf.broadcast_to(tf.reshape(class_id, shape), tf.shape(problem.ids))


def _passes(problem, present, steps, anchor):
    classes = count_of(problem)
    # Ids of the classes that are present, ascending, and the others behind them.
    order = tf.argsort(tf.where(present, 0, classes) + tf.range(classes), axis=1)
    counts = tf.reduce_sum(tf.cast(present, tf.int32), axis=1)

    def lay(number, images):
        target = problem._replace(ids=tf.ensure_shape(full_area(problem, order[:, number]), problem.ids.shape))
        start = images if anchor == "pass" else problem.origin
        found = ascend(target._replace(origin=start), images, steps)
        return number + 1, tf.ensure_shape(choose(number < counts, found, images), images.shape)

    return tf.while_loop(
        lambda number, _: number < tf.reduce_max(counts), lay, (tf.constant(0), problem.origin), parallel_iterations=1
    )[1]


def _sum(problem, present, steps, anchor):
    """Formula 2 as it is written; `anchor` "pass" has no ball but the range of values, since there are no passes."""
    norm = problem.bounds.norm

    def step(_, images):
        total = tf.zeros_like(images)
        for class_id in range(count_of(problem)):
            here = problem._replace(ids=tf.fill(tf.shape(problem.ids), class_id))
            gradient, _, _ = here.slope(images)
            total += choose(present[:, class_id], norm.direction(gradient), tf.zeros_like(gradient))
        moved = images + problem.bounds.step * total
        return problem.clip(moved) if anchor == "pass" else problem.within(moved)

    return problem.repeat(step, steps, problem.origin)
