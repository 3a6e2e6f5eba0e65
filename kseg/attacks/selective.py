"""Method two of D4: of all sums of one step a class, added or taken away, the one that suits the truth best (S4.5)."""

from itertools import product

import numpy as np
import tensorflow as tf

from kseg.attacks.gradient import ATTACKS
from kseg.attacks.layered import count_of, full_area
from kseg.attacks.problem import Look, better

DIGITS = np.array([0, 1, -1], np.int32)  # the fixed order of what is done with a class's step
MOST = 10  # classes of which all choices are looked at: 59,049
PIXELS = 2**18  # of all images that are looked at together


@ATTACKS.register("selective", direction="fortify", judge="loss", source="D4, Formulas 3 to 5; S4.5, E4.2")
def selective(problem, *, search="exact", width=9, sweeps=2, chunk=None):
    """x + budget times the sum over classes of s_c sign(gradient of the loss of "class c all over"), s_c of 0, 1, -1.

    The gradients are those at the image. Of all 3^K choices `s` the one is taken that is best by the judge for the
    masks given; of equal ones that with fewest steps, then the first in the order 0, +1, -1 with the last class running
    fastest. Nothing at all is among them, so that no image becomes worse. `extra` holds "choices" `[N, K]` int8,
    "pattern" `[N, *S, C]` int8, the sum of signs, of which `rebuild` makes the image again, and "evaluations" `[N]`.

    Args:
        search: "exact" looks at all 3^K choices; "beam" changes class after class, keeps the `width` best choices each
            time, and may miss the best one, but never returns what is worse than nothing.
        width: choices that a beam keeps.
        sweeps: times that a beam goes through the classes.
        chunk: changed images looked at together where four images are a batch; by default as many as have 2^18 pixels.
    """
    classes, batch = count_of(problem), tf.shape(problem.rows)[0]
    if search == "exact" and classes > MOST:
        raise ValueError(
            f"search='exact' would look at 3^{classes} choices. Expected at most {MOST} classes; take search='beam'."
        )
    begin = problem.begin()
    signs = _signs(problem, classes)
    if search == "exact":
        digits, evaluations = _exact(problem, begin, signs, classes, chunk)
    else:
        digits, evaluations = _beam(problem, begin, signs, classes, width, sweeps)
    choices = tf.gather(tf.constant(DIGITS), digits)
    pattern = tf.squeeze(_patterns(signs, choices[:, None]), 1)
    images = tf.ensure_shape(_moved(problem, pattern), problem.origin.shape)
    best = better(begin, images, problem.look(images), 1, tf.reduce_any(digits > 0, axis=1))
    extra = {
        "choices": tf.cast(choices, tf.int8), "pattern": tf.cast(pattern, tf.int8),
        "evaluations": tf.fill([batch], evaluations),
    }  # fmt: skip
    return best._replace(extra=extra)


def rebuild(images, pattern, budget, value_range=(0.0, 1.0)):
    """The images that "selective" gave, bit for bit, from its record.

    Args:
        images: the originals `[N, *S, C]` float32.
        pattern: `extra["pattern"]`.
        budget, value_range: those of the attack.

    Returns:
        `[N, *S, C]` float32, NumPy.
    """
    low, high = (np.float32(bound) for bound in value_range)
    moved = np.asarray(images, np.float32) + np.float32(budget) * np.asarray(pattern, np.float32)
    return np.clip(moved, low, high)


def combinations(classes):
    """All choices `[3^K, K]` as places in `DIGITS`: by number of steps, then in the fixed order."""
    every = np.array(list(product(range(3), repeat=classes)), np.int32)
    return every[np.argsort((every > 0).sum(axis=1), kind="stable")]


def _signs(problem, classes):
    """Sign of the gradient of the loss of each class all over, `[B, *S, C, K]` int8."""
    every = problem._replace(sign=1.0, counted=tf.ones_like(problem.counted))

    def step(class_id, signs):
        ids = full_area(every, tf.fill([tf.shape(every.rows)[0]], class_id))
        gradient, *_ = every._replace(ids=tf.ensure_shape(ids, every.ids.shape)).slope(every.origin)
        own = tf.cast(tf.range(classes) == class_id, tf.int8)
        return signs + tf.cast(tf.sign(gradient), tf.int8)[..., None] * own

    start = tf.zeros_like(problem.origin, tf.int8)[..., None] * tf.zeros([classes], tf.int8)
    return problem.repeat(step, classes, start)


def _patterns(signs, choices):
    """Sums of signs `[B, m, *S, C]` of choices `[B, m, K]` of -1, 0, 1: whole numbers, exact as floats."""
    shape = tf.shape(signs)
    flat = tf.reshape(tf.cast(signs, tf.float32), [shape[0], -1, shape[-1]])
    sums = tf.matmul(tf.cast(choices, tf.float32), flat, transpose_b=True)
    return tf.reshape(sums, tf.concat([tf.shape(choices)[:2], shape[1:-1]], axis=0))


def _moved(problem, pattern, origin=None):
    origin = problem.origin if origin is None else origin
    return problem.clip(origin + problem.bounds.radius * pattern)


def _looker(problem, signs, count):
    """A function of choices `[B, count, K]`, -1 to 1, that gives their `Look` of `[B, count]`."""
    batch = tf.shape(problem.rows)[0]
    each = problem._replace(
        ids=tf.repeat(problem.ids, count, axis=0), counted=tf.repeat(problem.counted, count, axis=0),
        rows=tf.repeat(problem.rows, count, axis=0),
    )  # fmt: skip

    def look(choices):
        moved = _moved(problem, _patterns(signs, choices), problem.origin[:, None])
        flat = tf.reshape(moved, tf.concat([[batch * count], tf.shape(problem.origin)[1:]], axis=0))
        found = each.look(tf.ensure_shape(flat, problem.origin.shape))
        return Look(*(tf.reshape(values, [batch, count]) for values in found))

    return look


def _exact(problem, begin, signs, classes, chunk):
    """Places in `DIGITS` `[B, K]` of the best of all choices, and how many were looked at."""
    every = combinations(classes)
    count = _together(problem, chunk)
    count = int(min(count, len(every)))
    filled = np.concatenate([every, np.zeros((-len(every) % count, classes), np.int32)])  # the last chunk is filled up
    table, look = tf.constant(filled), _looker(problem, signs, count)

    def step(i, state):
        merit, place = state
        digits = table[i * count : (i + 1) * count]
        choices = tf.tile(tf.gather(tf.constant(DIGITS), digits)[None], [tf.shape(merit)[0], 1, 1])
        found = look(choices).merit
        first = tf.argmax(found, axis=1, output_type=tf.int32)
        highest = tf.reduce_max(found, axis=1)
        return tf.maximum(merit, highest), tf.where(highest > merit, i * count + first, place)

    merit = tf.zeros_like(begin.look.merit) + tf.float32.min
    _, place = problem.repeat(step, len(filled) // count, (merit, tf.zeros_like(problem.rows)))
    return tf.gather(table, place), len(every)


def _together(problem, chunk):
    """How many choices of each image are looked at together."""
    if chunk is None:
        sizes = problem.origin.shape[1:-1]
        chunk = max(1, PIXELS // int(np.prod([size or 64 for size in sizes])))
    batch = problem.origin.shape[0]
    return max(1, chunk // batch) if batch else max(1, chunk // 4)


def _beam(problem, begin, signs, classes, width, sweeps):
    """Places in `DIGITS` `[B, K]` of the best choice that a beam found, and how many it looked at."""
    look = _looker(problem, signs, 2 * width)
    powers = tf.constant(3 ** np.arange(classes)[::-1], tf.int32)

    def step(i, state):
        digits, merits = state
        own = tf.cast(tf.range(classes) == i % classes, tf.int32)
        children = tf.concat([(digits + own) % 3, (digits + 2 * own) % 3], axis=1)
        found = look(tf.gather(tf.constant(DIGITS), children)).merit
        digits, merits = tf.concat([digits, children], axis=1), tf.concat([merits, found], axis=1)
        codes = tf.reduce_sum(digits * powers, axis=-1)
        before = tf.linalg.band_part(tf.ones([3 * width, 3 * width], tf.bool), -1, 0)
        before = tf.linalg.set_diag(before, tf.zeros([3 * width], tf.bool))
        twice = tf.reduce_any((codes[:, :, None] == codes[:, None]) & before, axis=2)
        merits, kept = tf.math.top_k(tf.where(twice, tf.float32.min, merits), width)
        return tf.gather(digits, kept, axis=1, batch_dims=1), merits

    batch = tf.shape(problem.rows)[0]
    digits = tf.zeros([batch, width, classes], tf.int32)
    merits = tf.concat([begin.look.merit[:, None], tf.fill([batch, width - 1], tf.float32.min)], axis=1)
    digits, merits = problem.repeat(step, sweeps * classes, (digits, merits))
    gain = merits[:, 0] > begin.look.merit
    return tf.where(gain[:, None], digits[:, 0], 0), 1 + 2 * width * sweeps * classes
