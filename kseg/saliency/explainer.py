"""A method, a model and a question as one program for images of any number."""

import inspect
from functools import cached_property

import numpy as np
import tensorflow as tf

from kseg.models import with_logits
from kseg.registry import unknown
from kseg.saliency.checks import as_images, as_masks, as_regions, as_rows, check_options
from kseg.saliency.methods import METHODS
from kseg.saliency.parts import build_models
from kseg.saliency.target import make_target
from kseg.saliency.view import View


class Explainer:
    """Maps of what a segmentation model looks at, for images of any number by one program.

    Args:
        model: a functional `keras.Model` `[B, *S, C] -> [B, *S, K]` that ends in probabilities or in logits; see
            `kseg.models.with_logits`. It runs in inference mode and is left as it is; its weights are shared, so that
            a model trained further is explained as it then is.
        method: of `METHODS.names()`.
        output: what is differentiated, one number per image: "probability" (default), the sum over the pixels of
            the probability that they are of one of the classes; "logit", the same with logits; "loss", the loss. The
            choice matters more than the method (S0.7).
        region: the pixels summed over: "all" (default); "predicted": those that the model gives to the classes;
            "true": those that the masks give to them; "given": `regions`. It is that of the clean image throughout.
            `seg_grad_cam` has the defaults "logit" and "predicted".
        class_id: an id or a tuple of ids; None for the foreground, 1 to K - 1, or the one channel (K = 1). All
            classes of a softmax are refused with output "probability": their sum is constant.
        loss: for output "loss": a name or sum of `kseg.losses`, or a `keras.losses.Loss` that takes logits. Each image
            is a batch of its own. Regions are pixel weights of it.
        head: "auto", or how logits become probabilities; see `kseg.models.with_logits`.
        jit: compile the steps by XLA.
        **options: of the method.

    Raises:
        ValueError: anything that does not fit; the message names the fix.

    Example:
        >>> import numpy as np
        >>> from kseg.models import toy_net
        >>> explainer = Explainer(toy_net(seed=0), "smoothgrad", samples=4)
        >>> explainer(np.zeros((3, 8, 8, 1), "float32")).shape
        (3, 8, 8, 1)
    """

    def __init__(
        self, model, method="gradient", output=None, region=None, class_id=None, loss=None, head="auto", jit=False,
        **options,
    ):  # fmt: skip
        self.method, self.jit = method, jit
        self._function, facts = METHODS.get(method), METHODS.facts(method)
        logits, self.head = with_logits(model, head)
        self.options = _checked(method, self._function, options, logits.input_shape[1:])
        shape = logits.output_shape
        if len(shape) not in (4, 5) or len(logits.input_shape) != len(shape):
            raise ValueError(
                f"model {model.name!r} goes from {logits.input_shape} to {shape}. Expected images [B, H, W, C] or "
                "volumes [B, D, H, W, C] and scores of the same rank."
            )
        output, region = (given or facts.get(key, usual) for given, key, usual in (
            (output, "output", "probability"), (region, "region", "all"),
        ))  # fmt: skip
        self.target = make_target(output, region, class_id, loss, shape[-1], self.head)
        self._models = build_models(logits, facts.get("models", ()), self.options)
        self._image_shape, self._pixel_shape = logits.input_shape[1:], shape[1:-1]
        self._random = "rows" in facts.get("needs", ())
        self._graph = tf.function(self._run, autograph=False, reduce_retracing=True)

    @property
    def graph(self):
        """The `tf.function` `graph(images, masks=None, regions=None, rows=None)`, tensors in and out.

        Masks `[B, *S]` int32, regions `[B, *S]` float32, rows `[B]` int32. It is there for every batch size with the
        inputs that it needs (masks for region "true" and output "loss", regions for "given", rows for SmoothGrad);
        others are not looked at, but with them it is traced again.
        """
        self._program  # noqa: B018 - the trace for every batch size comes first
        return self._graph

    def _run(self, images, masks=None, regions=None, rows=None):
        rows = tf.range(tf.shape(images)[0]) if rows is None else rows
        region = self.target.pixels(lambda: self._models["logits"](images, training=False), masks, regions)
        view = View(self.target, region, masks, self._models, self.jit)
        return self._function(view, images, rows, **self.options)

    @cached_property
    def _program(self):
        """The trace for every batch size, with the inputs that it needs."""
        target, batch = self.target, [None]
        masks = tf.TensorSpec([*batch, *self._pixel_shape], tf.int32) if target.needs_masks else None
        regions = tf.TensorSpec([*batch, *self._pixel_shape], tf.float32) if target.needs_regions else None
        rows = tf.TensorSpec(batch, tf.int32) if self._random else None
        images = tf.TensorSpec([*batch, *self._image_shape], tf.float32)
        return self._graph.get_concrete_function(images, masks, regions, rows)

    def __call__(self, images, masks=None, regions=None, batch_size=32, rows=None):
        """Maps of images.

        Args:
            images: `[N, *S, C]`, as the model takes them.
            masks: class ids `[N, *S]` or `[N, *S, 1]`; for region "true" and output "loss", else not looked at.
            regions: weights of pixels `[N, *S]`, at least 0, or booleans; for region "given".
            batch_size: images a step.
            rows: numbers of the images `[N]`, which random numbers go by; 0 to N - 1 by default.

        Returns:
            NumPy `[N, *S, C]` float32, `[N, *S, 1]` for Grad-CAM and occlusion; `Attribution` of them and `[N]` for
            integrated gradients.
        """
        images = as_images(images, self._image_shape)
        inputs = [images]
        inputs.append(as_masks(masks, images, self.target) if self.target.needs_masks else None)
        inputs.append(as_regions(regions, images, self.target))
        inputs.append(as_rows(rows, images) if self._random else None)
        if int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} is no size. Expected a whole number, at least 1.")
        count = len(images)
        if not count:  # a batch of none is more than some operations can do
            inputs = [None if part is None else np.zeros((1, *part.shape[1:]), part.dtype) for part in inputs]
        size = int(min(batch_size, max(count, 1)))
        parts = [self._batch(inputs, start, size) for start in range(0, max(count, 1), size)]
        return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays)[:count], *parts)

    def _batch(self, inputs, start, size):
        rows = [None if part is None else part[start : start + size] for part in inputs]
        count = len(rows[0])
        if self.jit and count < size:  # XLA would compile anew for a smaller batch
            rows = [None if part is None else part[np.minimum(np.arange(size), count - 1)] for part in rows]
        tensors = [None if part is None else tf.constant(part) for part in rows]
        return tf.nest.map_structure(lambda tensor: tensor.numpy()[:count], self._program(*tensors))


def explain(model, images, masks=None, *, region=None, batch_size=32, **options):
    """Maps of images, once; see `Explainer`, whose options this takes.

    Args:
        model: see `Explainer`.
        images, masks, batch_size: see `Explainer.__call__`.
        region: as there, or an array `[N, *S]` of weights of pixels.
        **options: of `Explainer`.

    Returns:
        Maps, NumPy.
    """
    given = not (region is None or isinstance(region, str))
    explainer = Explainer(model, region="given" if given else region, **options)
    return explainer(images, masks, region if given else None, batch_size=batch_size)


def _checked(method, function, options, shape):
    allowed = [
        name for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]  # fmt: skip
    for name in options:
        if name not in allowed:
            raise unknown(f"option of saliency method {method!r}", name, allowed or ["none"])
    return check_options(options, shape)
