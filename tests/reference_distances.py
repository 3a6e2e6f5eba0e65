"""Float64 formulas of the losses on distances, centre lines and sorted errors, with scipy; called by `reference`.

Images are taken one by one. What does not count (ignored, weight 0) belongs neither to an object nor to the rest.
"""

import numpy as np
from scipy import ndimage

NAMES = ("boundary", "hausdorff", "cldice", "lovasz")


def loss(name, y, p, valid, weight, class_weights, per_image, one_distribution, include_background=None, **options):
    """The scalar; `y` and `p` `[B, *S, K]`, `valid` and `weight` `[B, *S]` or None."""
    shape, classes = y.shape[:-1], y.shape[-1]
    w = np.ones(shape) if weight is None else np.reshape(weight, shape).astype(float)
    if valid is not None:
        w = w * np.reshape(valid, shape)
    background = name == "lovasz" if include_background is None else include_background
    first = 0 if background or classes == 1 else 1
    share = np.ones(classes) if class_weights is None or classes == 1 else np.asarray(class_weights, float)
    groups = [slice(i, i + 1) for i in range(len(y))] if per_image else [slice(None)]
    results = []
    for group in groups:
        values, shares = [], []
        for c in range(first, classes):
            part = (y[group, ..., c], p[group, ..., c], w[group])
            if name == "lovasz":
                value = lovasz(*part, hinge=not one_distribution)
                absent = options.get("classes", "present") == "present" and not (part[0] * part[2]).sum()
                shares.append(0 if absent and classes > 1 else share[c])
            else:
                value = {"boundary": boundary, "hausdorff": hausdorff, "cldice": cldice}[name](*part, **options)
                shares.append(share[c])
            values.append(value)
        results.append(np.dot(values, shares) / max(np.sum(shares), 1e-300))
    return np.mean(results)


def distances(mask, counted, spacing):
    """Distance of each pixel to the nearest one of the object and of the rest; None without one of them."""
    sides = mask & counted, ~mask & counted
    if not (sides[0].any() and sides[1].any()):
        return None
    return [ndimage.distance_transform_edt(~side, sampling=spacing) for side in sides]


def signed_map(mask, counted, spacing=None):
    found = distances(mask, counted, spacing)
    if found is None:
        return np.zeros(mask.shape)
    return np.where(mask, (1 if spacing is None else np.min(spacing)) - found[1], found[0])


def unsigned_map(mask, counted, spacing=None):
    found = distances(mask, counted, spacing)
    return np.zeros(mask.shape) if found is None else np.where(mask, found[1], found[0])


def mean(terms, w):
    return (terms * w).sum() / w.sum() if w.sum() else 0.0


def boundary(y, p, w, spacing=None):
    maps = [signed_map(mask, counted, spacing) for mask, counted in zip(y > 0.5, w > 0, strict=True)]
    return mean(p * maps, w)


def hausdorff(y, p, w, alpha=2.0, one_sided=False, spacing=None):
    maps = [unsigned_map(mask, counted, spacing) ** alpha for mask, counted in zip(y > 0.5, w > 0, strict=True)]
    if not one_sided:
        maps = np.add(maps, [unsigned_map(m, c, spacing) ** alpha for m, c in zip(p > 0.5, w > 0, strict=True)])
    return mean((p - y) ** 2 * maps, w)


def skeleton(image, counted, iterations):
    """Shit et al. 2021, algorithm 1, with scipy's grey morphology."""
    cross, block = ndimage.generate_binary_structure(image.ndim, 1), np.ones([3] * image.ndim)

    def erode(x):
        x = np.where(counted, x, np.inf)
        return np.where(counted, ndimage.grey_erosion(x, footprint=cross, mode="constant", cval=np.inf), 0)

    def opened(x):
        x = np.where(counted, erode(x), -np.inf)
        return np.where(counted, ndimage.grey_dilation(x, footprint=block, mode="constant", cval=-np.inf), 0)

    image = np.where(counted, image, 0)
    result = np.maximum(image - opened(image), 0)
    for _ in range(iterations):
        image = erode(image)
        left = np.maximum(image - opened(image), 0)
        result = result + np.maximum(left - result * left, 0)
    return result


def cldice(y, p, w, iterations=10, smooth=1.0):
    above, below = (smooth, smooth) if np.isscalar(smooth) else smooth
    line_y, line_p = ([skeleton(i, c, iterations) for i, c in zip(part, w > 0, strict=True)] for part in (y, p))
    precision = ((w * line_p * y).sum() + above) / ((w * line_p).sum() + below)
    sensitivity = ((w * line_y * p).sum() + above) / ((w * line_y).sum() + below)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def jaccard_loss(wrong, y, w):
    """Weighted Jaccard loss where the pixels `wrong` are wrong and the others right."""
    union = (w * y).sum() + (w * (1 - y))[wrong].sum()
    return 1 - (w * y)[~wrong].sum() / union if union > 0 else 0.0


def lovasz(y, p, w, hinge):
    """The Choquet integral: each step between errors times the Jaccard loss of all pixels whose error is larger."""
    y, p, w = (part.ravel() for part in (y, p, w))
    if hinge:
        with np.errstate(divide="ignore"):
            errors = np.maximum(1 - np.log(p / (1 - p)) * (2 * y - 1), 0)
    else:
        errors = np.abs(y - p)
    steps = np.unique(np.append(errors, 0.0))[::-1]
    levels = [(errors >= high, high - low) for high, low in zip(steps[:-1], steps[1:], strict=True)]
    return sum(step * jaccard_loss(wrong, y, w) for wrong, step in levels)
