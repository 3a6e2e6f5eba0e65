"""One change for all images of a batch."""

import tensorflow as tf

from kseg.attacks.gradient import ATTACKS
from kseg.attacks.pixel_ops import rank_pixels
from kseg.attacks.problem import Best, Look


@ATTACKS.register("universal", whole=True, source="Shafahi et al. 2020; Moosavi-Dezfooli et al. 2017")
def universal(problem, *, steps=100, together=32):
    """One change that, added to any of the images, raises their mean loss; all images are one batch.

    Each step goes along the sign of the mean gradient of some of the images (in other balls along the steepest way)
    and back into the ball; the change is that after the last step. Each image is taken once before any is again, in an
    order of its own each time; what does not fill a step is left out of that round. All images are in memory at once.
    `extra` holds "change" `[1, *S, C]`, which may be added to other images too; clip them to the range of values.
    Few images with a high loss may outweigh the others; "js" is a loss that has a bound.

    Args:
        steps: gradients taken.
        together: images a step.
    """
    size = tf.minimum(together, tf.shape(problem.rows)[0])
    change = _walk(problem, steps, size)
    changed = tf.ensure_shape(problem.clip(problem.origin + change), problem.origin.shape)
    before, after = (_looks(problem, images, size) for images in (problem.origin, changed))
    return Best(changed, after, tf.fill(tf.shape(problem.rows), steps), before, {"change": change})


def _walk(problem, steps, size):
    """The change `[1, *S, C]` after all steps, each of so many images."""
    bounds, order = problem.bounds, _order(problem, steps, size)

    def step(i, change):
        part = _some(problem, tf.gather(order, i))  # XLA would compile order[i] for each i anew
        moved = part.origin + change
        images = part.clip(moved)
        gradient, *_ = part.slope(images, tf.cast(i, tf.float32) / steps)
        gradient = tf.where(images == moved, gradient, 0.0)  # beyond the range of values nothing changes any more
        change += bounds.step * bounds.norm.direction(tf.reduce_mean(gradient, axis=0, keepdims=True))
        return bounds.norm.project(change, tf.reshape(bounds.radius, [1]))

    start = tf.ensure_shape(tf.zeros_like(problem.origin[:1]), [1, *problem.origin.shape[1:]])
    return problem.repeat(step, steps, start)


def _order(problem, steps, size):
    """Which images each step takes, `[steps or more, size]`: round after round, each in a random order."""
    count = tf.shape(problem.origin)[0]
    each = count // size
    rounds = -(-steps // each)
    orders = rank_pixels(tf.zeros([rounds, 1, count]), count, "random", seed=problem.seed, rows=tf.range(rounds))
    return tf.reshape(orders[:, : each * size], [rounds * each, size])


def _some(problem, places):
    """The problem of some of the images, `[n]`."""
    names = ("origin", "ids", "counted", "rows")
    return problem._replace(**{name: tf.gather(getattr(problem, name), places) for name in names})


def _looks(problem, images, size):
    """`Look` of all images, so many at a time."""
    count = tf.shape(images)[0]
    places = tf.reshape(tf.range(-(-count // size) * size) % count, [-1, size])  # the last batch is filled up

    def look(places):
        return _some(problem, places).look(tf.gather(images, places))

    signature = Look(*[tf.TensorSpec([None], tf.float32)] * 3)
    found = tf.map_fn(look, places, fn_output_signature=signature, parallel_iterations=1)
    return Look(*(tf.reshape(values, [-1])[:count] for values in found))
