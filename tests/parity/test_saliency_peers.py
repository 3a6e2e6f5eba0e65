"""Saliency agrees with Xplique 1.3.3 and tf-keras-vis 0.8.7; `make_saliency_peers.py` recorded these.

Where they go by other conventions the recorded settings are those in which theirs and ours are the same. Xplique's
saliency is the absolute value of the gradient, its integrated gradients are a trapezoid rule, its occlusion adds up
windows that lie within the image, its Grad-CAM is resized bicubically, and its guided ReLU with a largest value lets
gradients pass above it; tf-keras-vis zooms with corners aligned. Both draw SmoothGrad's noise from a global generator.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from kseg.saliency import explain

with np.load(Path(__file__).parent / "saliency_peers.npz", allow_pickle=False) as file:
    ARRAYS = dict(file)
IMAGES, REGION = ARRAYS["images"], ARRAYS["targets"][..., 1]


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((6, 6, 2))
    x = layers.ReLU(name="relu")(layers.Conv2D(3, 3, padding="same", name="first")(inputs))
    outputs = layers.Conv2D(3, 1, use_bias=False, activation="softmax", name="last")(x)
    model = keras.Model(inputs, outputs)
    model.set_weights([ARRAYS["first"], ARRAYS["bias"], ARRAYS["last"]])
    return model


def of_ours(model, method, **options):
    return explain(model, IMAGES, region=REGION, method=method, **options)


def agree(ours, theirs, atol=2e-6):
    theirs = ARRAYS[theirs]
    assert ours.shape == theirs.shape and np.abs(theirs).max() > 0.05
    np.testing.assert_allclose(ours, theirs, atol=atol)


def test_gradients(model):
    gradient = of_ours(model, "gradient")
    agree(gradient, "tf_keras_vis/gradient")
    agree(np.abs(gradient), "xplique/absolute_gradient")
    agree(of_ours(model, "gradient_x_input"), "xplique/gradient_x_input")


def test_guided_backprop(model):
    agree(of_ours(model, "guided_backprop"), "xplique/guided_backprop")


def test_integrated_gradients(model):
    agree(of_ours(model, "integrated_gradients", steps=200).values, "xplique/integrated_gradients", atol=2e-3)


def test_occlusion(model):
    agree(of_ours(model, "occlusion", size=3, stride=3), "xplique/occlusion", atol=1e-5)


def test_grad_cam_of_a_layer_as_large_as_the_image(model):
    cam = of_ours(model, "grad_cam", layer="relu")
    agree(cam, "xplique/grad_cam")
    agree(cam, "tf_keras_vis/grad_cam")
    np.testing.assert_array_equal(of_ours(model, "grad_cam"), cam)
