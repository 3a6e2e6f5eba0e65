"""Signs that a model only seems robust: pure functions of what was measured, each a flag.

What to look for: Athalye, Carlini, Wagner 2018 (obfuscated gradients); Carlini et al. 2019 (on evaluating adversarial
robustness); Tramer et al. 2020 (on adaptive attacks); Pintor et al. 2022 (indicators of attack failure).
"""

from itertools import pairwise

import numpy as np

from kseg.stats import bootstrap_interval
from kseg.studies.attack_questions import FAR, FINE, NOTHING, SUSPICIOUS, Flag

MARGIN = 0.01  # of mean IoU: smaller differences decide nothing
RISE = 0.01  # of a loss, as a share of it
TINY = 1e-12  # a gradient of the probability below it is as good as none


def noise(control, attacks):
    """Whether noise leaves a lower score than some attack of the same budget.

    Args:
        control: {eps: mean IoU of every case `[cases]`} under noise.
        attacks: {attack: {eps: `[cases]`}}.
    """
    return _against("noise", "noise", control, attacks)


def black_box(box, attacks, eps):
    """Whether a black box leaves a lower score than the strongest attack with gradients.

    Args:
        box: mean IoU of every case `[cases]`.
        attacks: {attack: `[cases]`}, all of the budget `eps`.
    """
    name = min(attacks, key=lambda each: np.mean(attacks[each]))
    return _against("black box", "square", {eps: box}, {name: {eps: attacks[name]}})


def _against(flag, rival, control, attacks):
    """The flag that is suspicious where the score under an attack is clearly above that under a rival."""
    gaps = {(name, eps): _gap(of[eps], control[eps]) for name, of in attacks.items() for eps in of}
    clear = [where for where, gap in gaps.items() if _clear(gap)]
    name, eps = max(clear or gaps, key=lambda where: gaps[where][0])
    own, other = float(np.mean(attacks[name][eps])), float(np.mean(control[eps]))
    text = f"{name} at eps {eps:.3g} leaves {own:.3f}, {rival} {other:.3f}{_more(len(clear) - 1)}"
    numbers = {"attack": name, "eps": eps, "mean_iou": own, f"{rival}_mean_iou": other, **_numbers(gaps[name, eps])}
    return Flag(flag, SUSPICIOUS if clear else FINE, text if clear else f"nearest: {text}", numbers)


def budget(clean, curves, losses):
    """Whether the score of an attack rises with its budget, or its loss falls, or the score falls nowhere.

    Args:
        clean: mean IoU of every case `[cases]` without an attack.
        curves: {attack: {eps: `[cases]`}}; leave out attacks of one step, which may well overshoot.
        losses: {attack: {eps: loss of every case `[cases]`}} of those that keep the highest loss.
    """
    rises = [(_gap(of[b], of[a]), name, a, b) for name, of in curves.items() for a, b in pairwise(sorted(of))]
    clear = [rise for rise in rises if _clear(rise[0])]
    if clear:
        gap, name, a, b = max(clear, key=lambda rise: rise[0][0])
        text = f"{name}: {gap[0]:.3f} higher at eps {b:.3g} than at {a:.3g}{_more(len(clear) - 1)}"
        return Flag("budget", SUSPICIOUS, text, {"attack": name, "from": a, "to": b, **_numbers(gap)})
    drops = {
        (name, a, b): tuple(bound / max(float(np.mean(of[a])), 1e-12) for bound in _gap(of[a], of[b]))
        for name, of in losses.items() for a, b in pairwise(sorted(of))
    }  # fmt: skip
    clear = [where for where, drop in drops.items() if _clear(drop, RISE)]
    if clear:
        name, a, b = max(clear, key=lambda where: drops[where][0])
        text = f"{name}: loss {np.mean(losses[name][a]):.3g} at eps {a:.3g}, {np.mean(losses[name][b]):.3g} at {b:.3g}"
        numbers = {"attack": name, "from": a, "to": b, **_numbers(drops[name, a, b])}
        return Flag("budget", SUSPICIOUS, f"{text}{_more(len(clear) - 1)}", numbers)
    falls = {name: _gap(clean, of[max(of)]) for name, of in curves.items()}
    name = min(falls, key=lambda each: falls[each][0])
    gap = falls[name]
    text = f"least: {name} lowers it by {gap[0]:.3f} at eps {max(curves[name]):.3g}, from {np.mean(clean):.3f}"
    flat = gap[0] < MARGIN
    return Flag("budget", SUSPICIOUS if flat else FINE, text, {"attack": name, **_numbers(gap)})


def steps(losses):
    """Whether the loss falls as steps are added, or is no higher in the end than without any.

    Args:
        losses: {"last" or "best": {number of steps: loss of every image `[n]`}}: what is kept of the steps; 0 steps are
            the images as they are.
    """
    drops, stuck = [], False
    for of in losses.values():
        stuck |= not np.mean(of[max(of)]) > np.mean(of[min(of)])
        for a, b in pairwise(sorted(of)):
            scale = max(float(np.mean(of[a])), 1e-12)
            drops.append(tuple(bound / scale for bound in _gap(of[a], of[b])))
    suspicious = stuck or any(_clear(drop, RISE) for drop in drops)
    numbers = {kept: {n: float(np.mean(of[n])) for n in sorted(of)} for kept, of in losses.items()}
    told = "; ".join(
        f"{', '.join(f'{loss:.3g}' for loss in of.values())} after {', '.join(map(str, of))} steps, the {kept} kept"
        for kept, of in numbers.items()
    )
    return Flag("steps", SUSPICIOUS if suspicious else FINE, f"mean loss {told}", numbers)


def converged(few, many):
    """Whether more steps lower the score by far; of {number of steps: mean IoU of every case `[cases]`} each."""
    (a, before), (b, after) = (next(iter(each.items())) for each in (few, many))
    gap = _gap(before, after)
    text = f"{np.mean(before):.3f} after {a} steps, {np.mean(after):.3f} after {b}"
    return Flag("converged", SUSPICIOUS if _clear(gap, FAR) else FINE, text, {"steps": [a, b], **_numbers(gap)})


def large_budget(accuracy, iou, constant):
    """Whether a budget as large as the range of values leaves something.

    Args:
        accuracy, iou: pixel accuracy and foreground IoU of every case `[cases]`.
        constant: the two for the best predictions that are one class all over.
    """
    accuracy, iou = float(np.mean(accuracy)), float(np.mean(iou))
    left = accuracy > constant[0] + MARGIN or iou > max(constant[1], NOTHING)
    text = f"accuracy {accuracy:.3f} (one class all over {constant[0]:.3f}), foreground IoU {iou:.3f}"
    numbers = {"accuracy": accuracy, "iou": iou, "constant_accuracy": constant[0], "constant_iou": constant[1]}
    return Flag("large budget", SUSPICIOUS if left else FINE, text, numbers)


def gradients(loss, probability):
    """Whether images have no gradient; of the largest |g| of each image `[n]`, of loss and of foreground probability.

    A gradient of the loss counts as none if it is exactly 0, one of the probability below 1e-12.
    """
    loss, probability = np.asarray(loss), np.asarray(probability)
    none, faint = float(np.mean(~(loss > 0))), float(np.mean(~(probability >= TINY)))
    text = f"of the loss none in {none:.0%} of the images, of the probability none in {faint:.0%}"
    text += f"; medians {np.median(loss):.2g} and {np.median(probability):.2g}"
    numbers = {"none_of_loss": none, "none_of_probability": faint}
    return Flag("gradients", SUSPICIOUS if none or faint else FINE, text, numbers)


def one_step(one, many):
    """Whether one step does more harm than many of the same budget.

    Args:
        one, many: dicts `mean_iou`, `loss` of every case `[cases]`.
    """
    gap, scale = _gap(many["mean_iou"], one["mean_iou"]), max(float(np.mean(many["loss"])), 1e-12)
    lead = tuple(bound / scale for bound in _gap(one["loss"], many["loss"]))
    both = {"one": one, "many": many}
    means = {f"{who}_{name}": float(np.mean(values)) for who, each in both.items() for name, values in each.items()}
    text = f"mean IoU {means['one_mean_iou']:.3f} after one step, {means['many_mean_iou']:.3f} after many; "
    text += f"loss {means['one_loss']:.3g} and {means['many_loss']:.3g}"
    suspicious = _clear(gap) or _clear(lead, RISE)
    return Flag("one step", SUSPICIOUS if suspicious else FINE, text, means | _numbers(gap))


def losses(one, ensemble, name="cce"):
    """Whether an attack on one loss is far weaker than the ensemble; mean IoU of every case `[cases]` each."""
    gap = _gap(one, ensemble)
    text = f"pgd on {name} leaves {np.mean(one):.3f}, the ensemble {np.mean(ensemble):.3f}"
    return Flag("losses", SUSPICIOUS if _clear(gap, FAR) else FINE, text, {"loss": name, **_numbers(gap)})


def _gap(higher, lower):
    """(mean, low, high) of the paired difference over cases."""
    difference = np.asarray(higher, np.float64) - np.asarray(lower, np.float64)
    return float(np.mean(difference)), *bootstrap_interval(difference)


def _clear(gap, margin=MARGIN):
    """Whether a difference is above the margin and not by chance; with a single case the margin alone decides."""
    mean, low, _ = gap
    return mean > margin and not low <= 0


def _numbers(gap):
    return dict(zip(("difference", "low", "high"), gap, strict=True))


def _more(count):
    return f", and {count} more of the kind" if count > 0 else ""
