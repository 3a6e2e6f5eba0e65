"""Every number of D2, computed by kseg, beside what the document prints."""

import numpy as np
from scipy.special import expit

from kseg import losses, ops
from kseg.metrics import counts as C
from kseg.metrics import means, sets
from kseg.studies.worked_gradients import (
    bce_gradient,
    bce_sum,
    dice_gradient,
    log_dice_gradient,
    log_dice_loss,
    weighted_cce_sum,
)
from kseg.studies.worked_question import opposite_gradients
from kseg.studies.worked_table import Row

# The 3 x 3 example of S2.10; p22 is P[1, 1], and P above 0.5 is the mask of S2.4.
P = np.array([[0.12, 0.83, 0.23], [0.89, 0.94, 0.36], [0.23, 0.06, 0.18]])
G = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]])
SINGLE = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
P22, P23, P32 = (1, 1), (1, 2), (2, 1)
BOTH_CHANNELS = np.stack([1 - P, P], -1)


def rows():
    """The rows of the whole table, in the order of the document."""
    return [*_basics(), *_accuracy(), *_masks(), *_dice(), *_slopes(), *_sizes(), *_questions(), *_cross_entropy()]


def _basics():
    numbers, pair = np.arange(1, 1001), [3, 90]
    return [
        Row("S2.1", "log(1)", "0", np.log(1.0)),
        Row("S2.1", "log_2(8) = ln 8 / ln 2", "", np.log(8) / np.log(2)),
        Row("S2.1", "sigmoid(0)", "0.5", expit(0.0)),
        Row("S2.1", "derivative of the sigmoid at 0, s (1 - s)", "", expit(0.0) * (1 - expit(0.0))),
        Row("S2.2", "geometric mean of 3.3 and 90", "sqrt(297)", means.geometric_mean([3.3, 90])),
        Row("S2.2", "geometric mean of 3 and 99", "sqrt(297)", means.geometric_mean([3, 99])),
        Row("S2.2", "geometric mean of 3 and 90", "", means.geometric_mean(pair)),
        Row("S2.2", "harmonic mean of 3 and 90, 2ab / (a + b)", "", means.harmonic_mean(pair)),
        Row("S2.2", "arithmetic mean of 1, 2, .. 1000", "", means.arithmetic_mean(numbers)),
        Row("S2.2", "geometric mean of 1, 2, .. 1000", "", means.geometric_mean(numbers)),
        Row("S2.2", "harmonic mean of 1, 2, .. 1000", "", means.harmonic_mean(numbers)),
    ]


def _accuracy():
    truth = np.zeros((1000, 1000), int)
    truth[450:550, 450:550] = 1
    counts = C.confusion_counts(truth, np.zeros_like(truth), 2)
    background, foreground = C.class_accuracies(counts)
    return [
        Row("S2.3", "pixel accuracy of 'all background', 1 % foreground", "99 %", C.pixel_accuracy(counts)),
        Row("S2.3", "accuracy of 'all background' on the background", "100 %", background),
        Row("S2.3", "accuracy of 'all background' on the foreground", "0 %", foreground),
        Row("S2.3", "mean of these two", "50 %", C.mean_class_accuracy(counts)),
    ]


def _masks():
    predicted = (P > 0.5).astype(int)
    both, either = sets.intersection(predicted, G), sets.union(predicted, G)
    counts = C.confusion_counts(G, predicted, 2)
    tp, fp, fn, tn = (int(number[1]) for number in counts)
    precision, recall = C.precision(counts)[1], C.recall(counts)[1]
    return [
        Row("S2.10", "P above 0.5", "[[0, 1, 0], [1, 1, 0], [0, 0, 0]]", predicted),
        Row("S2.4", "P ∩ G", "[[0, 1, 0], [0, 1, 0], [0, 0, 0]]", both.astype(int)),
        Row("S2.4", "P ∪ G", "[[0, 1, 0], [1, 1, 1], [0, 0, 0]]", either.astype(int)),
        Row("S2.4", "count of P ∩ G", "2", sets.count(both)),
        Row("S2.4", "count of P ∪ G", "4", sets.count(either)),
        Row("S2.5", "IoU of P and G", "", sets.mask_iou(G, predicted)),
        Row("S2.6", "true positives (marked in the union)", "2", tp),
        Row("S2.6", "false positives (marked in the union)", "1", fp),
        Row("S2.6", "false negatives (marked in the union)", "1", fn),
        Row("S2.6", "true negatives", "", tn),
        Row("S2.6", "precision", "", precision),
        Row("S2.6", "recall", "", recall),
        Row("S2.6", "F1, their harmonic mean", "", means.harmonic_mean([precision, recall])),
        Row("S2.6", "F1 = 2 count(P ∩ G) / (count P + count G)", "", sets.mask_f1(G, predicted)),
        Row("S2.6", "accuracy", "", C.accuracy(counts)[1]),
        Row(
            "S2.7", "F1 = 2 IoU / (1 + IoU) from the IoU of P and G", "", sets.f1_from_iou(sets.mask_iou(G, predicted))
        ),
        Row("S2.7", "F1 where the IoU is 0", "0", sets.f1_from_iou(0.0)),
        Row("S2.7", "F1 where the IoU is 1", "1", sets.f1_from_iou(1.0)),
    ]


def _dice():
    product = (P * G).sum()
    squares, size = (P**2).sum(), (P**2).sum() + (G**2).sum()
    score = sets.dice_coefficient(G, P)
    as_matrices = f"{2 * np.abs(P @ G).sum():.2f}"
    return [
        Row("S2.10", "2 ‖P·G‖₁, products of elements", "4.26", 2 * product),
        Row("S2.10", "2 ‖P·G‖₁, if it were a product of matrices", as_matrices, 2 * product, "E2.5", formula=True),
        Row("S2.10", "I = ‖P·G‖₁", "2.13", product),
        Row("S2.10", "‖P‖²", "2.6651", squares, "E2.2"),
        Row("S2.10", "‖G‖²", "3", (G**2).sum()),
        Row("S2.10", "D = ‖P‖² + ‖G‖²", "5.6651", size, "E2.2"),
        Row("S2.10", "l_D(P, G)", "0.752", score, "E2.2"),
        Row("S2.10", "loss 1 - l_D", "", losses.dice_square(G[None], P[None, ..., None], smooth=0.0)[0]),
        Row("S2.8", "l_D(G, G)", "1", sets.dice_coefficient(G, G)),
        Row("S2.8", "l_D(0, G)", "0", sets.dice_coefficient(G, 0 * P)),
        Row("S2.8", "l_D(P, G) without squares", "", sets.dice_coefficient(G, P, squared=False)),
        Row("S2.13", "-log l_D", "", log_dice_loss(G, P)),
        Row("S2.13", "d(-log l_D)/dp22", "", log_dice_gradient(G, P)[P22]),
    ]


def _slopes():
    size, alone = (P**2).sum() + 3, (P**2).sum() + 1
    both, mine = (P * G).sum(), P[P22]
    gradient, single = dice_gradient(G, P), dice_gradient(SINGLE, P)
    return [
        Row("S2.10", "distance of p22 to its label", "0.06", abs(G[P22] - P[P22])),
        Row("S2.10", "distance of p32 to its label", "0.06", abs(G[P32] - P[P32])),
        Row("S2.10", "D in dl_D/dp22", "5.665", size, "E2.2"),
        Row("S2.10", "first term of dl_D/dp22, 2 / D", "0.353", 2 / size, "E2.2"),
        Row("S2.10", "second term of dl_D/dp22, 4 p22 I / D²", "0.25", 4 * mine * both / size**2),
        Row("S2.10", "dl_D/dp22", "0.103", gradient[P22]),
        Row("S2.10", "label of p32 in dl_D/dp32 (the document names g23)", str(G[P23]), G[P32], "E2.3", formula=True),
        Row("S2.10", "first term of dl_D/dp32", "0", 2 * G[P32] / size),
        Row("S2.10", "dl_D/dp32", "-0.0159", gradient[P32], "E2.2"),
        Row("S2.9", "dl_D/dP, all of it", "", gradient),
        Row("S2.9", "dl_D/dP at P = G, largest entry", "0", np.abs(dice_gradient(G, G)).max()),
        Row("S2.9", "dl_D/dP at P = G, without squares", "", dice_gradient(G, G, squared=False)),
        Row("S2.11", "‖G*‖², p22 the only pixel of its class", "1", (SINGLE**2).sum()),
        Row("S2.11", "I = ‖P·G*‖₁", "0.94", (P * SINGLE).sum()),
        Row("S2.11", "D with G*", "3.665", alone, "E2.2"),
        Row("S2.11", "first term of dl_D(P, G*)/dp22, 2 / D", "0.546", 2 / alone, "E2.2"),
        Row("S2.11", "second term of dl_D(P, G*)/dp22, 4 p22² / D²", "0.263", 4 * mine**2 / alone**2, "E2.2"),
        Row("S2.11", "dl_D(P, G*)/dp22", "0.283", single[P22]),
        Row("S2.11", "l_D(P, G*)", "", sets.dice_coefficient(SINGLE, P)),
        Row("S2.11", "loss 1 - l_D(P, G*)", "", losses.dice_square(SINGLE[None], P[None, ..., None], smooth=0.0)[0]),
    ]


def _sizes():
    one, three, nine = (dice_gradient(np.arange(9).reshape(3, 3) < size, 0 * P)[0, 0] for size in (1, 3, 9))
    power = np.log(nine / one) / np.log(9)
    return [
        Row("S2.12", "dl_D/dp at P = 0, one pixel in the class", "1", one, "E2.4"),
        Row("S2.12", "dl_D/dp at P = 0, three pixels in the class", "", three),
        Row("S2.12", "dl_D/dp at P = 0, all nm = 9 pixels in the class", "1/9", nine, "E2.4", formula=True),
        Row("S2.12", "power of the class size in dl_D/dp at P = 0", "1", power, "E2.4", formula=True),
        Row("S2.12", "dl_D/dp at P = 0 where the label is 0", "0", dice_gradient(G, 0 * P)[0, 0]),
    ]


def _questions():
    pair = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0]])
    (solution,) = opposite_gradients(pair, P, P22, P23, changed=P23).values
    changed = P.copy()
    changed[P23] = solution
    slopes = dice_gradient(pair, changed)
    nearly = np.where(np.arange(9).reshape(3, 3) == 5, 0.36, G)
    neither = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    by_class = [sets.dice_coefficient(y, p) for y, p in ((1 - G, 1 - P), (G, P))]
    names = ("dice_square", "dice", "dicefg", "dicefg_square")
    values = {name: losses.get(name)(G[None], BOTH_CHANNELS[None]) for name in names}
    return [
        Row("S2.14", "p23 for dl_D/dp22 = -dl_D/dp23, G = {(1,2), (2,2)}", "", solution),
        Row("S2.14", "dl_D/dp22 with that p23", "", slopes[P22]),
        Row("S2.14", "dl_D/dp23 with that p23", "", slopes[P23]),
        Row("S2.14", "number of such p23 with both labels 1", "", len(_solutions(G, P))),
        Row("S2.14", "the largest, and only, one with P = G elsewhere", "", max(_solutions(G, nearly))),
        Row("S2.14", "number of such p23 with both labels 0, G = {(1,2)}", "", len(_solutions(neither, P))),
        Row("S2.15", "1 - mean of l_D over background and foreground", "", 1 - np.mean(by_class)),
        *(Row("S2.15", f"loss {name} of the two channels", "", value) for name, value in values.items()),
    ]


def _solutions(y, p):
    return opposite_gradients(y, p, P22, P23, changed=P23).values


def _cross_entropy():
    labels, weight = np.stack([1 - G, G], -1), np.ones((3, 3))
    total, doubled = float(bce_sum(G, P)), np.where(np.arange(9).reshape(3, 3) == 3, 2.0, 1.0)
    plain_weight = float(weighted_cce_sum(labels, BOTH_CHANNELS, weight))
    more = float(weighted_cce_sum(labels, BOTH_CHANNELS, doubled)) - plain_weight
    third = -G / P - (1 - G) / (1 - P)
    last = np.where(G == 1, -1 / P, 1 / (1 - P))
    as_printed = (weight * np.log(np.where(G == 1, P, 1 - P))).sum()
    gap = ops.unet_weight_map([[1, 1, 0, 2, 2]])[0, 2]
    slopes = bce_gradient(G, P)
    return [
        Row("S2.16", "l_CE, the sum over the image", "", total),
        Row("S2.16", "l_CE, the mean over the image", "", losses.bce(G[None], P[None, ..., None])[0]),
        Row("S2.16", "dl_CE/dp32 (by the third line)", f"{third[P32]:.4f}", slopes[P32], "E2.6", formula=True),
        Row("S2.16", "dl_CE/dp32 (by the last line)", f"{last[P32]:.4f}", slopes[P32], formula=True),
        Row("S2.16", "dl_CE/dp22 (by the last line)", f"{last[P22]:.4f}", slopes[P22], formula=True),
        Row("S2.16", "dl_CE/dP, all of it", "", slopes),
        Row(
            "S2.17",
            "weighted cross-entropy, w = 1 (by the formula)",
            f"{as_printed:.4f}",
            plain_weight,
            "E2.7",
            formula=True,
        ),
        Row("S2.17", "what w = 2 at p21 adds, -log(1 - p21)", "", more),
        Row("S2.17", "U-Net's weight of the pixel between two objects", "", gap),
    ]
