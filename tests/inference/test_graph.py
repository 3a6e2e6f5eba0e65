"""The compiled function of a model: made once, no more than the model, and gone with it."""

import gc
import weakref

import keras
import numpy as np

from kseg import inference, models
from kseg.inference import graph


def model_of(size, channels=1):
    keras.utils.set_random_seed(3)
    net = models.unet((*size, 1), channels, filters=2, depth=1)
    return models.with_probabilities(net, "sigmoid" if channels == 1 else "softmax")


def test_a_model_is_compiled_once_for_a_shape_and_a_threshold():
    model, other = model_of((None, None)), model_of((None, None))
    first = inference.forward(model, (8, 8, 1))
    assert inference.forward(model, [8, 8, 1]) is first
    others = [inference.forward(model, (8, 10, 1)), inference.forward(model, (8, 8, 1), 0.5),
              inference.forward(model, (8, 8, 1), 0.4), inference.forward(other, (8, 8, 1))]  # fmt: skip
    assert len({id(each) for each in [first, *others]}) == 5


def test_it_gives_what_the_model_gives_and_what_it_has_learnt_since():
    images = np.random.default_rng(0).uniform(size=(3, 7, 9, 1)).astype(np.float32)
    for channels in (1, 3):
        model = model_of((None, None), channels)
        see = inference.forward(model, images.shape[1:])
        padded = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)))
        for _ in range(2):
            p = model.predict(padded, verbose=0)[:, :7, :9]
            np.testing.assert_allclose(see(images), p, atol=1e-6)
            ids = inference.predict_masks(model, images, threshold=0.45)
            np.testing.assert_array_equal(ids, p[..., 0] > 0.45 if channels == 1 else p.argmax(axis=-1))
            model.set_weights([weights * -1.5 + 0.1 for weights in model.get_weights()])


def test_a_model_that_is_not_needed_is_not_kept():
    model = model_of((8, 8))
    known = weakref.ref(model)
    inference.predict_masks(model, np.zeros((1, 8, 8, 1), np.float32))
    assert model in graph._COMPILED
    del model
    gc.collect()
    assert known() is None
