"""What is measured of one model of the comparison of losses: scores of each test case (S3.10)."""

import numpy as np

from kseg import inference
from kseg import metrics as M
from kseg.studies.rows import choose_rows

FORM = "kseg comparison measures 1"
EXAMPLES = 3
SURFACES = ("hd95", "assd", "surface_dice")


def measure(model, data, surfaces, batch_size, examples):
    """Score a model on the test split.

    Args:
        model: gives probabilities `[B, H, W, K]`.
        data: an open data set.
        surfaces: of `kseg.inference.plan_surfaces`; None measures none.
        batch_size: images a batch.
        examples: rows of the test split `[n]` whose predictions are kept.

    Returns:
        {name: array}: "counts" `[4, cases, K]` of pixels without padding, "ece" and "brier" `[cases]` (of the most
        probable class in 15 bins; see `kseg.metrics`), with `surfaces` "hd95", "assd" and "surface_dice" `[cases, K]`,
        "examples" `[n, H, W]` uint8.
    """
    see, index, classes = inference.forward(model, data.shape), data.index("test"), len(data.classes)
    found = {"counts": [], "ece": [], "brier": [], "examples": []}
    for _, rows in inference.cases_of(index):
        images, masks = data.read("test", rows.start, rows.stop)
        p = np.concatenate([see(images[i : i + batch_size]).numpy() for i in range(0, len(images), batch_size)])
        ids = (p[..., 0] > 0.5).astype(np.uint8) if p.shape[-1] == 1 else p.argmax(-1).astype(np.uint8)
        own = {key: values[rows] for key, values in index.items()}
        (case,) = inference.count_cases(masks, ids, own, classes, surfaces)
        truth, scores = (inference.assemble(part, own, slice(0, len(masks))) for part in (masks, p))
        found["counts"].append(case.counts)
        found["ece"].append(M.expected_calibration_error(truth, scores))
        found["brier"].append(M.brier_score(truth, scores))
        for key in SURFACES if surfaces else ():
            found.setdefault(key, []).append(case.surface[key])
        found["examples"] += [ids[row - rows.start] for row in examples if rows.start <= row < rows.stop]
    arrays = {name: np.stack(values) for name, values in found.items()}
    return arrays | {"counts": np.moveaxis(arrays["counts"], 1, 0)}


def example_rows(data):
    """Rows of the test split to show, with foreground, spread over the cases."""
    return choose_rows(data, "test", EXAMPLES)
