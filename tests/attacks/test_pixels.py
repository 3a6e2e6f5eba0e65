import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.attacks import PixelSweep, Setting, draw_values, rank_pixels, settings_of
from kseg.models import unet, with_probabilities

SEED, LOW, HIGH = 5, -1.0, 3.0
BOXES = np.array([[0, 8, 0, 8], [1, 7, 2, 8], [3, 4, 0, 8], [0, 8, 5, 6], [2, 6, 2, 6]])
# Experiments A to D and the directional attack, with repetitions and with levels beyond the images' range.
SETTINGS = [
    Setting(0), *settings_of(5, levels=[0.0, 0.2, 9.0, -4.0]), *settings_of([1, 2, 10], levels=[0.2]),
    *settings_of([0, 2, 10], draws=range(3)), *settings_of([3, 10], steps=[2.0, -2.0]), Setting(5, level=9.0),
]  # fmt: skip


class Example:
    """Images under attack, a model of K outputs, and what NumPy and `model.predict` make of them."""

    def __init__(self, outputs):
        keras.utils.set_random_seed(1)
        rng = np.random.default_rng(outputs)
        logits = unet((8, 8, 2), outputs, filters=2, depth=1, bn=True)
        self.model = with_probabilities(logits, "sigmoid" if outputs == 1 else "softmax")
        self.images = rng.uniform(0, 0.2, (5, 8, 8, 2)).astype(np.float32)
        self.masks = rng.integers(0, max(outputs, 2), (5, 8, 8)).astype(np.uint8)
        self.masks[0] = 0
        self.directions = rng.normal(size=self.images.shape)
        self.directions[:, 0] = 0
        self.ranked = rank_pixels(rng.normal(size=self.images.shape), 12).numpy()
        self.ranked[1, 1] = -1
        self.rows = np.array([40, 3, 7, 1, 9])
        values = [draw_values(self.rows, 12, draw, SEED, LOW, HIGH).numpy() for draw in range(3)]
        attacked = [[self.attacked(i, s, values) for s in SETTINGS] for i in range(5)]
        flat = np.reshape(attacked, (-1, 8, 8, 2))
        self.p = self.model.predict(flat, verbose=0).reshape(5, len(SETTINGS), 8, 8, -1)

    def attacked(self, i, setting, values):
        image = self.images[i].copy()
        for n, pixel in enumerate(self.ranked[i, : setting.count]):
            y, x = divmod(int(pixel), 8)
            if pixel < 0:
                continue
            if setting.step is not None:
                image[y, x] += np.float32(setting.step) * np.sign(self.directions[i, y, x]).astype(np.float32)
            else:
                image[y, x] = values[setting.draw][i, n] if setting.level is None else setting.level
        return image

    def expected(self, boxes):
        """tp, fp, fn, overlap, mass `[N, P, F]`, pixel by pixel class by class."""
        single = self.p.shape[-1] == 1
        shown = (self.p[..., 0] > 0.5).astype(int) if single else self.p.argmax(axis=-1)
        found = []
        for i, (y0, y1, x0, x1) in enumerate(boxes):
            true = self.masks[i, y0:y1, x0:x1]
            for j in range(len(SETTINGS)):
                got, p = shown[i, j, y0:y1, x0:x1], self.p[i, j, y0:y1, x0:x1].astype(np.float64)
                for k in range(1, max(self.p.shape[-1], 2)):
                    y, z, q = true == k, got == k, p[..., 0 if single else k]
                    found.append([(y & z).sum(), (z & ~y).sum(), (y & ~z).sum(), q[y].sum(), q.sum()])
        return np.moveaxis(np.reshape(found, (5, len(SETTINGS), -1, 5)), -1, 0)

    def swept(self, sweep, boxes=None, settings=SETTINGS):
        return sweep(
            self.images, self.masks, self.ranked, settings, rows=self.rows, directions=self.directions, boxes=boxes,
            low=LOW, high=HIGH, seed=SEED,
        )  # fmt: skip


@pytest.fixture(scope="module", params=[1, 3], ids=["sigmoid", "softmax"])
def example(request):
    return Example(request.param)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "jit"])
def test_a_sweep_counts_what_a_loop_counts(example, jit):
    sweep = PixelSweep(example.model, chunk=7, jit=jit)  # 90 passes: the last of 13 chunks is not full
    for boxes in (None, BOXES):
        hits = example.swept(sweep, boxes)
        functions = sweep._program.graph.as_graph_def().library.function
        assert any(function.attr["_XlaMustCompile"].b for function in functions) == jit
        *counts, overlap, mass = example.expected(np.tile([0, 8, 0, 8], (5, 1)) if boxes is None else boxes)
        assert counts[0].any() and len(np.unique(counts[1][1, :, 0])) > 3, "attacks that change nothing test nothing"
        for found, count in zip(hits, counts, strict=False):
            assert found.dtype == np.int64
            np.testing.assert_array_equal(found, count)
        np.testing.assert_allclose(hits.overlap, overlap, rtol=1e-5)
        np.testing.assert_allclose(hits.mass, mass, rtol=1e-5)
        true = counts[0] + counts[2]
        np.testing.assert_array_equal(hits.area, counts[0] + counts[1])
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(hits.dice(), 2 * counts[0] / (true + hits.area), rtol=1e-12)
            np.testing.assert_allclose(hits.soft_dice(), 2 * overlap / (true + mass), rtol=1e-5)


def test_a_class_that_neither_mask_has_is_empty(example):
    hits = example.swept(PixelSweep(example.model))._replace(fp=np.zeros((5, len(SETTINGS), 1), int))
    assert np.isnan(hits.dice()[0]).all() and (hits.dice(empty="one")[0] == 1).all()
    assert np.isnan(hits._replace(mass=0 * hits.mass).soft_dice()[0]).all()


class Probe(keras.layers.Layer):
    """Probabilities of two channels, and a tally of traces, images and the largest batch."""

    def build(self, shape):
        self.traces, self.modes = [], []
        self.seen, self.largest = tf.Variable(0), tf.Variable(0)

    def call(self, x, training=None):
        self.traces.append(x.shape)
        self.modes.append(training)
        self.seen.assign_add(tf.shape(x)[0])
        self.largest.assign(tf.maximum(self.largest, tf.shape(x)[0]))
        return tf.sigmoid(x[..., :1] - 0.3)


def test_one_program_for_all_calls_and_no_pass_twice():
    inputs = keras.Input((8, 8, 2))
    probe = Probe()
    model = keras.Model(inputs, probe(inputs))
    sweep, rng = PixelSweep(model, chunk=4), np.random.default_rng(0)
    images, masks = rng.uniform(size=(5, 8, 8, 2)), rng.integers(0, 2, (5, 8, 8))
    ranked = rank_pixels(images, 9).numpy()
    del probe.traces[:], probe.modes[:]

    def passes(count, settings, pixels=9, **options):
        before = int(probe.seen)
        hits = sweep(images[:count], masks[:count], ranked[:count, :pixels], settings, **options)
        assert hits.tp.shape == (count, len(settings), 1)
        return int(probe.seen) - before

    same = [Setting(0), Setting(0, draw=3), Setting(3, level=0.5), Setting(0, level=1.0), Setting(3, level=0.5)]
    assert passes(2, same) == 2 * 2
    assert len(probe.traces) == 1
    assert passes(1, [Setting(0)], pixels=0) == 1
    assert passes(4, settings_of([1, 9], draws=range(4))) == 4 * 8
    assert passes(2, settings_of(2, steps=[1.0, -1.0, 0.0]), directions=images[:2]) == 2 * 3
    assert passes(5, [Setting(0)]) == 6  # two chunks of 3, the last place of which repeats a pass
    assert len(probe.traces) == 1 and not any(probe.modes)
    assert int(probe.largest) == 4


def test_settings_tell_what_they_are():
    assert settings_of([1, 2], draws=range(2)) == [Setting(n, draw=r) for n in (1, 2) for r in (0, 1)]
    assert len({s.key for s in (Setting(0), Setting(0, draw=1), Setting(4, step=0.0))}) == 1
    others = (Setting(1, level=1.0), Setting(1, draw=1), Setting(1, step=1.0), Setting(2, draw=1))
    assert len({s.key for s in others}) == 4
    for wrong in ({"count": 3}, {"count": -1}, {"count": 1.5, "level": 0}, {"count": 1, "level": 0, "draw": 0}):
        with pytest.raises(ValueError, match="one of level, draw and step"):
            Setting(**wrong)
    with pytest.raises(ValueError, match="draw=-1 does not fit"):
        Setting(1, draw=-1)
    with pytest.raises(ValueError, match="Expected levels, draws or steps"):
        settings_of(5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((5, 8, 9, 2))}, "do not fit the model"),
        ({"masks": np.zeros((5, 8, 8))}, "Expected integer ids"),
        ({"masks": np.full((5, 8, 8), 3)}, "ids run from 3 to 3. Expected 0 to"),
        ({"ranked": np.zeros((5, 2), int)}, "Expected .5, 4 or more."),
        ({"ranked": np.full((5, 4), 64)}, "ranked holds pixel 64. Expected less than 64"),
        ({"settings": []}, "Expected at least one of each"),
        ({"settings": [Setting(1, step=1.0)]}, "Expected directions=maps"),
        ({"directions": np.zeros((5, 8, 8, 1))}, "Expected that of images"),
        ({"rows": [1, 2]}, "rows have shape"),
        ({"boxes": np.zeros((1, 4))}, "boxes have shape"),
    ],
)
def test_what_does_not_fit_is_refused(example, change, message):
    fits = {"images": example.images, "masks": example.masks, "ranked": example.ranked}
    with pytest.raises(ValueError, match=message):
        PixelSweep(example.model)(**fits | {"settings": [Setting(4, draw=0)]} | change)


def test_models_that_do_not_end_in_probabilities_are_refused():
    with pytest.raises(ValueError, match="ends in logits. Expected probabilities; take kseg.models.with_probabilities"):
        PixelSweep(unet((8, 8, 1), 1, filters=2, depth=1))
    inputs = keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match="Expected one input and one output"):
        PixelSweep(keras.Model(inputs, [inputs] * 4))
    with pytest.raises(ValueError, match="chunk=0 does not fit"):
        PixelSweep(keras.Model(inputs, inputs), chunk=0)
