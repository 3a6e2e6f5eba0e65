"""What is measured of one model of D4's study: scores of clean, transferred and white-box images (S4.11 to S4.15)."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from kseg.attacks import Attacker
from kseg.configs import Attack
from kseg.inference import load_model
from kseg.metrics import BrierScore, ExpectedCalibrationError
from kseg.models import unet, with_probabilities
from kseg.studies import measures_file, robust_data, robust_models
from kseg.studies.attack_measures import Subject
from kseg.studies.attack_scores import IGNORED, count, without_padding
from kseg.studies.rows import richest

FORM, IMAGES = "kseg robust measures 1", "kseg attacked images 1"
# The evaluation attack goes towards background all over; within a ball, or by whole steps within the range (S4.2).
READINGS = ("ball", "steps")
TEST, CLEAN, UNTARGETED = "test", "clean", "white/untargeted"  # all test images; those that are attacked, as they are
TRANSFERRED = tuple(f"transfer/{reading}" for reading in READINGS)
CONDITIONS = (CLEAN, *(f"{source}/{reading}" for source in ("transfer", "white") for reading in READINGS), UNTARGETED)
PART = 0.005  # share of an image from which on a class counts as predicted in it
PGD = {reading: f"PGD to one class, {reading}" for reading in READINGS}
SAID = {PGD["ball"]: "PGD to one class, budget", PGD["steps"]: "PGD to one class, free steps"}


class Bench:
    """One network that takes the weights of each model in turn, so that each attack on it is compiled once.

    Args:
        config: `kseg.configs.RobustTraining`.
        data: an open data set.
        rows: of `rows.choose_rows`, the images to attack.
    """

    def __init__(self, config, data, rows):
        self.config, self.data = config, data
        logits = unet(data.shape, len(data.classes), filters=config.filters, depth=config.depth, bn=config.bn)
        self.model = with_probabilities(logits, "softmax")
        options = Attack(
            model=Path("models"), data=config.data, batch_size=config.batch_size, jit="on" if config.jit else "off",
            eps=(config.budget,),
        )  # fmt: skip
        self.subject = Subject(self.model, data, rows, options)
        self.methods = robust_data.methods(config, data.value_range)
        self.attackers = {
            name: Attacker(self.model, each.attack, **each.options) for name, each in self.methods.items()
        }

    def take(self, folder):
        """Take the weights of the model in a run folder."""
        self.model.set_weights(load_model(folder).get_weights())


def measure(entry, bench, shared, tell=lambda *_: None):
    """Attack one model.

    Args:
        entry: of `robust_models.planned`, trained.
        bench: Bench.
        shared: Path of the images made on model 1 of the seed; written if the entry is model 1, else read.
        tell: called with (attacks done, of all).

    Returns:
        {name: array}: for each condition `counts` `[4, cases, K]`, `loss` `[n]`, `reliability` `[3, bins]`, `brier`;
        predictions for the example, and for model 1 what the methods do to the images ("method/..").
    """
    own, config, subject = entry.label == robust_models.ORIGINAL, bench.config, bench.subject
    bench.take(entry.folder)
    total, done = 3 + 4 * own, 0
    attacked = {}
    for reading in READINGS:
        found = subject.towards(subject.background, reading == "ball", config.budget, config.attack_steps)
        attacked[f"white/{reading}"] = found.images
        tell(done := done + 1, total)
    attacked[UNTARGETED] = untargeted(subject, config)
    tell(done := done + 1, total)
    if own:
        made = {reading: attacked[f"white/{reading}"] for reading in READINGS}
        measures_file.save(shared, IMAGES, made, model=entry.name)
    else:
        made = measures_file.read(shared, IMAGES)
    attacked |= {f"transfer/{reading}": made[reading] for reading in READINGS}
    number, found = richest(subject.masks), whole_test(bench)
    found["example/mask"], found["example/image"] = subject.masks[number], subject.images[number]
    for condition in CONDITIONS:
        images = attacked.get(condition, subject.images)
        seen, predicted = subject.see(images)
        found[f"{condition}/counts"] = np.stack(seen.counts)
        found[f"{condition}/loss"] = seen.loss
        found |= {f"{condition}/{name}": value for name, value in calibration(bench.model, images, subject).items()}
        found[f"example/{condition}/predicted"] = predicted[number].astype(np.uint8)
        found[f"example/{condition}/image"] = images[number]
    if own:
        for name, images, goal in method_images(bench):
            found |= {f"method/{name}/{key}": value for key, value in effects(subject, images, goal).items()}
            found[f"example/{name}/predicted"] = subject.see(images)[1][number].astype(np.uint8)
            found[f"example/{name}/image"] = images[number]
            tell(done := done + 1, total)
        found |= {f"method/clean/{key}": v for key, v in effects(subject, subject.images, None).items()}
    return found


def control(bench, folder, shared):
    """What the model in a folder makes of the images made on another: scores of clean and transferred images.

    Args:
        bench: Bench.
        folder: of a model of another seed.
        shared: Path of the images made on model 1 of a seed.

    Returns:
        {name: array}: `counts` and `loss` as of `measure`.
    """
    bench.take(folder)
    made, found = measures_file.read(shared, IMAGES), {}
    for condition in (CLEAN, *TRANSFERRED):
        images = bench.subject.images if condition == CLEAN else made[condition.removeprefix("transfer/")]
        seen = bench.subject.see(images)[0]
        found |= {f"{condition}/counts": np.stack(seen.counts), f"{condition}/loss": seen.loss}
    return found


def whole_test(bench):
    """Scores of all test images as they are: {"test/counts" `[4, cases, K]`, "test/loss" `[n]`}."""
    data, size, predicted, loss = bench.data, bench.config.batch_size, [], []
    index = data.index("test")
    masks = without_padding(data.read("test")[1], index["box"])
    for start in range(0, len(masks), size):
        true = masks[start : start + size]
        p = bench.model.predict_on_batch(data.read("test", start, start + len(true))[0])
        counted = true != IGNORED
        own = np.take_along_axis(p, np.maximum(true, 0)[..., None].astype(np.int64), axis=-1)[..., 0]
        losses = np.where(counted, -np.log(np.maximum(own.astype(np.float64), 1e-30)), 0.0)
        loss.append(losses.sum(axis=(1, 2)) / counted.sum(axis=(1, 2)))
        predicted.append(p.argmax(axis=-1).astype(np.uint8))
    counts = count(masks, np.concatenate(predicted), index["case"].astype(str), len(data.classes))
    return {f"{TEST}/counts": np.stack(counts), f"{TEST}/loss": np.concatenate(loss)}


def untargeted(subject, config):
    """Images of an attack that climbs the loss of the truth within the budget, by half the steps."""
    return subject.attack("budget", "apgd", eps=config.budget, steps=max(1, config.attack_steps // 2)).images


def method_images(bench):
    """(name, images, class aimed at `[n]` or None) of methods one, two and PGD to each image's commonest class."""
    subject, config = bench.subject, bench.config
    for name, attacker in bench.attackers.items():
        masks = np.maximum(subject.masks, 0)  # padding is background, as in training
        yield name, attacker(subject.images, masks, batch_size=config.batch_size, rows=subject.numbers).images, None
    classes = range(1, len(subject.classes))
    goal = 1 + np.argmax([(subject.masks == k).sum(axis=(1, 2)) for k in classes], axis=0)
    masks = np.where(subject.masks == IGNORED, IGNORED, goal[:, None, None])
    for reading, name in PGD.items():
        yield name, subject.towards(masks, reading == "ball", config.budget, config.attack_steps).images, goal


def effects(subject, images, goal):
    """What changed images do to a model: likeness to the originals, predicted classes, pieces, share of the goal."""
    predicted = subject.see(images)[1]
    found = robust_data.likeness(images, subject.images, subject.width)
    found["pieces"], found["classes"] = _pieces(np.where(subject.masks == IGNORED, 0, predicted))
    if goal is not None:
        counted = subject.masks != IGNORED
        found["goal"] = ((predicted == goal[:, None, None]) & counted).sum(axis=(1, 2)) / counted.sum(axis=(1, 2))
    return found


def _pieces(predicted):
    """(connected pieces, classes with at least `PART` of the pixels) of each prediction, `[n]` each."""
    pieces = [sum(ndimage.label(ids == k)[1] for k in np.unique(ids)) for ids in predicted]
    classes = [(np.bincount(ids.ravel()) >= PART * ids.size).sum() for ids in predicted]
    return np.array(pieces), np.array(classes)


def calibration(model, images, subject):
    """{"reliability": `[3, bins]` weight, confidence and accuracy, "brier": number} over the pixels that count."""
    metrics = [kind(ignore_class=IGNORED) for kind in (ExpectedCalibrationError, BrierScore)]
    size = subject.config.batch_size
    for start in range(0, len(images), size):
        scores = model.predict_on_batch(images[start : start + size])
        for metric in metrics:
            metric.update_state(subject.masks[start : start + size], scores)
    curve = metrics[0].curve()
    return {
        "reliability": np.stack([curve.weight, curve.confidence, curve.accuracy]),
        "brier": np.float64(metrics[1].result()),
    }  # fmt: skip
