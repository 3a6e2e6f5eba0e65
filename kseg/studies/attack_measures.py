"""The model and the images of an evaluation of attacks: attackers made once, and what the model makes of any images."""

import inspect
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kseg.attacks import ATTACKS, NORMS, OBJECTIVES, Attacker
from kseg.attacks.ensemble import MEMBERS
from kseg.attacks.objectives import Seen
from kseg.models import with_logits
from kseg.saliency import Explainer
from kseg.studies.attack_scores import DRAWS, IGNORED, Found, Row, count, means, without_padding

JIT = {"auto": "auto", "on": True, "off": False}
DOCUMENT = {"steps": 100, "budget": 0.01}  # S4.11
BLACK_BOX = ("square", "sparse_rs")


class Outcome(NamedTuple):
    """A `Row`, the changed `images`, the ids `predicted` for them, and the `kseg.attacks.Attacked` if it was one."""

    row: Row
    images: np.ndarray
    predicted: np.ndarray
    attacked: Any = None


class Subject:
    """A model and the images it is attacked on.

    Args:
        model: gives probabilities; see `kseg.inference.check_fit`.
        data: an open data set.
        rows: of `rows.choose_rows`.
        config: `kseg.configs.Attack`.
    """

    def __init__(self, model, data, rows, config):
        self.model, self.config, self.classes = model, config, tuple(data.classes)
        self.images, self.case, self.numbers = rows.images, rows.case, rows.row.astype(np.int32)
        self.box = np.asarray(rows.box, int)
        self.masks = without_padding(rows.masks, rows.box)
        self.low, self.high = data.value_range
        self.width = self.high - self.low
        self._attackers = {}
        logits, head = with_logits(model)
        cce, norm = OBJECTIVES.get("cce"), NORMS.get(config.norm)
        both = [tf.TensorSpec([None, *self.images.shape[1:]]), tf.TensorSpec([None, *self.masks.shape[1:]], tf.int32)]

        @tf.function(autograph=False, input_signature=both)
        def look(images, masks):
            counted = tf.cast(masks != IGNORED, tf.float32)
            seen = Seen(tf.cast(logits(images, training=False), tf.float32), tf.maximum(masks, 0), counted, head, 0.0)
            return seen.predicted, cce(seen)

        @tf.function(autograph=False, input_signature=both)
        def slope(images, masks):
            with tf.GradientTape() as tape:
                tape.watch(images)
                _, loss = look(images, masks)
            gradient = tape.gradient(loss, images)
            return tf.reduce_max(tf.abs(gradient), axis=[1, 2, 3])

        numbers = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32), tf.TensorSpec([])]

        @tf.function(autograph=False, input_signature=[both[0], *numbers])
        def disturb(images, rows, draw, radius):
            radii = tf.fill([tf.shape(rows)[0]], radius)
            return images + norm.start(tf.shape(images), rows, draw, config.seed, radii)

        self._look, self._slope, self._disturb = look, slope, disturb

    def budget(self, eps):
        """The radius of a ball: a share of the range of values, of the root mean square (l2) or the mean (l1)."""
        values = self.images[0].size
        return eps * self.width * {"linf": 1.0, "l2": values**0.5, "l1": values}[self.config.norm]

    def options(self, name):
        """Options of an attack that the config tells: its steps and its loss, where they are its to be told."""
        facts, options = ATTACKS.facts(name), {}
        if not facts.get("unbounded") and _takes(name, "steps"):
            options["steps"] = self.config.steps * (len(MEMBERS) if name == "ensemble" else 1)
        if facts.get("whole"):  # as many gradients of each image as of the others
            options["steps"] *= max(1, len(self.images) // self.config.batch_size)
            options["together"] = self.config.batch_size
        if self.config.loss is not None and "loss" not in facts and name != "ensemble":
            options["loss"] = self.config.loss
        return options

    def attacker(self, name, **options):
        """An `Attacker`, made once for each name and options; a ValueError says what does not fit."""
        key = (name, *sorted(options.items()))
        if key not in self._attackers:
            wanted = {
                "norm": self.config.norm, "value_range": (self.low, self.high), "seed": self.config.seed,
                "ignore_class": IGNORED if (self.masks == IGNORED).any() else None, "jit": JIT[self.config.jit],
                "goal": self.config.goal,
            } | self.options(name) | options  # fmt: skip
            if not ATTACKS.facts(name).get("unbounded"):
                wanted = {"budget": self.budget(self.config.middle)} | wanted
            self._attackers[key] = Attacker(self.model, name, **wanted)
        return self._attackers[key]

    def attack(self, kind, name, eps=None, label=None, masks=None, reach=None, **options):
        """Attack all images.

        Args:
            kind, eps: of the `Row`; a budget of `eps` unless `reach` is given.
            name: of the attack, and `label` in the row if that is another one.
            masks: to attack by, those of the data if not given.
            reach: {"budget", "step_size"} in units of the values.
            **options: of the attacker.

        Returns:
            Outcome.
        """
        attacker = self.attacker(name, **options)
        if eps is not None and reach is None:
            budget = self.budget(eps)
            reach = {"budget": budget, "step_size": self.config.step_size * budget}
        attacker.graph  # noqa: B018 - traced before the clock runs
        began = time.monotonic()
        masks = self.masks if masks is None else masks
        found = attacker(self.images, masks, batch_size=self.config.batch_size, rows=self.numbers, **(reach or {}))
        seconds = time.monotonic() - began
        seen, predicted = self.see(found.images, found.success, found.extra.get("box"))
        seen = seen._replace(climbed=np.stack([found.loss_before, found.loss_after], axis=1))
        row = self.row(kind, label or name, eps, seen, seconds, found.settings)
        return Outcome(row, found.images, predicted, found)

    def row(self, kind, name, eps, found, *more):
        """The `Row` of what was found."""
        return Row(kind, name, eps, found, means(found, self.case, self.classes), *more)

    def clean(self):
        """`Outcome` of the images as they are."""
        found, predicted = self.see(self.images)
        return Outcome(self.row("clean", "none", 0.0, found), self.images, predicted)

    def see(self, images, success=None, hidden=None):
        """(`Found`, predicted ids `[n, H, W]`) of images; the pixels within boxes `hidden` `[n, 4]` do not count."""
        masks = self.masks if hidden is None else np.where(without_padding(0 * self.masks, hidden), self.masks, IGNORED)
        parts = [self._look(*batch) for batch in self._batches(images, masks)]
        predicted, loss = (np.concatenate([part[i].numpy() for part in parts]) for i in (0, 1))
        counts = count(masks, predicted, self.case, len(self.classes))
        if success is None:  # as that of an attack on the masks
            wrong = ((predicted != masks) & (masks != IGNORED)).sum(axis=(1, 2))
            success = wrong >= self.config.goal * (masks != IGNORED).sum(axis=(1, 2))
        change = np.abs(images.astype(np.float64) - self.images).reshape(len(images), -1) / self.width
        size = {"linf": change.max(axis=1), "l2": np.sqrt((change**2).mean(axis=1)), "l1": change.mean(axis=1)}
        changed = (images != self.images).any(axis=-1).mean(axis=(1, 2))
        return Found(counts, loss, success, size[self.config.norm], changed), predicted

    def _batches(self, *arrays):
        size = self.config.batch_size
        for start in range(0, len(self.images), size):
            yield [tf.constant(array[start : start + size]) for array in arrays]

    def noise(self, eps):
        """`Outcome` of each image's worst, by its loss, of `DRAWS` random changes within the budget."""
        for function in (self._disturb, self._look):
            function.get_concrete_function()  # traced before the clock runs
        began, radius = time.monotonic(), tf.constant(self.budget(eps), tf.float32)
        best, worst = self.images.copy(), np.full(len(self.images), -np.inf)
        for draw in range(DRAWS):
            parts = [self._disturb(*batch, draw, radius) for batch in self._batches(self.images, self.numbers)]
            images = np.clip(np.concatenate([part.numpy() for part in parts]), self.low, self.high)
            images = images.astype(np.float32)
            loss = np.concatenate([self._look(*batch)[1].numpy() for batch in self._batches(images, self.masks)])
            best[loss > worst] = images[loss > worst]
            worst = np.maximum(worst, loss)
        found, predicted = self.see(best)
        return Outcome(self.row("noise", "noise", eps, found, time.monotonic() - began), best, predicted)

    def document(self, ball):
        """`Outcome` of D4's evaluation attack (S4.11): towards background alone, all of its steps, the last kept.

        Args:
            ball: within a budget of 1 % of the range, by steps of a quarter of it; else steps of 1 % without a budget.
        """
        label = "D4, budget 1 %" if ball else "D4, steps of 1 %"
        return self.towards(self.background, ball, DOCUMENT["budget"], DOCUMENT["steps"], label=label)

    def towards(self, masks, ball, eps, steps, label=None):
        """`Outcome` of PGD towards masks, all of its steps, the last kept.

        Args:
            masks: what the model shall say `[n, H, W]`; `IGNORED` where it does not matter.
            ball: within a budget of `eps` of the range of values, by steps of a quarter of it; else steps of `eps`
                without a budget.
            eps, steps: as said.
            label: in the row.
        """
        budget = eps * self.width
        reach = {"budget": budget, "step_size": budget / 4} if ball else {"budget": np.inf, "step_size": budget}
        return self.attack(
            "document", "pgd", label=label, reach=reach, masks=masks, eps=eps if ball else None, norm="linf",
            direction="target", steps=steps, keep="last", loss="cce",
        )  # fmt: skip

    def vanish(self, name):
        """`Outcome` of the smallest change that a minimal-norm attack finds for all to be called background."""
        return self.attack("free", name, label=f"{name}, to background", masks=self.background, direction="target")

    @property
    def background(self):
        """Masks of background alone."""
        return np.where(self.masks == IGNORED, IGNORED, 0)

    def gradients(self):
        """{"loss", "probability"}: largest |g| of each image `[n]`, of the cross-entropy and of the foreground."""
        loss = np.concatenate([self._slope(*batch).numpy() for batch in self._batches(self.images, self.masks)])
        maps = Explainer(self.model, "gradient")(self.images, batch_size=self.config.batch_size)
        return {"loss": loss, "probability": np.abs(maps).max(axis=(1, 2, 3))}


def _takes(name, option):
    """Whether an attack has an option, or hands all of them on."""
    parameters = inspect.signature(ATTACKS.get(name)).parameters
    return option in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def fits(name, norm):
    """Why an attack cannot be run within balls of a norm, or None."""
    if name not in ATTACKS.names():
        return f"there is no attack {name!r}"
    parts = [name, *(member for member, _ in MEMBERS if name == "ensemble")]
    if any(norm not in ATTACKS.facts(part).get("norms", NORMS.names()) for part in parts):
        return f"attack {name!r} knows no balls of {norm}"
    return None


def cost(name, options, classes):
    """About how many gradients an attack takes an image."""
    defaults = {key: p.default for key, p in inspect.signature(ATTACKS.get(name)).parameters.items()} | options
    if "queries" in defaults:
        return defaults["queries"] / 3
    if name == "selective":
        return classes + 3**classes / 3
    return 1 + defaults.get("steps", 1) * (classes if name == "layered" else 1)


def step_numbers(steps):
    """Numbers of steps whose losses are compared: a quarter, all, four times as many."""
    return sorted({max(1, steps // 4), steps, 4 * steps})
