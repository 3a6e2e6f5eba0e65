"""Float64 NumPy formulas of every loss, written from the papers, not from the code under test.

`loss(name, y, scores, ...)` takes one-hot or soft labels and scores, both `[B, *S, K]`, and gives the scalar
that the loss object gives. The formulas go pixel by pixel over flattened space; nothing is shared with kseg.
"""

import numpy as np
import reference_distances
import reference_regions

PIXEL = ("cce", "bce", "weighted_cce", "mse", "focal")
FOREGROUND_ONLY = ("dicefg", "dicefg_square")
SQUARED = ("dice_square", "dicefg_square", "log_dice")
SIGMOID = ("bce", "dice_bce")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def probabilities(name, logits, head="auto"):
    one_channel = logits.shape[-1] == 1
    return sigmoid(logits) if one_channel or name in SIGMOID or head == "sigmoid" else softmax(logits)


def loss(
    name,
    y,
    scores,
    *,
    from_logits=True,
    head="auto",
    class_weights=None,
    valid=None,
    weight=None,
    per_image=False,
    **options,
):
    """`valid` `[B, *S]` of 0 and 1 and `weight` `[B, *S]` are the ignore mask and the pixel weights."""
    scores = np.asarray(scores, np.float64)
    p = probabilities(name, scores, head) if from_logits else scores
    y = np.asarray(y, np.float64)
    one_distribution = not (y.shape[-1] == 1 or name in SIGMOID or head == "sigmoid")
    if name in reference_distances.NAMES:  # these need the shape of the images
        arguments = (y, p, valid, weight, class_weights, per_image, one_distribution)
        return reference_distances.loss(name, *arguments, **options)
    batch, classes = y.shape[0], y.shape[-1]
    y, p = y.reshape(batch, -1, classes), p.reshape(batch, -1, classes)
    valid = np.ones(y.shape[:2]) if valid is None else np.reshape(np.asarray(valid, np.float64), y.shape[:2])
    weight = np.ones(y.shape[:2]) if weight is None else np.reshape(np.asarray(weight, np.float64), y.shape[:2])
    arguments = (y, p, valid, weight, class_weights, per_image)
    if name in reference_regions.NAMES:
        return reference_regions.loss(name, *arguments, **options)
    if name == "dice_bce":
        dice_weight, bce_weight = options.pop("dice_weight", 1), options.pop("bce_weight", 1)
        dice = overlap("dice", *arguments, **{"smooth": 1e-6, **options})
        return dice_weight * dice + bce_weight * pixel_mean("bce", *arguments, False)
    if name in PIXEL:
        return pixel_mean(name, *arguments, one_distribution, **options)
    return overlap(name, *arguments, **options)


def pixel_terms(name, y, p, one_distribution, gamma=2.0, alpha="auto"):
    """Loss per pixel and channel."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p, log_q = np.log(p), np.log(1 - p)
    if name in ("cce", "weighted_cce"):
        return -np.where(y > 0, y * log_p, 0)
    if name == "bce":
        return -np.where(y > 0, y * log_p, 0) - np.where(y < 1, (1 - y) * log_q, 0)
    if name == "mse":
        return (y - p) ** 2
    if one_distribution:
        share = np.ones(y.shape[-1]) if alpha in ("auto", None) else np.asarray(alpha)
        return -share * (1 - p) ** gamma * np.where(y > 0, y * log_p, 0)
    if alpha is None:
        positive = negative = 1.0
    else:
        positive = 0.25 if alpha == "auto" else np.asarray(alpha)
        negative = 1 - positive
    hit = -positive * (1 - p) ** gamma * np.where(y > 0, y * log_p, 0)
    miss = -negative * p**gamma * np.where(y < 1, (1 - y) * log_q, 0)
    return hit + miss


def pixel_mean(name, y, p, valid, weight, class_weights, per_image, one_distribution, **options):
    """sum(sample weight x class weight x loss) / sum(class weight); for weighted_cce / number of pixels."""
    classes = y.shape[-1]
    terms = pixel_terms(name, y, p, one_distribution, **options)
    w = np.ones(max(classes, 2)) if class_weights is None else np.asarray(class_weights, np.float64)
    divisor = np.ones(y.shape[:2])
    if classes == 1:
        divisor = w[0] * (1 - y[..., 0]) + w[1] * y[..., 0]
        per_pixel = divisor * terms[..., 0]
    elif one_distribution and name != "mse":
        divisor = (w * y).sum(-1)
        per_pixel = (w * terms).sum(-1)
    else:
        per_pixel = (w * terms).sum(-1) / w.sum()
    if name == "weighted_cce":
        divisor = np.ones(y.shape[:2])
    top, bottom = per_pixel * weight * valid, divisor * valid
    if per_image:
        return np.mean(top.sum(1) / bottom.sum(1))
    return top.sum() / bottom.sum()


def overlap(
    name,
    y,
    p,
    valid,
    weight,
    class_weights,
    per_image,
    smooth=1e-7,
    squared=None,
    include_background=None,
    fp_weight=0.3,
    fn_weight=0.7,
    exponent=0.75,
):
    """Mean (focal_tversky: sum) over classes of one minus the score; sums over the batch or per image."""
    numerator, denominator = (smooth, smooth) if np.isscalar(smooth) else smooth
    squared = name in SQUARED if squared is None else squared
    if include_background is None:
        include_background = name not in FOREGROUND_ONLY
    classes = y.shape[-1]
    w = np.ones(classes) if class_weights is None or classes == 1 else np.asarray(class_weights, np.float64)
    if classes > 1 and not include_background:
        y, p, w = y[..., 1:], p[..., 1:], w[1:]
    if per_image:
        weights_per_image = [(valid[i : i + 1] * weight[i : i + 1])[..., None] for i in range(len(y))]
        groups = [(y[i : i + 1], p[i : i + 1], u) for i, u in enumerate(weights_per_image)]
    else:
        groups = [(y, p, (valid * weight)[..., None])]
    results = []
    for true, predicted, u in groups:
        both = (u * true * predicted).sum((0, 1))
        size = (u * (true**2 if squared else true)).sum((0, 1))
        guess = (u * (predicted**2 if squared else predicted)).sum((0, 1))
        if name == "jaccard":
            score = (both + numerator) / (size + guess - both + denominator)
        elif "tversky" in name:
            wrong = fp_weight * (guess - both) + fn_weight * (size - both)
            score = (both + numerator) / (both + wrong + denominator)
        else:
            score = (2 * both + numerator) / (size + guess + denominator)
        if name == "focal_tversky":
            results.append((w / w.mean() * (1 - score) ** exponent).sum())
        else:
            per_class = -np.log(score) if name == "log_dice" else 1 - score
            results.append((w * per_class).sum() / w.sum())
    return np.mean(results)


def one_hot(ids, classes):
    """Labels `[..., K]` of class ids; K = 1 is the foreground alone."""
    return ids[..., None].astype(float) if classes == 1 else np.eye(classes)[ids]


def numeric_gradient(function, x, step=1e-5):
    """Central finite differences of a scalar function of an array."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient
