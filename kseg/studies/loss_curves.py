"""What a loss does on small images: its value and gradient where one thing changes and all else stands still."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kseg import losses

SIDE = 32
PIXELS = SIDE * SIDE
LOGITS = np.linspace(-20, 20, 81)
# Pixels of foreground, from 1 of 1024 (0.1 %) to 1023 (99.9 %), evenly spaced in log-odds.
FOREGROUND = np.unique(np.rint(PIXELS / (1 + np.exp(-np.linspace(-6.93, 6.93, 41)))).astype(int))
SIZES = np.arange(1, 25)
SHIFTS = np.arange(13)
SIZES_SHOWN, SHIFTS_SHOWN = (4, 8, 16), (1, 2, 4)
FAIR, GOOD, SURE = 2.0, float(np.log(4)), 10.0
# The single pixel: rows and columns of the object, a pixel inside and a pixel outside it.
OBJECT, INSIDE, OUTSIDE = slice(12, 20), (15, 15), (15, 26)


@dataclass(frozen=True)
class LossCurves:
    """Answers of one loss on 32x32 images of an object on background; each array has the length of its axis.

    The logit of a pixel is that of the foreground minus that of the background, so that p = 1 / (1 + e^-logit) for
    both heads. Gradients are those with respect to these logits.

    - `head`: "softmax" with two channels, or "sigmoid" with one: what training takes for two classes.
    - `logit`: the logit of one pixel, from -20 to 20; `value` and `slope` {"foreground", "background"} by the label of
      that pixel. The object has 8x8 pixels; all other pixels are right with logits of +-2.
    - `foreground`: number of foreground pixels of the 1024; `balance` the value and `norms` {"all", "foreground",
      "background"} the Euclidean norm of the gradient over these pixels. Each pixel gives its label a probability of
      0.8.
    - `size`: side of a square object; `by_size` {shift: value}; `shift`: how far it is misplaced; `by_shift` {side:
      value}. All logits are +-10.
    """

    head: str
    logit: np.ndarray
    value: dict
    slope: dict
    foreground: np.ndarray
    balance: np.ndarray
    norms: dict
    size: np.ndarray
    by_size: dict
    shift: np.ndarray
    by_shift: dict


def curves(spec, *, logits=LOGITS, foreground=FOREGROUND, sizes=SIZES, shifts=SHIFTS):
    """The curves of a loss.

    Args:
        spec: what `kseg.losses.get` takes.
        logits: logits of the single pixel.
        foreground: numbers of foreground pixels, in [1, 1023].
        sizes: sides of the shifted square, at most 24.
        shifts: misplacements in pixels, at most 12.

    Returns:
        LossCurves, in float32 arithmetic as in training.
    """
    loss = losses.get(spec, from_logits=True)
    head = "sigmoid" if loss.head == "sigmoid" else "softmax"
    evaluate = _evaluator(loss, channels=1 if head == "sigmoid" else 2)
    value, slope = {}, {}
    for label, (mask, scores) in _single_pixel(logits).items():
        value[label], slopes = evaluate(mask, scores)
        slope[label] = slopes[:, *(INSIDE if label == "foreground" else OUTSIDE)]
    mask, scores = _balanced(foreground)
    balance, slopes = evaluate(mask, scores)
    parts = {"all": np.ones_like(mask), "foreground": mask, "background": 1 - mask}
    norms = {name: np.sqrt(np.sum(np.square(slopes, dtype=np.float64) * part, (1, 2))) for name, part in parts.items()}
    by_size = {d: evaluate(*_shifted([(side, d) for side in sizes]))[0] for d in SHIFTS_SHOWN}
    by_shift = {side: evaluate(*_shifted([(side, d) for d in shifts]))[0] for side in SIZES_SHOWN}
    axes = [np.asarray(axis) for axis in (logits, foreground, sizes, shifts)]
    return LossCurves(head, axes[0], value, slope, axes[1], balance, norms, axes[2], by_size, axes[3], by_shift)


def _evaluator(loss, channels):
    """A function of masks and logits `[N, 32, 32]`: values `[N]` and gradients, each image a batch of its own."""

    def single(pair):
        mask, logits = pair
        with tf.GradientTape() as tape:
            tape.watch(logits)
            scores = [logits] if channels == 1 else [tf.zeros_like(logits), logits]
            value = loss(mask[None], tf.stack(scores, axis=-1)[None])
        return tf.cast(value, tf.float32), tape.gradient(value, logits, unconnected_gradients="zero")

    shape = [None, SIDE, SIDE]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.int32), tf.TensorSpec(shape, tf.float32)], autograph=False)
    def each(masks, logits):
        return tf.map_fn(single, (masks, logits), fn_output_signature=(tf.float32, tf.float32))

    def evaluate(masks, logits):
        values, slopes = each(np.asarray(masks, np.int32), np.asarray(logits, np.float32))
        return values.numpy(), slopes.numpy()

    return evaluate


def _single_pixel(logits):
    mask = np.zeros((SIDE, SIDE), int)
    mask[OBJECT, OBJECT] = 1
    cases = {}
    for label, place in (("foreground", INSIDE), ("background", OUTSIDE)):
        scores = np.tile(np.where(mask, FAIR, -FAIR), (len(logits), 1, 1))
        scores[:, *place] = logits
        cases[label] = np.broadcast_to(mask, scores.shape), scores
    return cases


def _balanced(counts):
    """Discs of exactly so many pixels, those nearest to the centre."""
    rows, columns = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    order = np.argsort((rows**2 + columns**2).ravel(), kind="stable")
    rank = np.empty(PIXELS, int)
    rank[order] = np.arange(PIXELS)
    mask = (rank[None] < np.asarray(counts)[:, None]).astype(int).reshape(-1, SIDE, SIDE)
    return mask, np.where(mask, GOOD, -GOOD)


def _shifted(pairs):
    """Squares of a side and the same squares a number of pixels further right."""
    true, found = (np.zeros((len(pairs), SIDE, SIDE), int) for _ in range(2))
    for i, (side, shift) in enumerate(pairs):
        rows = slice((SIDE - side) // 2, (SIDE - side) // 2 + side)
        true[i, rows, 2 : 2 + side] = 1
        found[i, rows, 2 + shift : 2 + shift + side] = 1
    return true, np.where(found, SURE, -SURE)
