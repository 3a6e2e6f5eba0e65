"""Models whose best attack is known, and the objectives of attacks in float64 NumPy."""

import keras
import numpy as np


def linear_model(weights, bias, shape=(4, 5), activation=None):
    """A 1x1 convolution: the logits of a pixel are `weights^T x + bias`, weights `[C, K]`."""
    inputs = keras.Input((*shape, len(weights)))
    layer = {2: keras.layers.Conv2D, 3: keras.layers.Conv3D}[len(shape)](len(bias), 1, name="logits")
    outputs = layer(inputs)
    layer.set_weights([np.reshape(weights, (*[1] * len(shape), *np.shape(weights))), np.asarray(bias)])
    return keras.Model(inputs, keras.layers.Activation(activation)(outputs) if activation else outputs)


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def two_logits(z):
    """One logit as two, of which the first is 0."""
    return np.concatenate([np.zeros_like(z), z], axis=-1) if z.shape[-1] == 1 else z


def picked(values, ids):
    return np.take_along_axis(values, ids[..., None], axis=-1)[..., 0]


def objective(name, z, ids, counted, progress=0.0, sign=1.0):
    """Values `[B]` of an attack loss for logits `[B, *S, K]`; K = 1 is one sigmoid, else a softmax."""
    z = two_logits(z)
    log_p, p = log_softmax(z), np.exp(log_softmax(z))
    cross, missing = -picked(log_p, ids), (z.argmax(axis=-1) == ids) == (sign > 0)
    cosine = picked(p, ids) / np.linalg.norm(p, axis=-1)
    own = picked(z, ids)
    others = np.where(np.arange(z.shape[-1]) == ids[..., None], -np.inf, z).max(axis=-1)
    one_hot = np.eye(z.shape[-1])[ids]
    middle = (p + one_hot) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = sum(
            np.where(q > 0, q * np.log(np.where(q > 0, q, 1) / middle), 0).sum(axis=-1) / 2 for q in (p, one_hot)
        )
    values = {
        "cce": cross,
        "masked_cce": cross * missing,
        "segpgd": cross * np.where(missing, 1 - progress / 2, progress / 2),
        "cospgd": cross * (cosine if sign > 0 else 1 - cosine),
        "js": divergence,
        "margin": (others - own) * missing,
    }
    found = []
    for i in range(len(z)):
        here = counted[i] > 0
        if name == "balanced_cce":
            means = [cross[i][here & (ids[i] == k)].mean() for k in np.unique(ids[i][here])]
            found.append(np.mean(means) if means else 0.0)
        else:
            found.append(values[name][i][here].mean() if here.any() else 0.0)
    return np.array(found)


def mean_iou(predicted, ids, counted):
    """Of each image, mean over the classes that its mask or its prediction has."""
    found = []
    for guess, true, here in zip(predicted, ids, counted > 0, strict=True):
        classes = np.union1d(guess[here], true[here])
        ious = [
            ((guess == k) & (true == k) & here).sum() / (((guess == k) | (true == k)) & here).sum() for k in classes
        ]
        found.append(np.mean(ious) if ious else 0.0)
    return np.array(found)
