"""Attacks by random search: they see what the model says of an image, and take no gradients."""

import numpy as np
import tensorflow as tf

from kseg import ops
from kseg.attacks.gradient import ATTACKS
from kseg.attacks.pixel_ops import replace_pixels
from kseg.attacks.problem import better, choose

MARKS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10000 queries: where `square` halves its share
SPARSE_MARKS = (0, *MARKS[1:])  # where `sparse_rs` goes on to the next divisor of its share
DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)


@ATTACKS.register("square", norms=("linf",), source="Andriushchenko et al. 2020, algorithms 1 and 2")
def square(problem, *, queries=1000, initial=0.8, schedule=None):
    """Stripes at first, then squares that shrink, each moved to the rim of the ball and kept if the image got better.

    Only the outputs of the model are used. In volumes stripes are planes across the last axis, squares cubes. `extra`
    holds "queries" `[N]`, how many changed images the model was asked for; the original is one more.

    Args:
        queries: changed images that are looked at; the paper takes 10000.
        initial: share of the pixels that the first squares cover; it is halved nine times, ever more seldom.
        schedule: number of queries over which it is; by default `queries`. With one schedule the first n queries are
            those of n, so that more of them never do worse.
    """
    origin, radius = problem.origin, problem.bounds.radius
    axes, channels = origin.shape.rank - 2, origin.shape[-1]
    shares = initial * 0.5 ** _phases(0, queries, schedule, MARKS)
    pixels = tf.cast(tf.reduce_prod(tf.stack(sizes_of(origin))), tf.float32)
    sides = tf.maximum(1, tf.cast(tf.round((tf.constant(shares, tf.float32) * pixels) ** (1.0 / axes)), tf.int32))

    def random(shape, draw):
        return ops.random_uniform(tf.stack([tf.shape(origin)[0], *shape]), problem.rows, draw, problem.seed)

    def moved(signs):
        return tf.ensure_shape(problem.within(origin + radius * signs), origin.shape)

    def propose(i, images):
        sizes = sizes_of(images)
        numbers = random([axes + channels], i + 1)
        side = tf.gather(sides, i)  # XLA would compile sides[i] for each i anew
        widths = [tf.minimum(side, size) for size in sizes]
        corners = [corner(numbers[:, axis], sizes[axis], widths[axis]) for axis in range(axes)]
        signs = tf.reshape(_signs(numbers[:, axes:]), [-1, *[1] * axes, channels])
        return tf.where(block(corners, widths, sizes), moved(signs), images)

    stripes = _signs(random([*[1] * (axes - 1), sizes_of(origin)[-1], channels], 0))
    return _search(problem, moved(stripes), propose, lambda images: images, queries)


@ATTACKS.register("sparse_rs", norms=("linf",), unbounded=True, source="Croce et al. 2022, L0-bounded attacks")
def sparse_rs(problem, *, queries=1000, pixels=0.01, initial=0.3, schedule=None):
    """A few pixels with values from the ends of the range, some exchanged at a time if the image gets better by it.

    Only the outputs of the model are used. Pixels that come in are drawn from all that do not stay, those just taken
    out among them: in the paper a pixel never gets another colour. With a budget the ends are those of the ball.
    `extra` holds "pixels" `[N, *S]`, whether a pixel was changed, and "queries" `[N]`, how many changed images the
    model was asked for; the original is one more.

    Args:
        queries: changed images that are looked at; the paper takes 10000.
        pixels: how many may change: a whole number, or a share of the image as a float in (0, 1].
        initial: share of them that is exchanged at first; it becomes a twentieth of that in nine steps.
        schedule: number of queries over which it does; by default `queries`. With one schedule the first n queries are
            those of n, so that more of them never do worse.
    """
    origin, channels = problem.origin, problem.origin.shape[-1]
    count = number_of("pixels", pixels, _product(sizes_of(origin)))
    shares = initial / np.array(DIVISORS)[_phases(1, queries, schedule, SPARSE_MARKS)]
    exchanged = tf.cast(tf.floor(tf.constant(shares, tf.float64) * tf.cast(count, tf.float64)), tf.int32)
    exchanged = tf.maximum(1, exchanged)
    flat = tf.reshape(origin, [tf.shape(origin)[0], _product(sizes_of(origin)), channels])

    def random(draw, *shape):
        return ops.random_uniform(tf.stack([tf.shape(flat)[0], *shape]), problem.rows, draw, problem.seed)

    def propose(i, held):
        places, signs = held
        # Sizes are asked for here, since XLA wants to know them and knows none that are made elsewhere.
        total, taken = tf.shape(flat)[1], tf.shape(places)[1]
        draw = 3 * (i + 1)
        order = tf.math.top_k(random(draw, taken), taken).indices
        places, signs = (tf.gather(part, order, batch_dims=1) for part in held)
        out = tf.range(taken) < tf.gather(exchanged, i)  # XLA would compile exchanged[i] for each i anew
        keys = random(draw + 1, total)
        own = tf.where(out, tf.gather(keys, places, batch_dims=1), -1.0)  # those that stay are drawn last
        owner = tf.broadcast_to(tf.range(tf.shape(places)[0])[:, None], tf.shape(places))
        keys = tf.tensor_scatter_nd_update(keys, tf.stack([owner, places], axis=-1), own)
        added = tf.math.top_k(keys, taken).indices
        drawn = _signs(random(draw + 2, taken, channels))
        return tf.where(out, added, places), tf.where(out[:, None], drawn, signs)

    def paint(held):
        places, signs = held
        values = problem.clip(tf.gather(flat, places, batch_dims=1) + problem.bounds.radius * signs)
        images = replace_pixels(flat[:, :, None], places, values)
        return tf.ensure_shape(tf.reshape(images, tf.shape(origin)), origin.shape)

    places = tf.math.top_k(random(1, tf.shape(flat)[1]), count).indices
    best = _search(problem, (places, _signs(random(2, count, channels))), propose, paint, queries)
    changed = tf.reduce_any(best.images != origin, axis=-1)
    return best._replace(extra=best.extra | {"pixels": changed})


def _search(problem, first, propose, paint, queries):
    """`Best` of a random search that keeps a proposal if its image is better; the original where none ever was.

    Args:
        first: nested tensors `[B, ...]` that stand for images.
        propose: (int32 scalar, the kept ones) -> others of the same structure and shapes.
        paint: what stands for images -> images `[B, *S, C]`.
        queries: images that are looked at, the first among them.
    """
    begin, one = problem.begin(), tf.ones_like(problem.rows)
    images = paint(first)
    walk = begin._replace(images=images, look=problem.look(images), step=one)

    def step(i, state):
        held, walk, asked = state
        drawn = propose(i, held)
        images = paint(drawn)
        look = problem.look(images)
        wanted = look.merit > walk.look.merit
        held = tf.nest.map_structure(lambda new, old: choose(wanted, new, old), drawn, held)
        return held, better(walk, images, look, i + 2, wanted), asked + 1

    _, walk, asked = problem.repeat(step, queries - 1, (first, walk, one))
    return better(begin, walk.images, walk.look, walk.step)._replace(extra={"queries": asked})


def _phases(first, queries, schedule, marks):
    """How many marks each proposal is past, as NumPy integers; proposals are numbered from `first`.

    Marks are of 10000 queries, and are stretched to `schedule` or, if that is None, to `queries`.
    """
    schedule = queries if schedule is None else schedule
    if isinstance(schedule, bool) or not isinstance(schedule, int | np.integer) or schedule < 1:
        raise ValueError(f"schedule={schedule!r} does not fit. Expected a whole number, at least 1, or None.")
    return np.searchsorted(marks, (first + np.arange(queries)) * 10000 // schedule)


def _signs(numbers):
    """-1 and 1 of uniform numbers."""
    return tf.where(numbers < 0.5, -1.0, 1.0)


def _product(sizes):
    return tf.reduce_prod(tf.stack(sizes)) if any(map(tf.is_tensor, sizes)) else int(np.prod(sizes))


def sizes_of(images):
    """Sizes *S of images `[B, *S, C]`, as integers where they are known and as scalars elsewhere."""
    known, dynamic = images.shape[1:-1].as_list(), tf.shape(images)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(known, start=1)]


def number_of(name, value, whole):
    """How many of `whole`: a whole number as it is, a float in (0, 1] as a share, of which it is at least 1.

    Args:
        name: of the option.
        value: of the option.
        whole: integer or int32 scalar.
    """
    share, known = isinstance(value, float | np.floating), not tf.is_tensor(whole)
    number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (0.0 < value <= 1.0 if share else number and 1 <= value <= (whole if known else value)):
        top = f" and at most {whole}" if known else ""
        raise ValueError(
            f"{name}={value!r} does not fit. Expected a whole number, at least 1{top}, or a share as a float above 0 "
            "and at most 1."
        )
    if known:
        return max(1, round(float(value) * whole)) if share else int(value)
    if not share:
        return tf.minimum(int(value), whole)
    return tf.maximum(1, tf.cast(tf.round(float(value) * tf.cast(whole, tf.float32)), tf.int32))


def corner(numbers, size, side):
    """First places `[B]` int32 of blocks of a side along an axis of a size, from uniform numbers `[B]`."""
    room = size - side
    return tf.minimum(tf.cast(numbers * tf.cast(room + 1, tf.float32), tf.int32), room)  # a number may round to 1


def block(corners, sides, sizes):
    """Whether a pixel is in the block of its image, `[B, *S, 1]`.

    Args:
        corners: first place along each axis, `[B]` int32 each.
        sides: integers or int32 scalars, one an axis.
        sizes: of the images, likewise.
    """
    inside, axes = True, len(sizes)
    for axis, (first, side, size) in enumerate(zip(corners, sides, sizes, strict=True)):
        place, first = tf.range(size), first[:, None]
        own = (place >= first) & (place < first + side)
        inside &= tf.reshape(own, [-1, *(size if other == axis else 1 for other in range(axes)), 1])
    return inside
