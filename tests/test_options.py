"""Every option does what its help says: seen in what a run keeps, not in how it is passed on."""

import csv
import gzip
import json
import struct
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kseg import inference, metrics, report
from kseg.cli import main
from kseg.data import DataFile, Writer, load, pipeline
from kseg.training import compile_model, read_progress, run


def command(name, *words):
    assert main(name, [str(word) for word in words]) == 0


# --- compile_model


def constant_logit(value):
    inputs = keras.Input((4, 4, 1))
    start = {"kernel_initializer": "zeros", "bias_initializer": keras.initializers.Constant(value)}
    return keras.Model(inputs, keras.layers.Conv2D(1, 1, **start)(inputs))


@pytest.mark.parametrize(("logit", "dice"), [(0.3, 1), (-0.3, 0)])
def test_the_dice_of_a_compiled_model_is_decided_at_probability_one_half(logit, dice):
    model = constant_logit(logit)
    compile_model(model, "bce")
    images, masks = np.zeros((2, 4, 4, 1), np.float32), np.ones((2, 4, 4), np.uint8)
    assert model.evaluate(images, masks, verbose=0, return_dict=True)["dice"] == dice


@pytest.mark.parametrize("jit", [False, True])
def test_jit_compiles_the_train_step_with_xla(jit):
    model = constant_logit(0)
    compile_model(model, "bce", jit=jit)
    assert model.jit_compile is jit


# --- train


@pytest.fixture(scope="module")
def three_classes(msd, tmp_path_factory):
    path = tmp_path_factory.mktemp("three") / "three.h5"
    command("prepare_hippocampus", msd, path, "--split", "0.6", "0.2", "0.2", "--classes", "all")
    return path


class Observed:
    """A run: its folder, its best and last model, and what was asked of TensorFlow meanwhile."""

    def __init__(self, folder, *words):
        self.folder, self.deterministic, self.jit, self.orders = folder, 0, [], {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tf.config.experimental, "enable_op_determinism", self._enable)
            patch.setattr(keras.Model, "compile", self._compile(keras.Model.compile))
            patch.setattr(run, "fit", self._fit(run.fit, words))
            command("train", *words, "--output", folder)
        self.best = keras.saving.load_model(folder / "model.keras")
        self.last = keras.saving.load_model(folder / "state/last.keras")
        with open(folder / "history.csv", newline="") as file:
            self.epochs = len(list(csv.DictReader(file)))

    def _enable(self):
        self.deterministic += 1

    def _compile(self, original):
        def compiled(model, *args, jit_compile="auto", **options):
            self.jit.append(jit_compile)
            original(model, *args, jit_compile=False, **options)  # XLA itself would only take time

        return compiled

    def _fit(self, original, words):
        def fitted(model, train, validation, **options):
            # The order of batches hangs on the global seed too, which is set by now.
            data, size = words[1], int(words[words.index("--batch-size") + 1])
            self.orders["run"] = next(iter(train))[0].numpy()
            for seed in (0, 7):
                self.orders[seed] = next(iter(load(data, "train", size, seed=seed)))[0].numpy()
            return original(model, train, validation, **options)

        return fitted

    def kinds(self, kind):
        return [layer for layer in self.best.layers if type(layer) is kind]


@pytest.fixture(scope="module")
def plain(three_classes, tmp_path_factory):
    """A run with the defaults of all that costs no time."""
    words = ["--data", three_classes, "--epochs", 1, "--filters", 2, "--depth", 1, "--batch-size", 16]
    return Observed(tmp_path_factory.mktemp("plain") / "run", *words)


@pytest.fixture(scope="module")
def other(three_classes, tmp_path_factory):
    """A run in which nothing is as by default."""
    words = [
        "--data", three_classes, "--loss", "dice", "--head", "sigmoid", "--no-bn", "--optimizer", "sgd",
        "--learning-rate", 0.0625, "--epochs", 2, "--batch-size", 5, "--filters", 3, "--depth", 2,
        "--decoder", "transpose", "--dropout", 0.25, "--seed", 7, "--deterministic", "--jit",
    ]  # fmt: skip
    return Observed(tmp_path_factory.mktemp("other") / "run", *words)


def test_head_is_the_activation_of_the_model_and_of_the_loss(plain, other):
    for observed, head in ((plain, "softmax"), (other, "sigmoid")):
        assert observed.best.output_shape[-1] == 3
        assert observed.best.layers[-1].activation is getattr(keras.activations, head)
        assert json.loads((observed.folder / "record.json").read_text())["model"]["head"] == head
    # One image, no pixel of which is background, and three logits of 0: sigmoids of 1/2 rather than shares of 1/3.
    ids, logits = np.ones((1, 2, 2), np.uint8), np.zeros((1, 2, 2, 3), np.float32)
    assert float(other.last.loss(ids, logits)) == pytest.approx(1 - (2 * 2 / (4 + 2)) / 3, rel=1e-5)


def test_optimizer_and_learning_rate(plain, other):
    assert type(plain.last.optimizer) is keras.optimizers.Adam
    assert float(plain.last.optimizer.learning_rate) == pytest.approx(1e-3)
    assert type(other.last.optimizer) is keras.optimizers.SGD
    assert float(other.last.optimizer.learning_rate) == 0.0625


def test_epochs_and_batch_size(plain, other, three_classes):
    with DataFile(three_classes) as data:
        rows = data.sizes["train"]
    for observed, epochs, size in ((plain, 1, 16), (other, 2, 5)):
        assert observed.epochs == epochs
        assert read_progress(observed.folder).epochs == epochs
        assert int(observed.last.optimizer.iterations) == epochs * -(-rows // size)


def test_filters_and_depth(plain, other):
    for observed, filters, depth in ((plain, 2, 1), (other, 3, 2)):
        assert len(observed.kinds(keras.layers.MaxPooling2D)) == depth
        widths = [layer.filters for layer in observed.kinds(keras.layers.Conv2D)]
        assert widths[0] == filters and max(widths) == filters * 2**depth


def test_decoder_dropout_and_batch_normalisation(plain, other):
    transposed = keras.layers.Conv2DTranspose
    assert len(plain.kinds(transposed)) == 1  # a level
    assert len(other.kinds(transposed)) == 2 * 2
    assert not plain.kinds(keras.layers.Dropout)
    assert [layer.rate for layer in other.kinds(keras.layers.Dropout)] == [0.25] * 3
    assert plain.kinds(keras.layers.BatchNormalization)
    assert not other.kinds(keras.layers.BatchNormalization)


def test_the_seed_is_that_of_the_order(plain, other):
    for observed, seed in ((plain, 0), (other, 7)):
        np.testing.assert_array_equal(observed.orders["run"], observed.orders[seed])
        assert not np.array_equal(observed.orders[0], observed.orders[7])


def test_deterministic_forbids_operations_that_differ(plain, other):
    assert plain.deterministic == 0
    assert other.deterministic == 1


def test_jit_reaches_the_model_that_is_trained(plain, other):
    assert plain.jit[0] is False
    assert other.jit[0] is True


# --- evaluate


@pytest.fixture(scope="module")
def undecided(tmp_path_factory):
    """A model that gives every pixel the probability 0.4."""
    inputs = keras.Input((16, 16, 1))
    start = {"kernel_initializer": "zeros", "bias_initializer": keras.initializers.Constant(np.log(0.4 / 0.6))}
    path = tmp_path_factory.mktemp("undecided") / "model.keras"
    keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid", **start)(inputs)).save(path)
    return path


@pytest.fixture
def drawn(monkeypatch):
    """What the figures of examples were made from: a list of (images, masks, predicted, ..)."""
    calls, original = [], report.plot_examples

    def plot(*args, **options):
        calls.append(args)
        return original(*args, **options)

    monkeypatch.setattr(report, "plot_examples", plot)
    return calls


@pytest.mark.parametrize(("words", "foreground"), [((), False), (("--threshold", 0.3), True)])
def test_threshold_decides_scores_and_examples(undecided, prepared, tmp_path, drawn, words, foreground):
    command("evaluate", undecided, prepared, "--output", tmp_path / "scores", *words)
    recall = json.loads((tmp_path / "scores/summary.json").read_text())["classes"]["hippocampus"]["recall"]
    assert recall["mean"] == foreground
    (_, _, predicted, *_), *_ = drawn
    assert all((ids == foreground).all() for ids in predicted)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_scores_and_examples_are_of_the_split(undecided, prepared, tmp_path, drawn, split):
    command("evaluate", undecided, prepared, "--output", tmp_path / "scores", "--split", split)
    with DataFile(prepared) as data:
        stored_images, stored_masks = data.read(split)
        index = data.index(split)
    cases = sorted(set(index["case"]))
    with open(tmp_path / "scores/cases.csv", newline="") as file:
        assert sorted({row["case"] for row in csv.DictReader(file)}) == cases
    (images, masks, *_, names), *_ = drawn
    assert len(images) == len(masks) == len(names) == min(3, len(cases))
    for image, mask, name in zip(images, masks, names, strict=True):
        same = [
            case
            for case, (y0, y1, x0, x1), *stored in zip(
                index["case"], index["box"], stored_images, stored_masks, strict=True
            )
            if all(np.array_equal(a[y0:y1, x0:x1], b) for a, b in zip(stored, (image, mask), strict=True))
        ]
        assert set(same) & set(name.splitlines())


def test_the_interval_of_a_summary_covers_95_percent():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, (60, 1, 30))
    wrong = generator.random((60, 1, 30)) < generator.uniform(0, 0.5, (60, 1, 1))
    cases = [
        inference.Case(f"{i:02}", 1, metrics.confusion_counts(truth[i], truth[i] ^ wrong[i], 2)) for i in range(60)
    ]
    dice = [float(metrics.dice(case.counts)[1]) for case in cases]
    expected = stats.bootstrap((dice,), np.mean, confidence_level=0.95, method="percentile", rng=generator)
    score = inference.summarise(cases, ["background", "disc"])["disc"]["dice"]
    low, high = expected.confidence_interval
    assert score["mean"] == pytest.approx(np.mean(dice))
    assert (score["low"], score["high"]) == pytest.approx((low, high), abs=0.06 * (high - low))


# --- data


def written(path, **changes):
    """The fingerprint of a file of four images, but for what is changed."""
    images = np.random.default_rng(0).random((4, 6, 5, 1), dtype=np.float32)
    parts = {"case": "a", "images": images, "masks": (images[..., 0] > 0.7).astype(np.uint8), "slices": [0, 1, 2, 3],
             "box": (1, 5, 0, 4), "spacing": (0.5, 2.0), **changes}  # fmt: skip
    attributes = {"name": "discs", "classes": ["background", "disc"], "value_range": (0, 1), "sources": []}
    with Writer(path, **attributes, command="", split_rule="by hand", seed=0) as writer:
        writer.add("train", **parts)
    with DataFile(path) as data:
        return data.fingerprint()


def test_the_fingerprint_is_that_of_images_masks_and_index(tmp_path):
    others = {
        "images": np.ones((4, 6, 5, 1), np.float32), "masks": np.zeros((4, 6, 5), np.uint8), "case": "b",
        "slices": [0, 1, 2, 4], "box": (1, 5, 0, 5), "spacing": (0.5, 1.0),
    }  # fmt: skip
    prints = [written(tmp_path / "same.h5")]
    assert written(tmp_path / "again.h5") == prints[0]
    prints += [written(tmp_path / f"{name}.h5", **{name: value}) for name, value in others.items()]
    assert len(set(prints)) == 1 + len(others)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_claims_a_huge_volume_is_refused_at_once(msd_copy, save_volume, refused, zipped):
    path = msd_copy / "imagesTr/hippocampus_005.nii.gz"
    plain = msd_copy / "small.nii"
    save_volume(plain, np.zeros((6, 14, 4), np.float32))
    voxels = bytearray(plain.read_bytes())
    plain.unlink()
    struct.pack_into("<8h", voxels, 40, 3, 2000, 2000, 2000, 1, 1, 1, 1)
    if zipped:
        path.write_bytes(gzip.compress(voxels))
    else:
        path.unlink()
        path = path.with_suffix("")
        path.write_bytes(voxels)
        listing = msd_copy / "dataset.json"
        listing.write_text(listing.read_text().replace("imagesTr/hippocampus_005.nii.gz", f"imagesTr/{path.name}"))
    began = time.monotonic()
    line = refused("prepare_hippocampus", msd_copy, "out.h5")
    assert time.monotonic() - began < 20
    assert path.name in line and "(2000, 2000, 2000)" in line and "at most" in line


@pytest.mark.parametrize("fits", [True, False])
def test_a_split_is_streamed_when_it_exceeds_the_memory_limit(prepared, monkeypatch, fits):
    read, asked = DataFile.read, []

    def spy(data, split, start=0, stop=None):
        images, masks = read(data, split, start, stop)
        asked.append(len(images))
        return images, masks

    with DataFile(prepared) as data:
        rows, size = data.sizes["train"], data.nbytes("train")
    monkeypatch.setattr(DataFile, "read", spy)
    monkeypatch.setattr(pipeline, "BLOCK", 4)
    monkeypatch.setattr(pipeline, "IN_MEMORY", size - (not fits))
    assert sum(len(images) for images, _ in load(prepared, "train", 5)) == rows
    assert asked == [rows] if fits else max(asked) == 4 and sum(asked) == rows
