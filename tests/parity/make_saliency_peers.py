"""Record what Xplique and tf-keras-vis give as saliency of a small segmentation network: `saliency_peers.npz`.

They need Keras 2, so this runs in an environment of its own and the tests read the file:

    python3.11 -m venv peers
    peers/bin/pip install tensorflow==2.15.1 "numpy<2" scipy==1.17.1 Xplique==1.3.3 tf-keras-vis==0.8.7
    peers/bin/python tests/parity/make_saliency_peers.py [FOLDER]

FOLDER is where the file goes, this script's folder by default. It holds the weights (`first`, `bias`, `last`), the
images, the `targets` `[N, H, W, K]` (1 where a class of a pixel counts) and for each peer and method the maps. The
score is the sum of the probabilities over the targets. A second run writes the same bytes.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.saliency import Saliency
    from xplique import attributions as xplique


def waves(shape, step):
    """Numbers in [-1, 1] without a pattern."""
    return np.sin(step * np.arange(1, np.prod(shape) + 1) ** 1.5).reshape(shape).astype(np.float32)


def network(first, bias, last):
    inputs = tf.keras.Input((6, 6, 2))
    x = tf.keras.layers.Conv2D(3, 3, padding="same", name="first")(inputs)
    x = tf.keras.layers.ReLU(name="relu")(x)
    outputs = tf.keras.layers.Conv2D(3, 1, use_bias=False, activation="softmax", name="last")(x)
    model = tf.keras.Model(inputs, outputs)
    model.get_layer("first").set_weights([first, bias])
    model.get_layer("last").set_weights([last])
    return model


def score(model, images, targets):
    return tf.reduce_sum(model(images) * targets, axis=(1, 2, 3))


def of_xplique(model, images, targets):
    options = {"operator": score, "reducer": None}
    explainers = {
        "absolute_gradient": xplique.Saliency(model, **options),
        "gradient_x_input": xplique.GradientInput(model, **options),
        "integrated_gradients": xplique.IntegratedGradients(model, steps=2000, **options),
        "guided_backprop": xplique.GuidedBackprop(model, **options),
        "occlusion": xplique.Occlusion(model, patch_size=3, patch_stride=3, occlusion_value=0.0, operator=score),
        "grad_cam": xplique.GradCAM(model, conv_layer="relu", operator=score),
    }
    return {f"xplique/{name}": np.asarray(explainer(images, targets)) for name, explainer in explainers.items()}


def of_tf_keras_vis(model, images, targets):
    def counted(outputs):
        return tf.reduce_sum(outputs * targets, axis=(1, 2, 3))

    gradient = Saliency(model)(counted, images, keepdims=True, gradient_modifier=None, normalize_map=False)
    cam = Gradcam(model)(
        counted, images, penultimate_layer="relu", seek_penultimate_conv_layer=False, normalize_cam=False
    )
    return {"tf_keras_vis/gradient": np.asarray(gradient), "tf_keras_vis/grad_cam": np.asarray(cam)[..., None]}


def main(folder):
    shapes = {"first": (3, 3, 2, 3), "bias": (3,), "last": (1, 1, 3, 3), "images": (2, 6, 6, 2)}
    given = {name: waves(shape, 0.7 + i) for i, (name, shape) in enumerate(shapes.items())}
    region = waves((2, 6, 6), 0.31) > -0.3
    targets = np.stack([np.zeros_like(region), region, region], axis=-1).astype(np.float32)
    model = network(given["first"], given["bias"], given["last"])
    found = {**of_xplique(model, given["images"], targets), **of_tf_keras_vis(model, given["images"], targets)}
    np.savez_compressed(folder / "saliency_peers.npz", targets=targets, **given, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
