"""Training images changed at random, and their masks with them."""

import math

import tensorflow as tf

from kseg.data.kinds import read_kinds
from kseg.data.numbered import draws, numbered
from kseg.data.warp import bent_places, linear_at, mirrored, nearest_at

PURPOSE = 0x617567
# The number of each draw of an image; a kind draws the same whatever other kinds there are.
FLIP_Y, FLIP_X, ROTATE, ANGLE, ZOOM, FACTOR, ELASTIC, INTENSITY, BRIGHTNESS, CONTRAST, GAMMA, KNOTS = range(12)


def augment(dataset, kinds, *, seed=0, start=0, value_range=None, workers=2):
    """Flip, turn, zoom, bend and brighten training images at random, their masks alike.

    Args:
        dataset: `tf.data` batches (images `[B, H, W, C]` float32, masks `[B, H, W]` [, weights `[B, H, W]` or `[B]`]).
        kinds: any of "flip", "rotate", "zoom", "elastic", "intensity", each with options if you like:
            `("flip(axes='xy')", "rotate(degrees=30, share=0.2)")`. Options are those of the classes in
            `kseg.data.kinds`; `share` is the chance that an image is changed, 0.5 if not given. Their order says
            nothing: flips come first, then one resampling for rotation, zoom and elastic together, then intensity.
        seed: integer in [0, 2^32). What happens to an image follows from the seed, the number of its batch and its
            place in the batch alone, whatever the size of the batch and whatever other seeds are set.
        start: number of the first batch. `augment(dataset.skip(n), .., start=n)` gives what `augment(dataset, ..)` does
            from its batch n on. Each further pass over a dataset of known length goes on counting; one that is endless,
            or of unknown length, begins at `start` again.
        value_range: (low, high) of the images, needed for "intensity", which never leaves it.
        workers: batches that are changed at once; with TensorFlow's determinism, which allows no more, take 1.

    Returns:
        `tf.data.Dataset` of the same parts, shapes and types. Images are interpolated linearly, once. Masks and pixel
        weights come from the nearest pixel, so that no label is blurred and none is new. Beyond the border image and
        mask go on as their mirror image (as U-Net extrapolates): labels there stay true, and no black corners tell how
        far an image was turned.

    Raises:
        ValueError: unknown kinds or options, strengths, a start or a seed that do not fit, no `value_range`, or parts
            of other shapes.

    Example:
        >>> import numpy as np
        >>> images = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
        >>> dataset = tf.data.Dataset.from_tensors((images, images[..., 0].astype(np.uint8)))
        >>> changed, masks = next(iter(augment(dataset, "flip(share=1)")))
        >>> masks.numpy()[0, 0].tolist(), changed.numpy()[0, 0, :, 0].tolist()
        ([3, 2, 1, 0], [3.0, 2.0, 1.0, 0.0])
    """
    kinds = read_kinds(kinds)
    _check_parts(dataset)
    _check_range(kinds, value_range)
    count = KNOTS + (2 * (int(kinds["elastic"].grid) + 3) ** 2 if "elastic" in kinds else 0)

    def change(number, batch):
        images, *rest = batch
        drawn = draws(images, number, count, seed, PURPOSE)
        if "flip" in kinds:
            images, *rest = _flipped((images, *rest), kinds["flip"], drawn)
        if kinds.keys() & {"rotate", "zoom", "elastic"}:
            images, *rest = _bent(images, rest, kinds, drawn)
        if "intensity" in kinds:
            images = _brightened(images, kinds["intensity"], drawn, value_range)
        return images, *rest

    at_once = {"num_parallel_calls": workers, "deterministic": True} if workers > 1 else {}
    return numbered(dataset, start).map(change, **at_once).prefetch(2)


def _check_parts(dataset):
    parts = dataset.element_spec
    parts = parts if isinstance(parts, tuple) else (parts,)
    shapes = [part.shape for part in parts if isinstance(part, tf.TensorSpec)]
    fits = len(parts) > 1 and len(shapes) == len(parts) and all(shape.rank is not None for shape in shapes)
    if (
        not fits
        or shapes[0].rank != 4
        or not parts[0].dtype.is_floating
        or any(s.rank not in (1, 3, 4) for s in shapes)
    ):
        raise ValueError(
            f"batches of {dataset.element_spec} cannot be augmented. Expected (images [B, H, W, C] float32, masks "
            "[B, H, W]), and weights [B, H, W] or [B] if any; kseg.data.load gives them."
        )


def _check_range(kinds, value_range):
    if "intensity" not in kinds:
        return
    try:
        low, high = map(float, value_range)
        fits = math.isfinite(low) and math.isfinite(high) and low < high
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"augmentation 'intensity' takes no value_range={value_range!r}. Expected (low, high), low below high; a "
            "data set of kseg.data tells its own: value_range=data.value_range."
        )


def _per_image(values, array):
    """`[B]` values in a shape that goes with `[B, ...]`."""
    return tf.reshape(values, tf.concat([[-1], tf.ones(array.shape.rank - 1, tf.int32)], 0))


def _flipped(parts, kind, drawn):
    for letter, axis, place in (("y", 1, FLIP_Y), ("x", 2, FLIP_X)):
        if letter in kind.axes:
            where = drawn[:, place] < kind.share
            parts = [
                part if part.shape.rank == 1 else tf.where(_per_image(where, part), tf.reverse(part, [axis]), part)
                for part in parts
            ]
    return parts


def _signed(kinds, name, drawn, chance, strength):
    """`[B]` from -1 to 1, and 0 for images that this kind leaves as they are."""
    if name not in kinds:
        return tf.zeros_like(drawn[:, 0])
    return tf.where(drawn[:, chance] < kinds[name].share, 2 * drawn[:, strength] - 1, 0.0)


def _bent(images, rest, kinds, drawn):
    angle = _signed(kinds, "rotate", drawn, ROTATE, ANGLE)
    angle *= math.radians(kinds["rotate"].degrees) if "rotate" in kinds else 0.0
    zoom = _signed(kinds, "zoom", drawn, ZOOM, FACTOR)
    zoom = tf.exp(zoom * (math.log(kinds["zoom"].factor) if "zoom" in kinds else 0.0))
    knots = _knots(kinds["elastic"], drawn) if "elastic" in kinds else None
    shape = tf.shape(images)
    y, x = bent_places((shape[1], shape[2]), angle, zoom, knots)
    y, x = mirrored(y, shape[1]), mirrored(x, shape[2])
    return linear_at(images, y, x), *(part if part.shape.rank == 1 else nearest_at(part, y, x) for part in rest)


def _knots(kind, drawn):
    side = int(kind.grid) + 3
    moves = kind.strength * (2 * tf.reshape(drawn[:, KNOTS:], [-1, side, side, 2]) - 1)
    return tf.where(_per_image(drawn[:, ELASTIC] < kind.share, moves), moves, 0.0)


def _brightened(images, kind, drawn, value_range):
    low, high = map(float, value_range)
    share, brighter, contrast, gamma = (
        _per_image(drawn[:, place], images) for place in (INTENSITY, BRIGHTNESS, CONTRAST, GAMMA)
    )
    light = (images - low) / (high - low)
    mean = tf.reduce_mean(light, axis=(1, 2, 3), keepdims=True)
    light = mean + (light - mean) * tf.exp((2 * contrast - 1) * math.log(kind.contrast))
    light = tf.clip_by_value(light + kind.brightness * (2 * brighter - 1), 0.0, 1.0)
    light = light ** tf.exp((2 * gamma - 1) * math.log(kind.gamma))
    changed = tf.clip_by_value(low + light * (high - low), low, high)
    return tf.where(share < kind.share, changed, images)
