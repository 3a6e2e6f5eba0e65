"""Record what tensorflow-addons 0.23.0, its last release, computes: the `.npz` files beside this script.

It needs TensorFlow < 2.16 and Keras 2, so it runs in an environment of its own and the tests read the files
(`tensorflow-cpu` will not do: the compiled ops of tensorflow-addons do not load there):

    python3.11 -m venv addons
    addons/bin/pip install "tensorflow==2.15.1" "tensorflow-addons==0.23.0" "numpy<2"
    addons/bin/python tests/parity/make_tensorflow_addons.py [FOLDER]

FOLDER is where the files go, this script's folder by default. Each file holds the inputs, the outputs of its cases
stacked along axis 0, and `settings`, a JSON list with the arguments of each case. A second run writes the same bytes.
"""

import json
import os
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # its kernels round differently from machine to machine

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa


def focal():
    """Sigmoid focal loss `[case, B, H, W]` of K channels and its gradient, in float64, for hard labels."""
    rng = np.random.default_rng(1)
    settings = [
        {"alpha": alpha, "gamma": gamma, "from_logits": from_logits}
        for alpha, gamma in [(0.25, 2.0), (0.75, 3.0), (0.375, 0.5), (0.25, 0.0), (0.0, 2.0)]
        for from_logits in (False, True)
    ]
    arrays = {}
    for channels in (1, 3):
        labels = rng.integers(0, 2, (2, 3, 4, channels), np.uint8)
        logits = rng.normal(0, 3, labels.shape)
        logits[0, 0, :2, 0], labels[0, 0, :2, 0] = (-15, 15), (1, 0)  # wrong with confidence
        probabilities = rng.uniform(0.02, 0.98, labels.shape)
        results = [_focal_case(labels, logits if case["from_logits"] else probabilities, **case) for case in settings]
        named = {"labels": labels, "logits": logits, "probabilities": probabilities}
        named["values"], named["gradients"] = map(np.stack, zip(*results, strict=True))
        arrays |= {f"{name}_{channels}": array for name, array in named.items()}
    return settings, arrays


def _focal_case(labels, scores, **options):
    scores = tf.constant(scores)
    loss = tfa.losses.SigmoidFocalCrossEntropy(**options)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        values = loss(labels, scores)
    return values.numpy(), tape.gradient(values, scores).numpy()


def distance():
    """Euclidean distance of each pixel to the nearest zero of its image and channel, float32."""
    rng = np.random.default_rng(2)
    masks = np.zeros((4, 12, 15, 2), np.uint8)
    for index, share in enumerate((0.5, 0.9, 0.97)):
        values = rng.choice(np.array([1, 7, 255], np.uint8), masks.shape[1:])
        masks[index] = np.where(rng.random(masks.shape[1:]) < share, values, 0)
    masks[3, ..., 0] = 1
    masks[3, 11, 0, 0] = 0  # one zero, in a corner; channel 1 is all zeros
    # No image without a zero: theirs then gives the root of the largest float32, scipy has no defined answer.
    return [], {"masks": masks, "distances": tfa.image.euclidean_dist_transform(masks).numpy()}


def warp():
    """Dense warps with their gradients, an elastic warp, and warps from control points, in float64."""
    rng = np.random.default_rng(3)
    shape = (2, 6, 7, 2)
    image, cotangent = rng.normal(size=(2, *shape))
    settings = [{"flow": "below a pixel"}, {"flow": "far beyond the borders"}, {"flow": "whole pixels"}]
    flows = [rng.uniform(-1, 1, shape), rng.normal(0, 8, shape), rng.integers(-3, 4, shape).astype(float)]
    results = [_warp_case(image, flow, cotangent) for flow in flows]
    arrays = {"image": image, "cotangent": cotangent, "flows": np.stack(flows)}
    for name, parts in zip(("warped", "image_gradients", "flow_gradients"), zip(*results, strict=True), strict=True):
        arrays[name] = np.stack(parts)

    # Simard et al. 2003: smoothed noise times a strength. tensorflow-addons has the two parts, not the whole.
    elastic = {"kernel": 5, "sigma": 1.25, "strength": 6.0}
    noise = rng.uniform(-1, 1, shape)
    smooth = tfa.image.gaussian_filter2d(noise, elastic["kernel"], elastic["sigma"], padding="CONSTANT")
    arrays |= {"noise": noise, "smooth": smooth.numpy()}
    arrays["elastic"] = tfa.image.dense_image_warp(image, elastic["strength"] * smooth).numpy()

    control = [{"regularization_weight": 0.0}, {"regularization_weight": 0.5}]
    source = rng.uniform(0, (5, 6), (2, 6, 2))
    target = source + rng.normal(0, 1, source.shape)
    results = [tfa.image.sparse_image_warp(image, source, target, **case) for case in control]
    arrays |= {"source": source, "target": target}
    arrays["control_warped"], arrays["control_flows"] = (np.stack(parts) for parts in zip(*results, strict=True))
    return {"dense": settings, "elastic": elastic, "control": control}, arrays


def _warp_case(image, flow, cotangent):
    image, flow = tf.constant(image), tf.constant(flow)
    with tf.GradientTape() as tape:
        tape.watch((image, flow))
        warped = tfa.image.dense_image_warp(image, flow)
    gradients = tape.gradient(warped, (image, flow), output_gradients=cotangent)
    return warped.numpy(), *(gradient.numpy() for gradient in gradients)


def optimizers():
    """Ten steps of a kernel `[3, 2]` and a bias `[2]` on given gradients, float32; `schedule` halves every 4 steps."""
    rng = np.random.default_rng(4)
    sgd = {"optimizer": "SGDW", "learning_rate": 0.1, "weight_decay": 0.02}
    adam = {"optimizer": "AdamW", "learning_rate": 0.01, "weight_decay": 0.005}
    settings = [
        sgd,
        {**sgd, "momentum": 0.9},
        {**sgd, "momentum": 0.9, "nesterov": True},
        {**sgd, "momentum": 0.9, "exclude_from_weight_decay": ["bias"]},
        {**sgd, "momentum": 0.9, "schedule": ["learning_rate", "weight_decay"]},
        {**sgd, "momentum": 0.9, "schedule": ["learning_rate"]},
        adam,
        {**adam, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        {**adam, "amsgrad": True},
        {**adam, "exclude_from_weight_decay": ["bias"]},
        {**adam, "schedule": ["learning_rate", "weight_decay"]},
        {**adam, "schedule": ["learning_rate"]},
    ]
    shapes = {"kernel": (3, 2), "bias": (2,)}
    inputs = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    inputs |= {f"{name}_gradients": rng.normal(size=(10, *s)).astype(np.float32) for name, s in shapes.items()}
    results = [_optimizer_case(inputs, **case) for case in settings]
    inputs["kernel_steps"], inputs["bias_steps"] = (np.stack(parts) for parts in zip(*results, strict=True))
    return settings, inputs


def _optimizer_case(inputs, optimizer, schedule=(), **options):
    for name in schedule:
        options[name] = tf.keras.optimizers.schedules.ExponentialDecay(options[name], 4, 0.5, staircase=True)
    optimizer = getattr(tfa.optimizers, optimizer)(**options)
    variables = [tf.Variable(inputs[name], name=name) for name in ("kernel", "bias")]
    steps = []
    for gradients in zip(inputs["kernel_gradients"], inputs["bias_gradients"], strict=True):
        optimizer.apply_gradients(zip(map(tf.constant, gradients), variables, strict=True))
        steps.append([variable.numpy() for variable in variables])
    return tuple(map(np.stack, zip(*steps, strict=True)))


def main(folder):
    tf.config.experimental.enable_op_determinism()
    tf.get_logger().setLevel("ERROR")  # it advises against tracing anew for each case
    for make in (focal, distance, warp, optimizers):
        settings, arrays = make()
        path = folder / f"{make.__name__}.npz"
        np.savez_compressed(path, settings=json.dumps(settings), **arrays)
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
