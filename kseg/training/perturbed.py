"""Training on images that the model in training changes: by attacks within each step, or for free (S4.17)."""

import inspect
import math
from functools import partial

import keras
import tensorflow as tf

from kseg.attacks import ATTACKS, Attacker
from kseg.attacks.attacker import check_range

PLAIN, FREE = "none", "free"
# Of an attack within a step of training: cheap rather than exact.
QUICK = {"selective": {"search": "beam", "width": 3, "sweeps": 1}}


class _Stepwise(keras.Model):
    """A model that trains in a step of its own, whose parts XLA compiles one by one if `compile(jit_compile=True)`.

    A loop of attack steps within one XLA program is 10 to 30 times slower on a CPU (see `kseg.attacks.problem`).
    """

    def __init__(self, model, **given):
        super().__init__(model.inputs[0], model.outputs[0], name=model.name)
        # Behind functions, which Keras does not track: the layers are this model's already.
        self._plain, self._given = lambda: model, lambda: given
        self._wished_jit, self._update = False, None

    def compile(self, *args, jit_compile=False, **options):
        """As in Keras; `jit_compile` compiles the update and each step of an attack, not all as one."""
        super().compile(*args, jit_compile=False, **options)
        self._wished_jit = jit_compile is True
        self._update = tf.function(self._updated, jit_compile=self._wished_jit or None, autograph=False)

    def get_compile_config(self):
        config = super().get_compile_config()
        return config and config | {"jit_compile": self._wished_jit}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self):
        return {"model": keras.saving.serialize_keras_object(self._plain()), **self._given()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
        return cls(model, **{name: value for name, value in config.items() if name != "model"})


@keras.saving.register_keras_serializable("kseg")
class PerturbedModel(_Stepwise):
    """A model that changes each batch by attacks on itself before it learns from it; masks stay as they are.

    Each batch is cut into as many nearly equal parts as there are methods, so that every update learns from all of
    them. The attacks see the weights of the moment, and batch normalisation in inference mode. Validation and inference
    change nothing.

    Args:
        model: a functional `keras.Model` that ends in logits, whose layers are shared.
        methods: of `kseg.attacks.ATTACKS.names()`, or "none" for images as they are; `("pgd",)` is the training of
            Madry et al. 2018, `("none", "layered", "selective")` D4's union made on the fly.
        budget: radius of the ball in units of the images' values; by default 1 % of their range. "layered" and
            "selective" have it for each class, so that images change by up to as many budgets as there are classes.
        steps: of attacks that take any; their size is that of `step_size`.
        value_range: (lowest, highest) value of an image.
        options: {method: options of `Attacker`}, beside those of `QUICK`.
        head: "softmax", "sigmoid", or "auto": what turns the logits into probabilities; see `kseg.models.with_logits`.
        seed: of random starts; they differ from update to update.

    Raises:
        ValueError: methods or options that do not fit.

    Example:
        >>> import numpy as np
        >>> from kseg.models import toy_net
        >>> model = PerturbedModel(toy_net(seed=0), ("none", "pgd"), steps=2)
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(np.zeros((4, 8, 8, 1), "float32"), np.zeros((4, 8, 8), "uint8"), verbose=0)
        >>> sorted(history.history)
        ['loss']
    """

    def __init__(
        self, model, methods=(PLAIN, "layered", "selective"), *, budget=None, steps=3, value_range=(0.0, 1.0),
        options=None, head="auto", seed=0,
    ):  # fmt: skip
        methods = (methods,) if isinstance(methods, str) else tuple(methods)
        if not methods:
            raise ValueError("methods=() is empty. Expected names of attacks, or 'none'.")
        if stranger := next((name for name in options or () if name not in methods), None):
            raise ValueError(f"options={options!r} are of {stranger!r}. Expected those of: {', '.join(methods)}.")
        low, high = check_range(value_range)
        budget = 0.01 * (high - low) if budget is None else float(budget)
        _check_budget(budget)
        super().__init__(
            model, methods=methods, budget=budget, steps=steps, value_range=(low, high), options=options, head=head,
            seed=seed,
        )  # fmt: skip
        self._attack(False)

    def _attack(self, jit):
        """Make the attackers anew; `jit` compiles their steps."""
        given, model = self._given(), self._plain()
        shared = {name: given[name] for name in ("budget", "value_range", "head", "seed")} | {"jit": jit}
        made = []
        for method in given["methods"]:
            if method == PLAIN:
                made.append(None)
                continue
            own = dict(QUICK.get(method, {}))
            if "steps" in inspect.signature(ATTACKS.get(method)).parameters:
                own |= {"steps": given["steps"], "step_size": step_size(given["budget"], given["steps"])}
            if ATTACKS.facts(method).get("unbounded"):
                raise ValueError(
                    f"method {method!r} knows no budget, so images would change as they need. Expected an attack "
                    "that does, such as 'pgd'."
                )
            made.append(Attacker(model, method, **{**shared, **own, **(given["options"] or {}).get(method, {})}))
        self._attackers = lambda: made

    def compile(self, *args, **options):
        super().compile(*args, **options)
        self._attack(self._wished_jit)

    def perturb(self, images, masks):
        """Images `[B, *S, C]` as training sees them, of a compiled model; masks as `Attacker` takes them."""
        if self.optimizer is None:
            raise ValueError("the model has no optimizer yet, by which random starts go. Expected compile() first.")
        images, masks = tf.convert_to_tensor(images), tf.convert_to_tensor(masks)
        if masks.shape.rank == images.shape.rank:
            one = masks.shape[-1] == 1
            masks = masks[..., 0] if one else tf.argmax(masks, axis=-1, output_type=tf.int32)
        ids, images = tf.cast(masks, tf.int32), tf.cast(images, tf.float32)
        batch, parts = tf.shape(images)[0], len(self._attackers())
        rows = tf.cast(self.optimizer.iterations, tf.int32) * batch + tf.range(batch)
        changed = []
        for number, attacker in enumerate(self._attackers()):
            part = slice(batch * number // parts, batch * (number + 1) // parts)
            own = [each[part] for each in (images, ids, rows)]
            if attacker is not None:  # a small batch may leave a part empty
                own[0] = tf.cond(tf.size(own[2]) > 0, partial(_changed, attacker, *own), partial(tf.identity, own[0]))
            changed.append(own[0])
        return tf.stop_gradient(tf.ensure_shape(tf.concat(changed, axis=0), images.shape))

    def train_step(self, data):
        images, masks, weights = keras.utils.unpack_x_y_sample_weight(data)
        return self._update((self.perturb(images, masks), masks, weights))

    def _updated(self, data):
        return super().train_step(data)


def _changed(attacker, images, ids, rows):
    counted = tf.ones_like(ids, tf.float32)
    ignored = attacker.settings["ignore_class"]
    if ignored is not None:
        counted, ids = tf.cast(ids != ignored, tf.float32), tf.where(ids == ignored, 0, ids)
    numbers = [tf.constant(min(attacker.settings[name], 3e38), tf.float32) for name in ("budget", "step_size")]
    return attacker.graph(images, ids, counted, rows, *numbers)[0].images


@keras.saving.register_keras_serializable("kseg")
class FreeModel(_Stepwise):
    """Free adversarial training: each batch is learned from several times, and each gradient serves twice.

    One backward pass gives the gradient of the weights and of the images; the weights descend, the change of the images
    climbs by the whole budget along its sign, clipped to the ball. The change goes on from batch to batch, and is saved
    with the model. Train for 1/`replays` of the epochs, and it costs what plain training does.

    Args:
        model: a functional `keras.Model` that ends in logits, whose layers are shared.
        replays: how often each batch is learned from in a row, at least 1.
        budget: radius of the ball in units of the images' values; by default 1 % of their range.
        value_range: (lowest, highest) value of an image.
        batch_size: images of the largest batch that comes.

    Raises:
        ValueError: numbers that do not fit.

    Source: Shafahi et al. 2019, "Adversarial training for free!", algorithm 1 (arXiv:1904.12843).
    """

    def __init__(self, model, *, replays=4, budget=None, value_range=(0.0, 1.0), batch_size=32):
        for name, value in (("replays", replays), ("batch_size", batch_size)):
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(f"{name}={value!r} does not fit. Expected a whole number, at least 1.")
        low, high = check_range(value_range)
        budget = 0.01 * (high - low) if budget is None else float(budget)
        _check_budget(budget)
        super().__init__(
            model, replays=int(replays), budget=budget, value_range=(low, high), batch_size=int(batch_size)
        )
        self._change = None

    def train_step(self, data):
        images, masks, weights = keras.utils.unpack_x_y_sample_weight(data)
        if self._change is None:
            with tf.init_scope():
                shape = [self._given()["batch_size"], *images.shape[1:]]
                self._change = tf.Variable(tf.zeros(shape), trainable=False, name="change")
        return self._update((images, masks, weights))

    def save_own_variables(self, store):
        super().save_own_variables(store)
        if self._change is not None:
            store["change"] = self._change.numpy()

    def load_own_variables(self, store):
        store = {name: store[name] for name in store.keys()}  # noqa: SIM118, Keras' stores cannot be gone through
        change = store.pop("change", None)
        super().load_own_variables(store)
        if change is None:
            return
        shape = (self._given()["batch_size"], *self.input_shape[1:])
        if len(change.shape) != len(shape) or any(b not in (None, a) for a, b in zip(change.shape, shape, strict=True)):
            raise ValueError(f"the change of images has shape {change.shape}. Expected {shape}.")
        self._change = tf.Variable(change, trainable=False, name="change")

    def _updated(self, data):
        images, masks, weights = data
        given = self._given()
        images, budget = tf.cast(images, tf.float32), given["budget"]
        batch = tf.shape(images)[0]
        change, scores = tf.reshape(self._change[:batch], tf.shape(images)), None  # refuses a larger batch
        for _ in range(given["replays"]):
            with tf.GradientTape() as tape:
                tape.watch(change)
                scores = self(tf.clip_by_value(images + change, *given["value_range"]), training=True)
                loss = self.compute_loss(x=images, y=masks, y_pred=scores, sample_weight=weights)
                scaled = self.optimizer.scale_loss(loss)
            *slopes, uphill = tape.gradient(scaled, [*self.trainable_weights, change])
            self.optimizer.apply_gradients(zip(slopes, self.trainable_weights, strict=True))
            change = tf.clip_by_value(change + budget * tf.sign(uphill), -budget, budget)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss, sample_weight=batch)
        self._change[:batch].assign(change)
        return self.compute_metrics(images, masks, scores, sample_weight=weights)


def step_size(budget, steps):
    """Of that many steps within a budget: 2.5 budgets by their number, but a tenth of one at least, one at most."""
    return budget * min(1.0, max(0.1, 2.5 / max(steps, 1)))


def _check_budget(budget):
    if not (math.isfinite(budget) and budget >= 0):
        raise ValueError(f"budget={budget!r} does not fit. Expected a finite number, at least 0.")


def perturbed(model, methods, **options):
    """`FreeModel` for the method "free", else `PerturbedModel`; options of the other kind are left out.

    Args:
        model: ends in logits.
        methods: see `PerturbedModel`, or `("free",)`.
        **options: of both.

    Raises:
        ValueError: "free" beside another method, or options that do not fit.
    """
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    kind = FreeModel if FREE in methods else PerturbedModel
    if kind is FreeModel and len(methods) > 1:
        raise ValueError(f"methods={tuple(methods)!r} do not fit. Expected 'free' alone, or attacks and 'none'.")
    known = set(inspect.signature(FreeModel).parameters) | set(inspect.signature(PerturbedModel).parameters)
    if stranger := next((name for name in options if name not in known), None):
        raise ValueError(f"option {stranger!r} is not known. Expected some of: {', '.join(sorted(known - {'model'}))}.")
    fit = set(inspect.signature(kind).parameters)
    wanted = {name: value for name, value in options.items() if name in fit}
    return kind(model, **({} if kind is FreeModel else {"methods": methods}), **wanted)
