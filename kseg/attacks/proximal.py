"""Parts of `alma_prox`: constraints of pixels, how hard each pulls, and the proximal step of the largest change."""

import tensorflow as tf

from kseg import ops

HALVINGS = 24  # of the interval that the threshold is in: to float32's rounding
TINY = 1e-8


def typical(seen):
    """Unit of margins: a third of their mean size, `[B]`; with it they are blind to the scale of logits."""
    return tf.maximum(seen.mean(tf.abs(tf.stop_gradient(seen.rivalry))) / 3.0, TINY)


def margins(seen, sign, tolerance, unit):
    """By how much each pixel is not yet as wanted, negative where it is: `[B, *S]`.

    What the logit of the class that has to go is above its rival; one logit z is taken for the pair (0, z).

    Args:
        seen: Seen.
        sign: 1 if pixels have to leave the class of the mask, -1 if they have to take it.
        tolerance: added.
        unit: of the difference, `[B, 1..]`, of the images without a change.
    """
    return tolerance - sign * seen.rivalry / unit


def ratios(seen, sign, tolerance, unit=None):
    """`margins` as difference-of-logits ratios, those of the paper.

    The difference over the distance of the highest logit from the third (towards a class and with four logits or more:
    from the mean of third and fourth). With one or two logits there is no third: the plain difference then.

    Args:
        seen, sign, tolerance: of `margins`.
        unit: not used.

    Source: Croce and Hein 2020, equations 6 and 7; Rony et al. 2023.
    """
    short = tolerance - sign * seen.rivalry
    classes = seen.logits.shape[-1]
    if classes < 3:
        return short
    ranked = _highest(seen.logits, 3 if sign > 0 or classes == 3 else 4)
    return short / (ranked[0] - tf.add_n(ranked[2:]) / len(ranked[2:]) + TINY)


def _highest(logits, count):
    """The highest logits of each pixel, one `[B, *S]` a rank."""
    ranked, rest = [], logits
    for _ in range(count):
        first = tf.argmax(rest, axis=-1, output_type=tf.int32)[..., None] == tf.range(logits.shape[-1])
        ranked.append(tf.reduce_sum(tf.where(first, logits, 0.0), axis=-1))
        rest = tf.where(first, -float("inf"), rest)
    return ranked


def strictest(constraint, counted, excess, most):
    """Which pixels are left when those of the largest constraints are let go, `[B, *S]`.

    Args:
        constraint: `[B, *S]`.
        counted: 1 for pixels that count, `[B, *S]`.
        excess: how many to let go `[B]` int32.
        most: the largest that `excess` may be, scalar.
    """
    flat = tf.reshape(tf.where(counted > 0.0, constraint, -float("inf")), [tf.shape(constraint)[0], -1])
    largest = tf.math.top_k(flat, tf.minimum(most + 1, tf.shape(flat)[1])).values
    last = tf.minimum(excess, tf.shape(largest)[1] - 1)
    bound = tf.gather(largest, last, axis=1, batch_dims=1)
    return (counted > 0.0) & (constraint <= tf.reshape(bound, [-1, *[1] * (constraint.shape.rank - 1)]))


def pull(constraint, penalty, multiplier):
    """How hard each constraint pulls: the slope of the penalty-Lagrangian function P2 of its value y.

    P2 is mu y + mu rho y^2 + rho^2 y^3 / 6 for y >= 0 and mu y / (1 - max(rho, 1) y) below.

    Args:
        constraint: y.
        penalty: rho.
        multiplier: mu.

    Source: Birgin et al. 2005, "Numerical comparison of augmented Lagrangian algorithms for nonconvex problems"; Rony
    et al. 2021, 2023.
    """
    above = multiplier * (1.0 + 2.0 * penalty * constraint) + 0.5 * tf.square(penalty * constraint)
    below = multiplier / tf.square(1.0 - tf.maximum(penalty, 1.0) * tf.minimum(constraint, 0.0))
    return tf.where(constraint >= 0.0, above, below)


def prox_linf(change, weight, cost, low, high):
    """Of each image argmin over d in [low, high] of cost max|d| + sum of weight (d - change)^2 / 2.

    For a bound t of |d| the best d is `change` cut to [low, high] and then to [-t, t]. The slope of the whole in t,
    cost less the sum of weight (|change| - t) over the values that t cuts, rises with t: its root is found by halving
    an interval, and within the last one, where the same values are cut, it is that of a straight line.

    Args:
        change: `[B, *S, C]`.
        weight: of each value, a diagonal metric, positive, `[B, *S, C]`.
        cost: `[B]`, positive.
        low, high: `[B, *S, C]`, with low <= 0 <= high.

    Returns:
        `[B, *S, C]`.

    Source: Rony et al. 2023, who search for t by thirds.
    """
    inside = tf.clip_by_value(change, low, high)
    sizes, lengths, weights = (tf.reshape(x, [tf.shape(x)[0], -1]) for x in (tf.abs(inside), tf.abs(change), weight))

    def total(values, bound):
        return ops.space_sum(tf.where(sizes > bound[:, None], values, 0.0)[..., None])[:, 0]

    def halve(i, left, right):
        middle = 0.5 * (left + right)
        above = total(weights * (lengths - middle[:, None]), middle) > cost
        return i + 1, tf.where(above, middle, left), tf.where(above, right, middle)

    right = tf.reduce_max(sizes, axis=1)
    _, left, right = tf.while_loop(lambda i, *_: i < HALVINGS, halve, (tf.constant(0), tf.zeros_like(right), right))
    root = tf.math.divide_no_nan(total(weights * lengths, right) - cost, total(weights, right))
    bound = tf.reshape(tf.clip_by_value(root, left, right), [-1, *[1] * (change.shape.rank - 1)])
    return tf.clip_by_value(inside, -bound, bound)
