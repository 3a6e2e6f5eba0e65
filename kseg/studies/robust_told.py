"""Claims of D4 that are told by numbers, without a test (S4.13, S4.15)."""

import numpy as np

from kseg.studies.robust_models import ORIGINAL, PLATEAU
from kseg.studies.verdicts import NONE

ALIKE, MOST = 30.0, 0.95  # dB above which the noise of a picture is hard to see, in so large a share of the images
SIGNS = 5  # seeds of which equal signs by chance are rare enough (1 in 16) to be told as a finding


def visible(result):
    """(verdict, why): whether methods one and two leave the training images visually alike."""
    told, verdicts = [], {}
    for name in dict.fromkeys(name for _, name in result.records):
        records = [record for (_, each), record in result.records.items() if each == name]
        psnr = np.concatenate([record["psnr"] for record in records])
        largest = np.concatenate([record["largest"] for record in records])
        share = float((psnr >= ALIKE).mean())
        verdicts[name] = share >= MOST
        told.append(
            f"{name}: {100 * share:.0f} % of {len(psnr)} images with at least {ALIKE:g} dB (median "
            f"{np.quantile(psnr, 0.5, method='inverted_cdf'):.1f} dB), largest change {100 * np.median(largest):.1f} % "
            f"of the range (median), {100 * largest.max():.1f} % (most)"
        )
    if not verdicts:
        return "not decided", "no images were perturbed"
    held = list(verdicts.values())
    verdict = "supported" if all(held) else "partly supported" if any(held) else "contradicted"
    least = -20 * np.log10(result.budget * len(result.classes))
    bound = f"the budget alone leaves {least:.0f} dB at least"
    opening = "alike" if all(held) else "alike would be"
    return verdict, f"{opening}: {100 * MOST:.0f} % of the images with {ALIKE:g} dB or more; {bound}; {'; '.join(told)}"


def calm(result):
    """(verdict, why): whether validation losses fluctuate less with a plateau; by signs, of `SIGNS` seeds or more."""
    if PLATEAU not in result.labels:
        return "not decided", NONE
    adapted = result.fluctuation(PLATEAU)
    plain = {seed: value for seed, value in result.fluctuation(ORIGINAL).items() if seed in adapted}
    change = np.array([adapted[seed] - plain[seed] for seed in plain])
    if not np.isfinite(change).all():
        return "not decided", "too few epochs"
    rates = [result.histories[entry.name].get("learning_rate", [np.nan]) for entry in result.models(PLATEAU)]
    told = "; ".join(f"seed {seed}: {plain[seed]:.3f} plain, {adapted[seed]:.3f} adapted" for seed in plain)
    why = (
        "standard deviation of the changes from epoch to epoch over the mean, later half of the epochs; the rate "
        f"fell in {sum(min(each) < max(each) for each in rates)} of {len(rates)} runs; {told}"
    )
    if not all(min(each) < max(each) for each in rates):
        return "not decided", f"{why}; nothing adapted in some runs"
    if len(change) < SIGNS:
        return "not decided", f"{why}; {len(change)} seed{'s' * (len(change) > 1)}, {SIGNS} are needed (--seeds)"
    verdict = "supported" if (change < 0).all() else "contradicted" if (change > 0).all() else "not supported"
    return verdict, why
