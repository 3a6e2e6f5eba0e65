"""Verdicts on what a document claims, from comparisons of kinds of models."""

from kseg.stats import ENOUGH, SEEDS

NEARLY = 0.02  # scores that differ by no more are alike
TESTED = (
    "Differences are paired by case and by seed. Interval (95 %) and p allow for other seeds and other cases that "
    "might have been drawn: t of the mean, the variances of the means of seeds and of the means of cases added (min F' "
    "of Clark 1973, Satterthwaite's degrees of freedom). A comparison holds if p is below 0.05, after Holm's "
    f"correction where several are made; below {SEEDS} seeds or {ENOUGH} cases no test decides anything. Of few seeds "
    "small p are less rare than they say: by simulation, with three seeds and no difference anywhere, seven to ten "
    "comparisons call one sure in one study of five or six, with five seeds in one of twelve to twenty; so take five "
    "seeds for what matters. A claim is *supported* if all its comparisons hold, *contradicted* if "
    "all hold the other way round, *partly supported* if some hold and none the other way round, else *not supported*, "
    "which with few seeds may only mean that they do not suffice."
)
NONE = "a kind of model that it speaks of was not trained"


def ordered(comparisons, names=None, extreme=False):
    """(verdict, why) of a claim that every first is above its second.

    Args:
        comparisons: list of `kseg.stats.Comparison`.
        names: {what: words for it}.
        extreme: whether it claims a best or a worst of all, which a single comparison the other way round refutes.
    """
    if why := missing(comparisons, names):
        return "not decided", why
    held, against = ([each for each in comparisons if getattr(each, how)] for how in ("holds", "reversed"))
    if len(held) == len(comparisons):
        verdict = "supported"
    elif len(against) == len(comparisons) or (extreme and against):
        verdict = "contradicted"
    elif held and not against:
        verdict = "partly supported"
    else:
        verdict = "not supported"
    return verdict, said(comparisons, names)


def alike(comparisons, names=None, nearly=NEARLY, gains=False):
    """(verdict, why) of a claim that no two differ by more than `nearly`; by intervals alone.

    With `gains` a first may be above its second by any amount: only to lose counts.
    """
    if why := missing(comparisons, names, tested=False):
        return "not decided", why
    inside = [each.low > -nearly and (gains or each.high < nearly) for each in comparisons]
    outside = [each.high < -nearly or (each.low > nearly and not gains) for each in comparisons]
    verdict = "supported" if all(inside) else "contradicted" if any(outside) else "not supported"
    widest = max(comparisons, key=lambda each: -each.low if gains else max(-each.low, each.high))
    word, asked, which = ("kept", "above -", "lowest") if gains else ("alike", "within ", "widest")
    opening = word if verdict == "supported" else f"{word} would be"
    why = f"{opening}: intervals of all differences {asked}{nearly:.3g}; the {which} is {widest.said(names, False)}"
    return verdict, why


def missing(comparisons, names=None, tested=True):
    """Why comparisons decide nothing, in words; empty if they do."""
    if not comparisons:
        return NONE
    lacking = [each.undecidable for each in comparisons if each.undecidable]
    return f"{lacking[0]}: {said(comparisons, names, tested)}" if lacking else ""


def said(comparisons, names=None, tested=True):
    """Comparisons in words."""
    return "; ".join(each.said(names, tested) for each in comparisons)
