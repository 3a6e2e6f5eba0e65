"""The plumbing of every loss, once: options, labels, weights, replicas, reduction, serialisation."""

import inspect

import keras
import tensorflow as tf

from kseg import ops
from kseg.losses import island
from kseg.losses.options import check_options
from kseg.losses.pixels import prepare
from kseg.registry import Registry

LOSSES = Registry("loss")


class _ClassSignature:
    """The signature of a class, not of its instances: `tf.function(loss)` asks those how they are called."""

    def __init__(self, parameters):
        self.signature = inspect.Signature(parameters)

    def __get__(self, instance, owner):
        if instance is not None:
            raise AttributeError("__signature__")
        return self.signature


class SegmentationLoss(keras.losses.Loss):
    """Base of all kseg losses.

    A loss is called as `loss(y_true, y_pred, sample_weight=None)` with

    - `y_pred`: `[B, *S, K]`, any floating dtype; `*S` one or more spatial axes (2-D images, 3-D volumes).
      Logits with `from_logits=True`, else probabilities in [0, 1]. K = 1 is one sigmoid foreground channel.
    - `y_true`: class ids `[B, *S]` or `[B, *S, 1]`, or one-hot or soft labels `[B, *S, K]`; told apart by rank,
      channel count and dtype. Floats `[B, *S]` are soft labels for K = 1, else ids. An id that is outside the
      classes or no whole number gives NaN, never a silent background; so does a soft label outside [0, 1].
    - `sample_weight`: None, a scalar, `[B]`, or a pixel map `[B, *S]` or `[B, *S, 1]`. A pixel of weight 0 is left
      out altogether, whatever it holds; gradients with respect to weights are those of weights other than 0.

    Options of every loss:

    - `from_logits` (False): whether `y_pred` holds logits. Maths then stays in log space, unclipped.
    - `class_weights` (None): one weight per class, at least 0, normalised to a weighted mean. With K = 1 they
      are (background, foreground).
    - `ignore_class` (None): pixels with this class id change neither value nor gradient nor any mean.
    - `per_image` (False): one mean or ratio per image, then the mean over images; else one over the batch.
    - `label_smoothing` (0): share of the label spread evenly over the classes, in [0, 1).
    - `reduction` ("sum_over_batch_size", which is "mean"; "sum"; None), `name`, `dtype`: as in Keras. Sums are kept
      in float32, or in float64 if that is the `dtype` or, with `dtype=None`, the dtype of `y_pred`.

    The result is a scalar, or `[B]` with `reduction=None`. On several replicas, sums over the batch run over
    all of them, so that value and gradient are those of one device on the joint batch.

    Raises:
        ValueError: an option, shape or dtype that does not fit; the message names the fix.
    """

    heads = ("sigmoid", "softmax")
    defaults = {
        "from_logits": False,
        "class_weights": None,
        "ignore_class": None,
        "per_image": False,
        "label_smoothing": 0.0,
        "reduction": "sum_over_batch_size",
        "name": None,
        "dtype": None,
    }

    def __init_subclass__(cls, **kwargs):
        """Merge the `defaults` of a subclass into its parent's; `without` lists what it cannot honour."""
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("defaults", {})
        removed = cls.__dict__.get("without", ())
        inherited = super(cls, cls).defaults
        cls.defaults = {k: v for k, v in {**inherited, **own}.items() if k not in removed}
        cls.__signature__ = _ClassSignature(
            [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=v) for k, v in cls.defaults.items()]
        )

    def __init__(self, **options):
        label = getattr(type(self), "registered_name", type(self).__name__)
        checked = check_options(label, {**self.defaults, **options}, self.defaults)
        self.options = checked
        self._program = None
        super().__init__(name=checked["name"] or label, reduction=checked["reduction"], dtype=None)

    def __getattr__(self, name):
        options = self.__dict__.get("options", {})
        if name in options:
            return options[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def head(self):
        """How logits become probabilities; fixed on losses that allow one head only."""
        return self.heads[0] if len(self.heads) == 1 else self.options["head"]

    def __call__(self, y_true, y_pred, sample_weight=None):
        with tf.name_scope(self.name):
            if self.reduction in (None, "none") or not island.applies(y_pred):
                return self._value(y_true, y_pred, sample_weight)
            if self._program is None:
                self._program = island.make(self._value)
            weight = None if sample_weight is None else tf.convert_to_tensor(sample_weight)
            return self._program(tf.convert_to_tensor(y_true), y_pred, weight)

    def _value(self, y_true, y_pred, sample_weight):
        return self._reduce(self.call(y_true, y_pred, sample_weight))

    def call(self, y_true, y_pred, sample_weight=None):
        """One value per image, `[B]`, before the reduction."""
        return self.values(prepare(y_true, y_pred, sample_weight, **self.view()))

    def view(self):
        """The options that shape `Pixels`."""
        return {
            "from_logits": self.options["from_logits"],
            "head": self.head,
            "ignore_class": self.options["ignore_class"],
            "label_smoothing": self.options["label_smoothing"],
            "dtype": self.options["dtype"],
        }

    def values(self, pixels):
        """The maths: one value per image, `[B]`, weights applied."""
        raise NotImplementedError

    def _reduce(self, values):
        if self.reduction in (None, "none"):
            return values
        total = tf.reduce_sum(values)
        if self.reduction == "sum":
            return total
        # Over the joint batch: Keras adds up what the replicas return, and their batches may differ in size.
        return tf.math.divide_no_nan(total, ops.replica_sum(tf.cast(tf.shape(values)[0], values.dtype)))

    def get_config(self):
        """All options, JSON-ready; `from_config` gives an equal loss."""
        return dict(self.options)


def register(name, *, category, source):
    """Class decorator: file a loss under `name` and make it loadable by Keras as `kseg>ClassName`."""

    def decorate(cls):
        cls.registered_name = name
        cls = keras.saving.register_keras_serializable("kseg")(cls)
        return LOSSES.register(name, category=category, source=source)(cls)

    return decorate


def functional(cls, name=None):
    """The pure function of a loss class: `f(y_true, y_pred, sample_weight=None, **options) -> [B]`."""

    def function(y_true, y_pred, sample_weight=None, **options):
        return cls(**{**options, "reduction": None})(y_true, y_pred, sample_weight)

    leading = [
        inspect.Parameter("y_true", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("y_pred", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("sample_weight", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
    own = [p for p in cls.__signature__.parameters.values() if p.name != "reduction"]
    function.__signature__ = inspect.Signature([*leading, *own])
    returns = "Returns `[B]`: a value per image for means over pixels and `per_image=True`, else B times the same."
    function.__doc__ = f"{inspect.getdoc(cls)}\n\n{returns}"
    function.__module__ = cls.__module__
    function.__name__ = function.__qualname__ = name or cls.registered_name
    return function
