"""The conditions of D1's toy study: what one run is, its name, and the images it sees."""

from dataclasses import dataclass

import tensorflow as tf

LOSS_NAMES = ("cce", "dice", "dicefg", "dice_square", "dicefg_square")
OPTIMIZERS = ("adam", "sgd")
INPUTS = ("raw", "mirrored", "centred")
LEARNING_RATE = 1e-3
EVERY = 250
SIZE = 32
VALIDATION_IMAGES = 100
VALIDATION_DRAW = 2**31 - 1


@dataclass(frozen=True)
class Condition:
    """One run of the study (S1.10).

    Attributes:
        loss: the loss that is trained, one of `LOSS_NAMES`.
        optimizer: "adam" (0.9, 0.999, epsilon 1e-8) or "sgd" (without momentum).
        bn: batch normalisation before each ReLU.
        threshold: pixels above it are foreground, in (0, 1).
        seed: of the weights and of every batch.
        learning_rate: constant, above 0.
        input: what the network sees of an image x: "raw" x, "mirrored" 1 - x or "centred" x - 0.5; the labels are
            those of x in all three (S1.17).
        convolutions: number of 3x3 convolutions, at least 1.
        batch_size: images in a batch, at least 1.

    Raises:
        ValueError: for a value outside these.
    """

    loss: str
    optimizer: str
    bn: bool
    threshold: float
    seed: int
    learning_rate: float = LEARNING_RATE
    input: str = "raw"
    convolutions: int = 2
    batch_size: int = 2

    def __post_init__(self):
        for field, allowed in (("loss", LOSS_NAMES), ("optimizer", OPTIMIZERS), ("input", INPUTS)):
            if (value := getattr(self, field)) not in allowed:
                raise ValueError(f"{field} {value!r} is not known. Expected one of: {', '.join(allowed)}.")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} leaves one class empty. Expected a number in (0, 1).")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate {self.learning_rate} trains nothing. Expected a number above 0.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed {self.seed} is out of range. Expected 0 to {2**31 - 1}.")
        for field in ("convolutions", "batch_size"):
            if (value := getattr(self, field)) < 1:
                raise ValueError(f"{field} {value} is too small. Expected at least 1.")

    @property
    def foreground(self):
        """Percentage of foreground pixels; rounded, since truncating makes 19 of threshold 0.8 (S1.13)."""
        return round(100 * (1 - self.threshold), 2)

    @property
    def name(self):
        """All conditions in one word, such as `dicefg_adam_nconv2_bs2_bn_fg5_seed0` (S1.13).

        A learning rate or an input that is not the default is appended: `.._seed0_lr0.1_mirrored`.
        """
        norm = "bn" if self.bn else "nobn"
        words = [self.loss, self.optimizer, f"nconv{self.convolutions}", f"bs{self.batch_size}", norm]
        words += [f"fg{self.foreground:g}", f"seed{self.seed}"]
        words += [f"lr{self.learning_rate:g}"] * (self.learning_rate != LEARNING_RATE)
        words += [self.input] * (self.input != "raw")
        return "_".join(words)


def draw(seed, iteration, images, threshold):
    """A batch of the toy set (S1.8): images `[n, 32, 32, 1]` in [0, 1) and one-hot labels `[n, 32, 32, 2]`.

    The same (seed, iteration) gives the same float32 numbers on every device, eager or in a graph. Inside a program
    that XLA compiles TensorFlow makes other numbers: draw outside and pass the batch in.
    """
    seeds = tf.stack([tf.cast(seed, tf.int32), tf.cast(iteration, tf.int32)])
    x = tf.random.stateless_uniform((images, SIZE, SIZE, 1), seeds, alg="philox")
    return x, tf.concat([tf.cast(x <= threshold, x.dtype), tf.cast(x > threshold, x.dtype)], axis=-1)


def present(x, mode):
    """What the network sees of an image `x` in [0, 1): x, 1 - x or x - 0.5 (S1.17), exact in float32."""
    return {"raw": x, "mirrored": 1 - x, "centred": x - 0.5}[mode]


def stretches(iterations):
    """(start, stop) pairs that cover range(iterations), the iterations 0, 250, 500, .. and the last ending one each."""
    stops = [*range(1, iterations + 1, EVERY)]
    stops = stops if stops[-1:] == [iterations] else [*stops, iterations]
    return list(zip([0, *stops[:-1]], stops, strict=True))
