"""Which losses a comparison is of: those that fit the data, each function once."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kseg import losses
from kseg.models import head_for
from kseg.studies.breakdown import OF_THE_MACHINE, reason
from kseg.training.run import loss_of

ALL = ("all",)
CLOSE = 1e-4  # of the largest value: float32, summed in another order
SIDE, CELL, IMAGES = 16, 4, 3


class Chosen(NamedTuple):
    """The losses to compare.

    `losses` as they were spelled, `heads` {loss: (channels, head)}, `same` {loss: an earlier one that is the same
    function on these data}, `unfit` {loss: why it does not fit the data}. Of all losses there are, those of `same` and
    `unfit` are left out of `losses`; what a user named is compared.
    """

    losses: tuple
    heads: dict
    same: dict
    unfit: dict


def chosen(specs, classes, shape):
    """`Chosen` of `--losses`, for data of `classes` classes and images of `shape`.

    Raises:
        ValueError: no loss of that name, or one that was named and does not fit.
    """
    every, unfit = tuple(specs) == ALL, {}
    specs = tuple(losses.names()) if every else tuple(specs)
    heads = heads_of(specs, classes, shape, unfit if every else None)
    same = same_functions(heads, classes)
    kept = tuple(spec for spec in heads if not (every and spec in same))
    return Chosen(kept, {spec: heads[spec] for spec in kept}, same, unfit)


def heads_of(specs, classes, shape, unfit=None):
    """{loss: (channels, "sigmoid" | "softmax")}: binary data get one sigmoid channel, others a softmax, where they can.

    Args:
        specs: losses or sums of them.
        classes: of the data, background included.
        shape: `(H, W, C)` of the images.
        unfit: a dict that gets {loss: why} of those that fit neither head; None to raise.

    Raises:
        ValueError: no loss of that name, or one that fits neither head.
    """
    found = {}
    for spec in specs:
        wanted = losses.get(spec, from_logits=True).head
        wishes = ("sigmoid", "softmax") if classes == 2 else ("softmax", "sigmoid")
        whys = []
        for head in wishes if wanted == "auto" else (wanted,):
            try:
                found[spec] = _tried(spec, head, classes, shape)
                break
            except OF_THE_MACHINE:
                raise
            except Exception as error:  # any error of a loss says that it does not fit
                whys.append(f"{reason(error).removeprefix('ValueError: ')} (tried under a {head} head)")
        else:
            told = f"loss {spec!r} does not fit {classes} classes in images of {'x'.join(map(str, shape))}: {whys[0]}"
            if "Expected" not in told:
                told += f". Expected one that takes them; leave {spec!r} out, or change its options"
            if unfit is None:
                raise ValueError(told)
            unfit[spec] = told
    return found


def _tried(spec, wish, classes, shape):
    loss = loss_of(spec, wish)
    channels, head = head_for(loss.head, classes, wish)
    loss(np.zeros((1, *shape[:2]), np.uint8), np.zeros((1, *shape[:2], channels), np.float32))
    return channels, head


def same_functions(heads, classes):
    """{loss: an earlier loss that is the same function}: equal values and gradients for two made-up batches.

    Args:
        heads: {loss: (channels, head)}, of `heads_of`; losses of different heads are different.
        classes: of the data.
    """
    if len(heads) < 2:
        return {}
    rng, found, same = np.random.default_rng(0), {}, {}
    blocks = rng.integers(0, classes, (IMAGES, SIDE // CELL, SIDE // CELL))
    blocks[0] = 0
    masks = np.kron(blocks, np.ones((1, CELL, CELL), int)).astype(np.uint8)
    batches = [tf.constant(each) for each in (masks, np.zeros_like(masks))]  # without foreground many losses differ
    logits = {head: tf.constant(rng.normal(0, 2, (IMAGES, SIDE, SIDE, head[0])), tf.float32)
              for head in sorted(set(heads.values()))}  # fmt: skip
    for spec, head in heads.items():
        try:
            loss = loss_of(spec, head[1])
            own = [part for masks in batches for part in _values(loss, masks, logits[head])]
        except OF_THE_MACHINE:
            raise
        except Exception:  # it will fail in training, and be told there
            continue
        twin = next((name for name, known in found.items() if heads[name] == head and _close(own, known)), None)
        if twin is None:
            found[spec] = own
        else:
            same[spec] = twin
    return same


def _values(loss, masks, logits):
    """(value, gradient) of a loss."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_mean(loss.call(masks, logits))
    return value.numpy(), tape.gradient(value, logits).numpy()


def _close(ours, theirs):
    return all(
        np.isfinite(one).all() and np.abs(one - other).max() <= CLOSE * np.abs(other).max()
        for one, other in zip(ours, theirs, strict=True)
    )
