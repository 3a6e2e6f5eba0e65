"""An attack, a model and what is wanted as one program for images of any number."""

import inspect
import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kseg.attacks import ensemble, layered, minimal, patch, search, selective, universal  # noqa: F401 - they register
from kseg.attacks.checks import as_images, as_masks, as_rows, check_number, check_options
from kseg.attacks.gradient import ATTACKS
from kseg.attacks.norms import NORMS
from kseg.attacks.objectives import make_objective
from kseg.attacks.problem import DIRECTIONS, JUDGES, Bounds, Problem
from kseg.models import with_logits
from kseg.registry import unknown

FASTER = {"GPU": True, "CPU": False}  # whether XLA pays on a device: scripts/bench_attacks.py


class Attacked(NamedTuple):
    """What an attack gave; arrays over N images, NumPy.

    Attributes:
        images: `[N, *S, C]` float32, the best that were found; the originals where nothing better was.
        loss_before, loss_after: `[N]` of the masks given, without and with the change.
        agreement_before, agreement_after: `[N]` share of the counted pixels that have the mask's class.
        success: `[N]` whether at least `goal` of the counted pixels are as wanted: of another class than the mask's
            for direction "attack", of the mask's class for "target" and "fortify".
        steps: `[N]` after how many steps the images were found, 0 for the originals.
        size: `[N]` norm of the change.
        settings: {option: value} of everything that was asked for.
        extra: {name: `[N, ...]`} of what else an attack tells; its docstring says what.
    """

    images: Any
    loss_before: Any
    loss_after: Any
    agreement_before: Any
    agreement_after: Any
    success: Any
    steps: Any
    size: Any
    settings: dict
    extra: dict


class Attacker:
    """Change images within bounds so that a segmentation model errs, finds what it is told to, or is helped.

    Args:
        model: a functional `keras.Model` `[B, *S, C] -> [B, *S, K]` that ends in probabilities or in logits; see
            `kseg.models.with_logits`. It runs in inference mode and is left as it is; its weights are shared.
        method: of `ATTACKS.names()`.
        direction: "attack" climbs the loss of the masks, which are the truth; "target" descends the loss of the masks,
            which are what the model shall say; "fortify" descends the loss of the truth. "attack" by default, but for
            "selective", which fortifies.
        loss: what is climbed or descended: of `OBJECTIVES.names()`, a name or sum of `kseg.losses`, a
            `keras.losses.Loss` that takes logits, or a function (class ids `[B, *S]`, logits) -> `[B, *S]` or `[B]`.
            "cce" if not given; "segpgd", "cospgd" and "ensemble" have their own.
        budget: radius of the ball around each image, in units of the images' values and of `norm`; `inf` for no ball.
            By default 1 % of the range of values, for the Linf ball only (S4.2); `inf` for attacks that look for the
            smallest change ("dag", "alma_prox").
        step_size: length of a step, in the same units; by default a quarter of the budget, without a ball 1 % of the
            range of values. "fgsm" and "apgd" have their own.
        norm: "linf", "l2" or "l1".
        value_range: (lowest, highest) value of an image; nothing leaves it.
        ignore_class: id of mask pixels that do not count.
        judge: what makes images better than others: "loss", "pixels" (the share of pixels as wanted) or "iou" (of
            each image, mean over the classes that its mask or prediction has).
        goal: share of pixels as wanted that is a success.
        head: "auto", or how logits become probabilities; see `kseg.models.with_logits`.
        seed: of random numbers, which go by the row of an image and not by its place in a batch.
        jit: True compiles each step by XLA, False does not, "auto" does so where it is faster: on a GPU.
        **options: of the method.

    Raises:
        ValueError: anything that does not fit; the message names the fix.

    Example:
        >>> import numpy as np
        >>> from kseg.models import toy_net
        >>> attacker = Attacker(toy_net(seed=0), "pgd", budget=0.1, steps=5)
        >>> found = attacker(np.full((3, 8, 8, 1), 0.5, "float32"), np.zeros((3, 8, 8), "uint8"))
        >>> bool((found.loss_after >= found.loss_before).all()), float(found.size.max()) <= 0.1 + 1e-6
        (True, True)
    """

    def __init__(
        self, model, method="pgd", *, direction=None, loss=None, budget=None, step_size=None, norm="linf",
        value_range=(0.0, 1.0), ignore_class=None, judge=None, goal=0.99, head="auto", seed=0, jit="auto", **options,
    ):  # fmt: skip
        self._function, facts = ATTACKS.get(method), ATTACKS.facts(method)
        self._whole, self._stride, self._step_size = facts.get("whole", False), facts.get("stride"), step_size
        direction = direction or facts.get("direction", "attack")
        for kind, value, known in (("direction", direction, DIRECTIONS), ("norm", norm, NORMS.names())):
            if value not in known:
                raise unknown(kind, value, known)
        judge = judge or facts.get("judge", "loss")
        if judge not in JUDGES:
            raise unknown("judge", judge, JUDGES)
        allowed = facts.get("norms", NORMS.names())
        if norm not in allowed:
            raise ValueError(f"norm={norm!r} does not fit attack {method!r}. Expected one of: {', '.join(allowed)}.")
        self.low, self.high = check_range(value_range)
        self._budget = math.inf if facts.get("unbounded") else 0.01 * (self.high - self.low)
        if budget is None and norm != "linf" and not facts.get("unbounded"):
            raise ValueError(f"norm={norm!r} has no budget. Expected budget= the radius of the ball.")
        if jit not in (True, False, "auto"):
            raise ValueError(f"jit={jit!r} is not known. Expected True, False or 'auto'.")
        check_number("goal", goal, 0.0, 1.0)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise ValueError(f"seed={seed!r} does not fit. Expected a whole number.")
        if ignore_class is not None and int(ignore_class) != ignore_class:
            raise ValueError(f"ignore_class={ignore_class!r} is no class id. Expected a whole number, or None.")
        self.jit = FASTER["GPU" if tf.config.list_logical_devices("GPU") else "CPU"] if jit == "auto" else bool(jit)
        logits, self.head = with_logits(model, head)
        shape = logits.output_shape
        if len(shape) not in (4, 5) or len(logits.input_shape) != len(shape):
            raise ValueError(
                f"model {model.name!r} goes from {logits.input_shape} to {shape}. Expected images [B, H, W, C] or "
                "volumes [B, D, H, W, C] and scores of the same rank."
            )
        sizes = [*zip(logits.input_shape[1:-1], shape[1:-1], strict=True)]
        if any(None not in pair and pair[0] != pair[1] for pair in sizes):
            raise ValueError(
                f"model {model.name!r} gives scores of {shape[1:-1]} for images of {logits.input_shape[1:-1]}. "
                "Expected scores for each pixel; enlarge them inside the model."
            )
        if loss is not None and "own" in facts:
            raise ValueError(
                f"loss={loss!r} does not fit attack {method!r}, whose loss is its own ({facts['own']}). Expected none; "
                "take 'pgd' or 'apgd' for another loss."
            )
        loss = facts.get("loss", "cce") if loss is None else loss
        climbed, told = make_objective(loss, self.head, ignore_class is not None)
        self._options = check_options(method, self._function, options)
        self._image_shape, self._pixel_shape, self._channels = logits.input_shape[1:], shape[1:-1], shape[-1]
        self._fixed = {
            "model": logits, "head": self.head, "sign": DIRECTIONS[direction], "judge": judge, "climbed": climbed,
            "told": told, "goal": goal, "ignoring": ignore_class is not None, "seed": seed, "jit": self.jit,
        }  # fmt: skip
        self.settings = {
            "method": method, "direction": direction, "loss": _name(loss),
            "budget": budget, "step_size": step_size, "norm": norm, "value_range": (self.low, self.high),
            "ignore_class": ignore_class, "judge": judge, "goal": goal, "head": self.head, "seed": seed,
            "jit": self.jit, **_defaults(self._function), **self._options,
        }  # fmt: skip
        self.settings |= self._reach(budget, step_size)
        self._graph = tf.function(self._run, autograph=False, reduce_retracing=True)

    def _reach(self, budget, step_size):
        """{"budget", "step_size"}, checked and with their defaults."""
        width = self.high - self.low
        budget = self._budget if budget is None else budget
        check_number("budget", budget, 0.0, math.inf)
        if self._stride:  # an attack that has its own, whatever is asked for
            step_size = self._stride * (width if math.isinf(budget) else budget)
        step_size = (0.01 * width if math.isinf(budget) else budget / 4) if step_size is None else step_size
        check_number("step_size", step_size, 0.0, math.inf)
        if math.isinf(step_size):
            raise ValueError("step_size=inf does not fit. Expected a finite number.")
        return {"budget": float(budget), "step_size": float(step_size)}

    def _run(self, images, ids, counted, rows, budget, step_size):
        bounds = Bounds(NORMS.get(self.settings["norm"]), budget, step_size, self.low, self.high)
        problem = Problem(**self._fixed, origin=images, ids=ids, counted=counted, rows=rows, bounds=bounds)
        best = self._function(problem, **self._options)
        return best, problem.succeeded(best.look), bounds.norm.size(best.images - images)

    @cached_property
    def _program(self):
        """The trace for every batch size."""
        spec = tf.TensorSpec
        images = spec([None, *self._image_shape], tf.float32)
        ids, counted = (spec([None, *self._pixel_shape], dtype) for dtype in (tf.int32, tf.float32))
        number = spec([], tf.float32)
        return self._graph.get_concrete_function(images, ids, counted, spec([None], tf.int32), number, number)

    @property
    def graph(self):
        """The `tf.function` `graph(images, ids, counted, rows, budget, step_size)`, tensors in and out.

        Masks as class ids `[B, *S]` int32, those that count as 1 in `[B, *S]` float32, numbers of the images `[B]`
        int32, and the scalars. Gives (`Best`, success `[B]`, size of the change `[B]`).
        """
        self._program  # noqa: B018 - the trace for every batch size comes first
        return self._graph

    def __call__(self, images, masks, *, budget=None, step_size=None, batch_size=32, rows=None, tell=None):
        """Attack images.

        Args:
            images: `[N, *S, C]` within the range of values.
            masks: class ids `[N, *S]` or `[N, *S, 1]`, or one-hot `[N, *S, K]`: the truth, or the target.
            budget, step_size: others than those of the attacker, by the same program. A step size that the attacker
                was given stays as it is; else it goes with the budget.
            batch_size: images a step; of no meaning for "universal", to which all are one batch.
            rows: numbers of the images `[N]`, which random numbers go by; 0 to N - 1 by default.
            tell: called after each batch with the number of images that are done.

        Returns:
            Attacked.
        """
        images = as_images(images, self._image_shape, self.low, self.high)
        ids, counted = as_masks(masks, images, self._channels, self.settings["ignore_class"])
        inputs = [images, ids, counted, as_rows(rows, images)]
        if int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} is no size. Expected a whole number, at least 1.")
        budget = self.settings["budget"] if budget is None else budget
        reach = self.settings | self._reach(budget, self._step_size if step_size is None else step_size)
        count = len(images)
        if not count:
            raise ValueError("images has shape " + str(images.shape) + ". Expected at least one image.")
        size = count if self._whole else int(min(batch_size, count))
        numbers = [tf.constant(min(reach[name], 3e38), tf.float32) for name in ("budget", "step_size")]
        parts = []
        for start in range(0, count, size):
            parts.append(self._batch(inputs, start, size, numbers))
            if tell:
                tell(min(start + size, count))
        best, success, length = tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
        return Attacked(
            best.images, best.before.loss, best.look.loss, best.before.agreement, best.look.agreement, success,
            best.step, length, reach, best.extra,
        )  # fmt: skip

    def _batch(self, inputs, start, size, numbers):
        rows = [part[start : start + size] for part in inputs]
        count = len(rows[0])
        if self.jit and count < size:  # XLA would compile anew for a smaller batch
            rows = [part[np.minimum(np.arange(size), count - 1)] for part in rows]
        found = self._program(*map(tf.constant, rows), *numbers)
        return tf.nest.map_structure(lambda tensor: tensor.numpy()[:count], found)


def attack(model, images, masks, method="pgd", *, batch_size=32, **options):
    """Attack images once; see `Attacker`, whose options this takes.

    Args:
        model, method: see `Attacker`.
        images, masks, batch_size: see `Attacker.__call__`.
        **options: of `Attacker`.

    Returns:
        Attacked.
    """
    return Attacker(model, method, **options)(images, masks, batch_size=batch_size)


def check_range(value_range):
    """(lowest, highest) value of images, as floats."""
    pair = np.asarray(value_range, np.float64)
    if pair.shape != (2,) or not np.isfinite(pair).all() or not pair[0] < pair[1]:
        raise ValueError(f"value_range={value_range!r} is no range. Expected (lowest, highest) value of the images.")
    return float(pair[0]), float(pair[1])


def _name(loss):
    return loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "loss")


def _defaults(function):
    return {
        name: parameter.default for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }  # fmt: skip
