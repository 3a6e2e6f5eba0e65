"""Record what other libraries give for surface distances, boundary IoU and calibration: `metrics.npz`.

They need PyTorch and fixed versions, so this runs in an environment of its own and the tests read the file:

    python3.11 -m venv peers
    peers/bin/pip install numpy scipy surface-distance==0.1 MedPy==0.5.2 monai==1.6.1 \
        torchmetrics==1.9.0 opencv-python-headless
    peers/bin/python tests/parity/make_metric_peers.py [FOLDER]

FOLDER is where the file goes, this script's folder by default. It holds the pairs of masks (`true_NAME`,
`pred_NAME`), the probabilities, and `results`, a JSON list of {"pair", "spacing", "peer", "values"}. A second run
writes the same bytes.
"""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import cv2
import monai.metrics as monai
import numpy as np
import surface_distance as deepmind
import torch
import torchmetrics.functional.classification as torchmetrics
from medpy.metric import binary as medpy
from scipy import ndimage

TOLERANCES = (0.4, 1.0, 2.5)
PERCENTILES = (45, 95, 100)  # at 50, half a symmetric surface, surface-distance goes by the rounding of a sum


def blobs(shape, seed, shift=0.15):
    """Two alike masks with holes and islands: smooth noise above its mean, one of them with other noise added."""
    rng = np.random.default_rng(seed)
    noise = [ndimage.gaussian_filter(rng.normal(size=shape), 2) for _ in range(2)]
    noise = [n / n.std() for n in noise]
    return noise[0] > 0.3, noise[0] + 3 * shift * noise[1] > 0.3


def pairs():
    """{name: (true, pred)}: ragged masks that touch the edge, single voxels, a bar beside a square."""
    dots = np.zeros((2, 6, 7, 8), bool)
    dots[0, 1, 2, 3] = dots[1, 4, 5, 6] = True
    flat = np.zeros((2, 12, 15), bool)
    flat[0, 3:9, 3:9] = flat[1, 2:5, 3:14] = True
    return {
        "image": blobs((40, 50), 0), "image_2": blobs((33, 21), 1, 0.5), "flat": tuple(flat),
        "volume": blobs((14, 20, 24), 2), "volume_2": blobs((22, 9, 13), 3, 0.5), "dots": tuple(dots),
    }  # fmt: skip


def of_deepmind(true, pred, spacing):
    distances = deepmind.compute_surface_distances(true, pred, spacing)
    there, back = deepmind.compute_average_surface_distance(distances)
    return {
        "hausdorff": [deepmind.compute_robust_hausdorff(distances, p) for p in PERCENTILES],
        "average_true_to_pred": there, "average_pred_to_true": back,
        "dice": [deepmind.compute_surface_dice_at_tolerance(distances, t) for t in TOLERANCES],
    }  # fmt: skip


def of_medpy(true, pred, spacing):
    return {name: getattr(medpy, name)(pred, true, spacing) for name in ("hd", "hd95", "asd", "assd")}


def of_monai(true, pred, spacing):
    batch = [torch.tensor(mask[None, None].astype(np.float32)) for mask in (pred, true)]
    options = {"include_background": True, "spacing": list(spacing)}
    hausdorff = [monai.compute_hausdorff_distance(*batch, percentile=p, **options).item() for p in PERCENTILES]
    averages = [monai.compute_average_surface_distance(*batch, symmetric=s, **options).item() for s in (False, True)]
    dice = {
        name: [monai.compute_surface_dice(*batch, [t], use_subvoxels=sub, **options).item() for t in TOLERANCES]
        for name, sub in (("dice", False), ("dice_subvoxels", True))
    }
    return {"hausdorff": hausdorff, "asd": averages[0], "assd": averages[1], **dice}


def of_opencv(true, pred, widths):
    """Boundary IoU with the erosions of Cheng et al. (2021), for each width in pixels."""
    values = []
    for width in widths:
        bounds = []
        for mask in (true, pred):
            padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
            inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
            bounds.append(mask & ~inner.astype(bool))
        values.append(float((bounds[0] & bounds[1]).sum() / (bounds[0] | bounds[1]).sum()))
    return {"widths": list(widths), "boundary_iou": values}


def calibration():
    """Probabilities of 3 classes and of 1, and torchmetrics' expected calibration errors."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (500, 3))
    p = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    truth = (rng.random(500)[:, None] > np.cumsum(p**0.6 / (p**0.6).sum(-1, keepdims=True), -1)).sum(-1)
    tensors = torch.tensor(p), torch.tensor(truth)
    values = {
        str(bins): {
            "top": torchmetrics.multiclass_calibration_error(*tensors, 3, n_bins=bins, norm="l1").item(),
            "maximum": torchmetrics.multiclass_calibration_error(*tensors, 3, n_bins=bins, norm="max").item(),
            "class_2": torchmetrics.binary_calibration_error(tensors[0][:, 2], tensors[1] == 2, bins, "l1").item(),
        }
        for bins in (10, 15)
    }
    return p, truth.astype(np.uint8), values


def main(folder):
    results, arrays = [], {}
    for name, (true, pred) in pairs().items():
        arrays |= {f"true_{name}": true, f"pred_{name}": pred}
        for spacing in ((1.0, 1.0, 1.0), (2.5, 0.7, 1.1)):
            spacing = spacing[-true.ndim :]
            for peer, measure in (("surface-distance", of_deepmind), ("MedPy", of_medpy), ("monai", of_monai)):
                values = measure(true, pred, spacing)
                results.append({"pair": name, "spacing": spacing, "peer": peer, "values": values})
        if true.ndim == 2:
            values = of_opencv(true, pred, (1, 2, 5))
            results.append({"pair": name, "spacing": None, "peer": "opencv", "values": values})
    arrays["probabilities"], arrays["labels"], values = calibration()
    results.append({"pair": None, "spacing": None, "peer": "torchmetrics", "values": values})
    names = ("surface-distance", "MedPy", "monai", "torchmetrics", "opencv-python-headless")
    arrays["results"] = np.array(json.dumps(results))
    arrays["versions"] = np.array(json.dumps({name: version(name) for name in names}))
    np.savez_compressed(folder / "metrics.npz", **arrays)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
