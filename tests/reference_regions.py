"""Float64 NumPy formulas of the region and compound losses, written from the papers; see `reference.py`.

`loss(name, y, p, valid, weight, class_weights, per_image, **options)` takes labels and probabilities `[B, N, K]`, the
ignore mask and the pixel weights `[B, N]`; nothing is shared with kseg.
"""

import numpy as np

NAMES = (
    "generalized_dice", "log_cosh_dice", "asymmetric", "mcc", "wasserstein_dice", "combo", "unified_focal", "topk_cce",
)  # fmt: skip
CHANNELS = ("log_cosh_dice", "asymmetric", "mcc", "combo")  # one channel stays one class; two for the others
CROSS_ENTROPY = ("combo", "unified_focal", "topk_cce")


def loss(name, y, p, valid, weight, class_weights, per_image, **options):
    binary = y.shape[-1] == 1
    if binary and name not in CHANNELS:
        y, p = np.concatenate([1 - y, y], -1), np.concatenate([1 - p, p], -1)
    a = np.ones(max(y.shape[-1], 2)) if class_weights is None else np.asarray(class_weights, np.float64)
    groups = [slice(i, i + 1) for i in range(len(y))] if per_image else [slice(None)]
    results = []
    for g in groups:
        rows = [part[g].reshape(-1, part.shape[-1]) for part in (y, p)]
        results.append(globals()[name](*rows, valid[g].ravel(), weight[g].ravel(), a, **options))
    return np.mean(results)


def _pair(smooth):
    return (smooth, smooth) if np.isscalar(smooth) else smooth


def _mean(per_class, a):
    a = np.ones(1) if len(per_class) == 1 else a
    return np.dot(a[-len(per_class) :], per_class) / a[-len(per_class) :].sum()


def _foreground(y, p, include_background):
    return (y, p) if include_background or y.shape[1] == 1 else (y[:, 1:], p[:, 1:])


def _tversky(y, p, u, smooth, fp, fn):
    numerator, denominator = _pair(smooth)
    both = u @ (y * p)
    return (both + numerator) / (both + fp * (u @ ((1 - y) * p)) + fn * (u @ (y * (1 - p))) + denominator)


def generalized_dice(y, p, valid, weight, a, smooth=1e-7, weighting="square", include_background=True):
    y, p = _foreground(y, p, include_background)
    a = a[-y.shape[1] :]
    power = {"square": 2, "simple": 1, "uniform": 0}[weighting]
    sizes = (valid * weight) @ y
    w = np.array([0.0 if size == 0 else 1 / size**power for size in sizes])
    w[sizes == 0] = w[a > 0].max()
    w *= a
    w /= w.max()
    over = sum(2 * w[c] * np.sum(valid * weight * y[:, c] * p[:, c]) for c in range(len(a)))
    under = sum(w[c] * np.sum(valid * weight * (y[:, c] + p[:, c])) for c in range(len(a)))
    numerator, denominator = _pair(smooth)
    return 1 - (over + numerator) / (under + denominator)


def _dice_loss(y, p, u, a, smooth):
    return _mean(1 - _tversky(y, p, u, [s / 2 for s in _pair(smooth)], 0.5, 0.5), a)


def log_cosh_dice(y, p, valid, weight, a, smooth=1e-7, squared=False, include_background=True):
    y, p = _foreground(y, p, include_background)
    if squared:
        u, (numerator, denominator) = valid * weight, _pair(smooth)
        score = (2 * u @ (y * p) + numerator) / (u @ y**2 + u @ p**2 + denominator)
        return np.log(np.cosh(_mean(1 - score, a)))
    return np.log(np.cosh(_dice_loss(y, p, valid * weight, a, smooth)))


def asymmetric(y, p, valid, weight, a, beta=1.5, smooth=1e-7, include_background=True):
    """The paper's F-beta: every term carries the factor 1 + beta^2 of the Tversky form."""
    y, p = _foreground(y, p, include_background)
    u, square, (numerator, denominator) = valid * weight, beta**2, [(1 + beta**2) * s for s in _pair(smooth)]
    both, missed, invented = (1 + square) * (u @ (y * p)), u @ (y * (1 - p)), u @ ((1 - y) * p)
    return _mean(1 - (both + numerator) / (both + square * missed + invented + denominator), a)


def mcc(y, p, valid, weight, a, smooth=(0, 1e-7), include_background=True):
    """Pearson's correlation of two shares, scaled to counts for the sake of `smooth`."""
    y, p = _foreground(y, p, include_background)
    u, (numerator, denominator) = valid * weight, _pair(smooth)
    n, scores = u.sum(), []
    for c in range(y.shape[1]):
        truth, guess, both = u @ y[:, c] / n, u @ p[:, c] / n, u @ (y[:, c] * p[:, c]) / n
        covariance, spread = both - truth * guess, np.sqrt(truth * (1 - truth) * guess * (1 - guess))
        scores.append((covariance * n**2 + numerator) / (spread * n**2 + denominator))
    return _mean(1 - np.array(scores), a)


def wasserstein_dice(y, p, valid, weight, a, distances=None, smooth=1e-7):
    classes = y.shape[1]
    m = 1.0 - np.eye(classes) if distances is None else np.array(distances) / np.max(distances)
    u = valid * weight * (y @ a / a.mean())
    apart = np.einsum("nl,lm,nm->n", y, m, p)
    true_positives = u @ (y @ m[:, 0] * (1 - apart))
    numerator, denominator = _pair(smooth)
    return 1 - (2 * true_positives + numerator) / (2 * true_positives + u @ apart + denominator)


def combo(y, p, valid, weight, a, alpha=0.5, beta=0.5, smooth=1e-7, include_background=True):
    terms = -beta * y * np.log(p) - (1 - beta) * (1 - y) * np.log(1 - p)
    if y.shape[1] == 1:
        w = a[0] * (1 - y[:, 0]) + a[1] * y[:, 0]
        cross_entropy = np.sum(valid * weight * w * terms[:, 0]) / np.sum(valid * w)
    else:
        cross_entropy = np.sum(valid * weight * (terms @ a)) / a.sum() / valid.sum()
    dice = _dice_loss(*_foreground(y, p, include_background), valid * weight, a, smooth)
    return alpha * cross_entropy + (1 - alpha) * dice


def unified_focal(y, p, valid, weight, a, variant="asymmetric", focal_weight=0.5, delta=0.6, gamma=0.5, smooth=1e-7):
    total = 0.0
    for i in range(len(y)):
        for c in range(y.shape[1]):
            of_class = delta if c else 1 - delta
            power = 1 - gamma if variant == "symmetric" else (0 if c else gamma)
            term = -of_class * (1 - p[i, c]) ** power * (y[i, c] * np.log(p[i, c]) if y[i, c] else 0)
            total += valid[i] * weight[i] * a[c] * term
    focal = total / np.sum(valid * (y @ a))
    short = 1 - _tversky(y, p, valid * weight, smooth, 1 - delta, delta)
    powers = [gamma if variant == "symmetric" else (1 - gamma if c else 1) for c in range(y.shape[1])]
    tversky = [x if power == 1 else max(x, 1e-7) ** power for x, power in zip(short, powers, strict=True)]
    return focal_weight * focal + (1 - focal_weight) * _mean(np.array(tversky), a)


def topk_cce(y, p, valid, weight, a, k=0.1):
    losses, weights = [], []
    for i in np.flatnonzero(valid):
        label = np.flatnonzero(y[i])
        losses.append(weight[i] * -np.sum(a[label] * y[i, label] * np.log(p[i, label])))
        weights.append(a @ y[i])
    kept = np.argsort(losses)[::-1][: max(1, int(np.ceil(k * len(losses) - 1e-6)))]
    return np.sum(np.take(losses, kept)) / np.sum(np.take(weights, kept))
