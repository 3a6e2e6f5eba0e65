"""D2's figures (S2.18 and those of S2.1 to S2.6), drawn from kseg's functions and from data made here."""

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.special import expit

from kseg import report
from kseg.metrics import means, sets
from kseg.report import worked
from kseg.studies.worked_gradients import bce_gradient, dice_gradient, log_dice_gradient
from kseg.studies.worked_rows import SINGLE, G, P

CLASSES = ("background", "disc", "square", "triangle")
COLOURS = np.array([(0.42, 0.5, 0.45), (0.85, 0.55, 0.4), (0.4, 0.5, 0.8), (0.8, 0.75, 0.35)])


def drawings():
    """{file name: matplotlib Figure} of all figures."""
    return {
        "worked_log.png": _logarithm(), "worked_sigmoid.png": _sigmoid(), "worked_means.png": _means(),
        "worked_accuracy.png": _accuracy(), "worked_overlap.png": _overlap(), "worked_iou_f1.png": _iou_f1(),
        "worked_gradients.png": _gradients(), "worked_task.png": worked.plot_task(*scene(), CLASSES),
    }  # fmt: skip


def save(folder):
    """Write all figures to a folder."""
    for name, figure in drawings().items():
        report.save_figure(figure, folder / name, dpi=90)


def scene(seed=0, height=180, width=240):
    """A made-up photograph and its classes: `[H, W, 3]` in [0, 1] and ids `[H, W]`, -1 on the rims of the objects.

    Two discs overlap: objects of one class are not told apart.
    """
    rows, columns = np.indices((height, width))

    def disc(row, column, radius):
        return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2

    square = (abs(rows - 118) <= 34) & (abs(columns - 70) <= 34)
    triangle = (rows >= 30) & (rows <= 105) & (abs(columns - 182) <= (rows - 30) * 0.55)
    objects = [(2, square), (3, triangle), (1, disc(52, 62, 30)), (1, disc(60, 100, 26)), (1, disc(142, 190, 24))]
    ids, rims = np.zeros((height, width), int), np.zeros((height, width), bool)
    for number, mask in objects:
        ids[mask] = number
        rims = (rims & ~mask) | (mask & ~binary_erosion(mask, iterations=2))
    rng = np.random.default_rng(seed)
    light = 0.75 + 0.35 * (rows / height) + 0.25 * gaussian_filter(rng.standard_normal(ids.shape), 12) * 12
    texture = 0.05 * gaussian_filter(rng.standard_normal((*ids.shape, 3)), (1, 1, 0))
    return np.clip(COLOURS[ids] * light[..., None] + texture, 0, 1), np.where(rims, -1, ids)


def discs():
    """Two overlapping discs in 64 x 64 pixels: (true, predicted)."""
    rows, columns = np.indices((64, 64))
    places = ((28, 25, 18), (34, 35, 16))
    return tuple((rows - row) ** 2 + (columns - column) ** 2 <= radius**2 for row, column, radius in places)


def _logarithm():
    x = np.linspace(1e-3, 5, 2000)
    lines = {"log(x)": (x, np.log(x)), "-log(x)": (x, -np.log(x))}
    return worked.plot_lines(lines, xlim=(-0.2, 5), ylim=(-5, 5), xlabel="x", ylabel="", axes_lines=True)


def _sigmoid():
    x = np.linspace(-5, 5, 401)
    lines = {"sigmoid(x)": (x, expit(x)), "its derivative": (x, expit(x) * expit(-x))}
    return worked.plot_lines(lines, xlim=(-5, 5), ylim=(-2, 2), xlabel="x", ylabel="", axes_lines=True)


def _means():
    n = np.arange(1, 1001)
    kinds = {"arithmetic": means.arithmetic_mean, "geometric": means.geometric_mean, "harmonic": means.harmonic_mean}
    lines = {name: (n, [kind(n[:last]) for last in n]) for name, kind in kinds.items()}
    return worked.plot_lines(lines, xlim=(0, 1000), ylim=(0, 500), xlabel="n", ylabel="mean of 1, 2, .. n")


def _accuracy():
    mask = np.zeros((1000, 1000), bool)
    mask[450:550, 450:550] = True
    return worked.plot_mask(mask, "1 % foreground: 'all background' is 99 % right")


def _overlap():
    true, predicted = discs()
    iou, f1 = sets.mask_iou(true, predicted), sets.mask_f1(true, predicted)
    formulas = f"IoU = TP / (TP + FP + FN) = {iou:.3f},   F1 = 2 TP / (2 TP + FP + FN) = {f1:.3f}"
    return worked.plot_overlap(true, predicted, formulas)


def _iou_f1():
    iou = np.linspace(0, 1, 101)
    lines = {"F1 = 2 IoU / (1 + IoU)": (iou, sets.f1_from_iou(iou)), "IoU": (iou, iou)}
    return worked.plot_lines(lines, xlim=(0, 1), ylim=(0, 1), xlabel="IoU", ylabel="score")


def _gradients():
    return worked.plot_matrices(
        {
            "prediction P": P,
            "ground truth G": G,
            "dl_D/dP": dice_gradient(G, P),
            "d(-log l_D)/dP": log_dice_gradient(G, P),
            "dl_CE/dP": bce_gradient(G, P),
            "dl_D/dP, only p22 of class 1": dice_gradient(SINGLE, P),
        }
    )
