"""What an attack works on: a model, images, what is wanted of them, and the bounds of a change."""

from typing import Any, NamedTuple

import tensorflow as tf

from kseg import ops
from kseg.attacks.norms import Norm
from kseg.attacks.objectives import OBJECTIVES, Seen

DIRECTIONS = {"attack": 1.0, "target": -1.0, "fortify": -1.0}
JUDGES = ("loss", "pixels", "iou")
FUSED = 2**14  # logits of an image from which on compiling what is made of them pays


class Look(NamedTuple):
    """What is known of a batch of images, `[B]` each: `merit`, the higher the better for the attack; the `loss` that
    is told; `agreement`, the share of pixels that have the mask's class."""

    merit: Any
    loss: Any
    agreement: Any


class Best(NamedTuple):
    """The best images so far `[B, *S, C]`.

    Attributes:
        images: `[B, *S, C]`.
        look: theirs.
        step: `[B]` int32: after how many steps they were found, 0 for the originals.
        before: `Look` of the originals.
        extra: {name: `[B, ...]`} of what else an attack has to tell.
    """

    images: Any
    look: Look
    step: Any
    before: Look
    extra: dict = {}


class Bounds(NamedTuple):
    """How far images may change: `radius` of the ball, scalar, `step` size, and range of values."""

    norm: Norm
    radius: Any
    step: Any
    low: float
    high: float


class Problem(NamedTuple):
    """Everything that an attack sees; images that it changes are its own.

    Attributes:
        model: a `keras.Model` that ends in logits.
        head: "sigmoid" or "softmax".
        sign: 1 to climb the loss of the masks, -1 to descend.
        judge: of `JUDGES`: what makes images better.
        climbed, told: of `make_objective`.
        goal: share of pixels as wanted that is a success.
        ignoring: whether some pixels do not count.
        origin: the images `[B, *S, C]`.
        ids, counted: of `Seen`.
        rows: numbers of the images `[B]`.
        bounds: Bounds.
        seed: of random numbers.
        jit: compile each step by XLA.
    """

    model: Any
    head: str
    sign: float
    judge: str
    climbed: Any
    told: Any
    goal: float
    ignoring: bool
    origin: Any
    ids: Any
    counted: Any
    rows: Any
    bounds: Bounds
    seed: int
    jit: bool

    def see(self, images, progress=0.0):
        """`Seen` of images."""
        logits = tf.cast(self.model(images, training=False), tf.float32)
        return Seen(logits, self.ids, self.counted, self.head, progress, self.sign)

    def look(self, images):
        """`Look` of images."""
        seen = self.see(images)
        return self._look(seen, self.told(seen))

    def slope(self, images, progress=0.0):
        """(gradient that raises the merit, of the shape of images, what was climbed `[B]`, `Look`)."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = tf.cast(self.model(images, training=False), tf.float32)
        uphill, climbed, look = self._measurer(logits)(logits, self.ids, self.counted, progress)
        gradient = tape.gradient(logits, images, output_gradients=uphill, unconnected_gradients="zero")
        # A gradient that is nan says nothing of where to go.
        return tf.where(tf.math.is_nan(gradient), 0.0, gradient), climbed, look

    def _measurer(self, logits):
        """`_measure`, as one XLA program where the rest of the step is none: a quarter of the graph's time."""
        pixels = logits.shape[1:].num_elements()
        own = any(self.climbed is OBJECTIVES.get(name) for name in OBJECTIVES.names())
        pays = not self.jit and own and pixels is not None and pixels >= FUSED
        return tf.function(self._measure, jit_compile=True, autograph=False) if pays else self._measure

    def _measure(self, logits, ids, counted, progress):
        """(gradient of what is climbed with respect to the logits, what is climbed `[B]`, `Look`)."""
        with tf.GradientTape() as tape:
            tape.watch(logits)
            seen = Seen(logits, ids, counted, self.head, progress, self.sign)
            climbed = self.sign * self.climbed(seen)
        uphill = tape.gradient(climbed, logits, unconnected_gradients="zero")
        loss = self.sign * climbed if self.told is self.climbed else self.told(seen)
        return uphill, climbed, self._look(seen, loss)

    def _look(self, seen, loss):
        agreement = seen.mean(tf.cast(seen.agrees, tf.float32))
        judged = {"loss": lambda: -loss, "pixels": lambda: _counted(agreement), "iou": lambda: _counted(mean_iou(seen))}
        quality = judged[self.judge]()
        return Look(-self.sign * quality, loss, agreement)

    def succeeded(self, look):
        """Whether enough pixels are as wanted `[B]`: wrong ones for an attack, else those of the mask's class."""
        return (1.0 - look.agreement if self.sign > 0 else look.agreement) >= self.goal - 1e-6

    def within(self, images):
        """Images put back into the ball around the origin and the range of values."""
        bounds = self.bounds
        radius = tf.fill([tf.shape(images)[0]], bounds.radius)
        change = bounds.norm.project(images - self.origin, radius)
        return self.clip(self.origin + change)

    def clip(self, images):
        """Images within the range of values."""
        return tf.clip_by_value(images, self.bounds.low, self.bounds.high)

    @property
    def reach(self):
        """The radius, or the size of a change by the whole range of values if that is less, a scalar."""
        one = tf.concat([[1], tf.shape(self.origin)[1:]], axis=0)  # a batch may be empty
        whole = tf.ones(one) * (self.bounds.high - self.bounds.low)
        return tf.minimum(self.bounds.radius, self.bounds.norm.size(whole)[0])

    def inward(self, images, gradient):
        """A gradient without what leads out of the range of values, where no step can go."""
        above, below = images >= self.bounds.high, images <= self.bounds.low
        return tf.where((above & (gradient > 0.0)) | (below & (gradient < 0.0)), 0.0, gradient)

    def start(self, draw):
        """Random images within the bounds."""
        shape = tf.shape(self.origin)
        radius = tf.fill([shape[0]], self.reach)
        change = self.bounds.norm.start(shape, self.rows, draw, self.seed, radius)
        return tf.ensure_shape(self.within(self.origin + change), self.origin.shape)

    def begin(self):
        """`Best` of the originals."""
        look = self.look(self.origin)
        return Best(self.origin, look, tf.zeros_like(self.rows), look)

    def nothing(self):
        """A `Best` that any look is better than; for attacks that look at the originals at their step 0."""
        worst = tf.fill([tf.shape(self.origin)[0]], tf.float32.min)
        look = Look(worst, tf.zeros_like(worst), tf.zeros_like(worst))
        return Best(self.origin, look, tf.zeros_like(self.rows), look)

    def repeat(self, step, count, state, going=None):
        """`state` after `count` times `state = step(i, state)`.

        A graph loop around a step, which XLA compiles if `jit`: on a CPU it runs convolutions within its own loops 10
        to 30 times slower (jax#12868).

        Args:
            step: (int32 scalar, state) -> state, of the same structure and shapes.
            count: of steps.
            state: nested tensors.
            going: state -> boolean scalar; False ends the loop.
        """
        body = tf.function(step, jit_compile=True, autograph=False) if self.jit else step

        def going_on(i, state):
            return i < count if going is None else (i < count) & going(state)

        def once(i, state):
            return i + 1, tf.nest.map_structure(_same_shape, body(i, state), state)

        return tf.while_loop(going_on, once, (tf.constant(0), state), parallel_iterations=1)[1]


def _counted(share):
    """Quotients of counts, so that equal ones are equal however a program rounds: of them the first one stays."""
    return tf.round(share * 2.0**20) / 2.0**20


def _same_shape(after, before):
    return tf.ensure_shape(after, before.shape)


def better(best, images, look, step, wanted=None):
    """`Best` with images in place of those that they are better than.

    Args:
        best: so far.
        images: `[B, *S, C]`.
        look: theirs.
        step: scalar or `[B]`: after how many steps they were found.
        wanted: `[B]` booleans; by default whether the merit is higher.
    """
    wanted = look.merit > best.look.merit if wanted is None else wanted
    kept = best._replace(images=choose(wanted, images, best.images), step=tf.where(wanted, step, best.step))
    return kept._replace(look=_where(wanted, look, best.look))


def remember(best, look, step):
    """`Best` that takes the look of step 0 for that of the originals."""
    return best._replace(before=_where(step == 0, look, best.before))


def _where(wanted, first, second):
    return Look(*(tf.where(wanted, one, other) for one, other in zip(first, second, strict=True)))


def choose(wanted, first, second):
    """Images of the first batch where `wanted` `[B]`, else of the second."""
    return tf.where(tf.reshape(wanted, [-1, *[1] * (first.shape.rank - 1)]), first, second)


def mean_iou(seen):
    """Mean IoU of each image over the classes that its mask or its prediction has, `[B]`."""
    classes = tf.range(max(seen.logits.shape[-1], 2))
    counted = (seen.counted > 0.0)[..., None]
    true, predicted = (counted & (ids[..., None] == classes) for ids in (seen.ids, seen.predicted))
    both, either = (ops.space_sum(tf.cast(part, tf.float32)) for part in (true & predicted, true | predicted))
    present = tf.reduce_sum(tf.cast(either > 0.0, tf.float32), axis=-1)
    return tf.math.divide_no_nan(tf.reduce_sum(tf.math.divide_no_nan(both, either), axis=-1), present)
