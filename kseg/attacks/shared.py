"""One change for all images."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kseg.attacks.attacker import Attacker
from kseg.attacks.checks import as_images
from kseg.attacks.norms import NORMS
from kseg.attacks.pixel_ops import rank_pixels
from kseg.attacks.problem import Best, Bounds, Look, Problem

ASKED = (
    "direction", "loss", "budget", "step_size", "norm", "value_range", "ignore_class", "head", "seed", "jit", "steps",
)  # fmt: skip


class Universal(NamedTuple):
    """One change for all images, and what it does to those that it was made of; arrays over N images, NumPy.

    Attributes:
        change: `[*S, C]` float32, within the ball.
        images: `[N, *S, C]` float32: images plus change, within the range of values.
        loss_before, loss_after: `[N]` of the masks given, without and with the change.
        agreement_before, agreement_after: `[N]` share of the counted pixels that have the mask's class.
        settings: {option: value} of everything that was asked for.
    """

    change: Any
    images: Any
    loss_before: Any
    loss_after: Any
    agreement_before: Any
    agreement_after: Any
    settings: dict

    def apply(self, images):
        """Any images `[N, *S, C]` of the same size plus the change, within the range of values; float32."""
        low, high = self.settings["value_range"]
        return np.clip(as_images(images, self.change.shape, low, high) + self.change, np.float32(low), np.float32(high))


def universal(
    model, images, masks, *, steps=100, batch_size=32, direction="attack", loss="cce", budget=None, step_size=None,
    norm="linf", value_range=(0.0, 1.0), ignore_class=None, head="auto", seed=0, jit="auto",
):  # fmt: skip
    """Find one change that, added to any of the images, raises their mean loss.

    Each step goes along the sign of the mean gradient of some of the images (in other balls along the steepest way)
    and back into the ball; the change is that after the last step. Each image is taken once before any is again, in an
    order of its own each time; what does not fill a batch is left out of that round. All images are in memory at once.
    Few images with a high loss may outweigh the others; "js" is a loss that has a bound.

    Args:
        model, direction, loss, budget, step_size, norm, value_range, ignore_class, head, jit: see `Attacker`.
        images: `[N, *S, C]` within the range of values.
        masks: class ids `[N, *S]` or `[N, *S, 1]`, or one-hot `[N, *S, K]`: the truth, or the target.
        steps: gradients taken.
        batch_size: images a step.
        seed: of the order of the images.

    Returns:
        Universal.

    Raises:
        ValueError: anything that does not fit; the message names the fix.

    Example:
        >>> import numpy as np
        >>> from kseg.models import toy_net
        >>> images, masks = np.full((6, 8, 8, 1), 0.5, "float32"), np.zeros((6, 8, 8), "uint8")
        >>> found = universal(toy_net(seed=0), images, masks, steps=8, batch_size=2, budget=0.1)
        >>> found.change.shape, bool((found.apply(images) == found.images).all())
        ((8, 8, 1), True)

    Source: Shafahi et al. 2020, "Universal adversarial training"; Moosavi-Dezfooli et al. 2017.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} is no size. Expected a whole number, at least 1.")
    walker = _Walker(
        model, "pgd", direction=direction, loss=loss, budget=budget, step_size=step_size, norm=norm,
        value_range=value_range, ignore_class=ignore_class, head=head, seed=seed, jit=jit, steps=steps,
    )  # fmt: skip
    walker.together = int(batch_size)
    images = np.asarray(images)
    found = walker(images, masks, batch_size=max(1, len(images)))
    settings = {"method": "universal", **{name: found.settings[name] for name in ASKED}, "batch_size": int(batch_size)}
    return Universal(
        found.extra["change"][0], found.images, found.loss_before, found.loss_after, found.agreement_before,
        found.agreement_after, settings,
    )  # fmt: skip


class _Walker(Attacker):
    """An attacker whose program takes the whole set as a batch and gives all its images one change."""

    together = 1  # images a step

    def _run(self, images, ids, counted, rows, budget, step_size):
        bounds = Bounds(NORMS.get(self.settings["norm"]), budget, step_size, self.low, self.high)
        problem = Problem(**self._fixed, origin=images, ids=ids, counted=counted, rows=rows, bounds=bounds)
        steps, size = self._options["steps"], tf.minimum(self.together, tf.shape(images)[0])
        change = _walk(problem, steps, size)
        changed = tf.ensure_shape(problem.clip(images + change), images.shape)
        look = _looks(problem, changed, size)
        best = Best(changed, look, tf.fill(tf.shape(rows), steps), _looks(problem, images, size), {"change": change})
        return best, problem.succeeded(look), bounds.norm.size(changed - images)


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
