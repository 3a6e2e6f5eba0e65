"""Verdicts on what a document claims, from comparisons of kinds of models."""

NEARLY = 0.02  # scores that differ by no more are alike
NONE = "a kind of model that it speaks of was not trained"


def ordered(comparisons, names=None):
    """(verdict, why) of a claim that every first is above its second.

    Args:
        comparisons: list of `kseg.stats.Comparison`.
        names: {what: words for it}.
    """
    if not comparisons:
        return "not decided", NONE
    if not all(each.decidable for each in comparisons):
        few, needed = min(each.cases for each in comparisons), max(each.needed for each in comparisons)
        return "not decided", f"{few} cases without nan are too few, {needed} are needed: " + said(comparisons, names)
    held, against = ([each for each in comparisons if getattr(each, how)] for how in ("holds", "reversed"))
    if len(held) == len(comparisons):
        verdict = "supported"
    elif len(against) == len(comparisons):
        verdict = "contradicted"
    elif held and not against:
        verdict = "partly supported"
    else:
        verdict = "not supported"
    return verdict, said(comparisons, names)


def alike(comparisons, names=None, nearly=NEARLY):
    """(verdict, why) of a claim that no two differ by more than `nearly`; by intervals alone."""
    if not comparisons:
        return "not decided", NONE
    if not all(each.low == each.low for each in comparisons):
        return "not decided", "a comparison has no number: " + said(comparisons, names, False)
    inside = [max(-each.low, each.high) < nearly for each in comparisons]
    outside = [min(abs(each.low), abs(each.high)) > nearly and each.low * each.high > 0 for each in comparisons]
    verdict = "supported" if all(inside) else "contradicted" if any(outside) else "not supported"
    widest = max(comparisons, key=lambda each: max(-each.low, each.high))
    return (
        verdict,
        f"nearly: intervals of all differences within {nearly:.3g}; the widest is {widest.said(names, False)}",
    )


def said(comparisons, names=None, tested=True):
    """Comparisons in words."""
    return "; ".join(each.said(names, tested) for each in comparisons)
