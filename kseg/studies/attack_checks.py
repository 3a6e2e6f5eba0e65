"""The checks of an evaluation of attacks: what else is run for them, and the flags made of it."""

from kseg.attacks import ATTACKS
from kseg.studies import attack_flags as flags
from kseg.studies.attack_measures import BLACK_BOX, fits, step_numbers
from kseg.studies.attack_questions import MEANING, unchecked
from kseg.studies.attack_scores import by_case, constant_scores, foreground_iou, percent

NEEDED = ("fgsm", "pgd", "ensemble", "square")  # attacks that checks look at, with the middle budget
SWITCHED_OFF = "switched off by --no-checks"
NO_RIVAL = "no attack along gradients with a budget was run"


def planned(config):
    """(attack, eps, label, options) of what is run for the checks alone."""
    wanted = [(name, config.middle, None, {}) for name in NEEDED if name not in config.attacks]
    for steps in step_numbers(config.steps):
        for kept in ("last", "best"):
            if (kept, steps) != ("best", config.steps):  # which is the attack itself
                wanted.append(("pgd", config.middle, walk(kept, steps), {"keep": kept, "steps": steps}))
    wanted.append((strongest(config.norm), 1.0, None, {}))
    return [each for each in wanted if fits(each[0], config.norm) is None]


def walk(kept, steps):
    """The name of PGD with other steps than the config's."""
    return f"pgd ({kept} of {steps} steps)"


def strongest(norm):
    """The attack that gets a budget as large as the range of values."""
    return "pgd" if fits("ensemble", norm) else "ensemble"


def is_rival(name):
    """Whether an attack climbs the loss of the masks along gradients, so that it should beat noise and black boxes."""
    facts = ATTACKS.facts(name) if name in ATTACKS.names() else {"given": ""}
    aims = facts.get("direction", "attack") == "attack" and not {"given", "whole"} & {*facts}
    return aims and name not in BLACK_BOX


def flags_of(result, config):
    """The flag of every check, in the order of `MEANING`; those that were not made say why.

    Args:
        result: Result without its flags.
        config: `kseg.configs.Attack`.
    """
    return [CHECKS[name](result, config) for name in MEANING]


def _at_middle(result, name):
    """Mean IoU of every case under an attack with the middle budget; None if it was not run."""
    return result.cases(name, result.middle, kinds=("budget", "check"))


def _harmed(result, eps):
    """Whether an attack, the black box or noise lowers the mean IoU by more than `flags.MARGIN` with a budget."""
    clean = result.clean.found.scores(result.case)["mean_iou"].mean()
    left = [of[eps] for of in _curves(result).values() if eps in of]
    left += [result.cases(name, eps, kinds=("budget", "check", "noise")) for name in ("noise", "square")]
    return any(clean - scores.mean() > flags.MARGIN for scores in left if scores is not None)


def _missing(flag, result, config, *names):
    """The flag of a check that lacks one of these attacks, or harm done by them; or None."""
    for name in names:
        if _at_middle(result, name) is None:
            return unchecked(flag, fits(name, config.norm) or f"attack {name!r} was not run, {SWITCHED_OFF}")
    return None if _harmed(result, result.middle) else unchecked(flag, no_harm(result.middle))


def no_harm(eps):
    """Why checks that compare attacks say nothing."""
    return f"with a budget of {percent(eps)} neither an attack nor noise lowers the score; try a larger --eps"


def _curves(result, iterated=False):
    """{attack: {eps: mean IoU of every case}} of the attacks that should beat noise, those of checks among them."""
    curves = {}
    for name in filter(is_rival, dict.fromkeys((*result.attacks, *NEEDED))):
        found = {eps: result.cases(name, eps, kinds=("budget", "check")) for eps in result.eps}
        curves[name] = {eps: values for eps, values in found.items() if values is not None}
    curves = {name: of for name, of in curves.items() if of}
    several = {name: of for name, of in curves.items() if ATTACKS.facts(name).get("steps") != 1}
    return several or curves if iterated else curves


def _noise(result, config):
    curves = _curves(result)
    if not curves:
        return unchecked("noise", NO_RIVAL)
    harmed = [eps for eps in result.eps if _harmed(result, eps)]
    if not harmed:
        return unchecked("noise", no_harm(max(result.eps)))
    curves = {name: {eps: of[eps] for eps in harmed if eps in of} for name, of in curves.items()}
    curves = {name: of for name, of in curves.items() if of}
    return flags.noise({eps: result.cases("noise", eps) for eps in harmed}, curves)


def _black_box(result, config):
    if missing := _missing("black box", result, config, "square"):
        return missing
    rivals = {name: of[result.middle] for name, of in _curves(result).items()}
    if not rivals:
        return unchecked("black box", NO_RIVAL)
    return flags.black_box(_at_middle(result, "square"), rivals, result.middle)


def _budget(result, config):
    curves = _curves(result, iterated=True)
    if not curves:
        return unchecked("budget", NO_RIVAL)
    losses = {
        name: {eps: by_case(result.row(name, eps, ("budget", "check")).found.climbed[:, 1], result.case) for eps in of}
        for name, of in curves.items() if ATTACKS.facts(name).get("judge", "loss") == "loss"
    }  # fmt: skip
    return flags.budget(result.clean.found.scores(result.case)["mean_iou"], curves, losses)


def _walk(result, config, kept, steps):
    """Found of PGD with the middle budget and so many steps."""
    name = "pgd" if (kept, steps) == ("best", config.steps) else walk(kept, steps)
    return result.row(name, result.middle, ("budget", "check")).found


def _steps(result, config):
    if not config.checks:
        return unchecked("steps", SWITCHED_OFF)
    losses = {}
    for kept in ("last", "best"):
        climbed = {n: _walk(result, config, kept, n).climbed for n in step_numbers(config.steps)}
        losses[kept] = {0: climbed[config.steps][:, 0]} | {n: each[:, 1] for n, each in climbed.items()}
    return flags.steps(losses)


def _converged(result, config):
    if not config.checks:
        return unchecked("converged", SWITCHED_OFF)
    if not _harmed(result, result.middle):
        return unchecked("converged", no_harm(result.middle))
    few, many = (
        {steps: _walk(result, config, "best", steps).scores(result.case)["mean_iou"]}
        for steps in (config.steps, 4 * config.steps)
    )
    return flags.converged(few, many)


def _large_budget(result, config):
    row = result.row(strongest(config.norm), 1.0, ("budget", "check"))
    if row is None:
        return unchecked("large budget", SWITCHED_OFF)
    accuracy = row.found.scores(result.case)["accuracy"]
    return flags.large_budget(accuracy, foreground_iou(row.found), constant_scores(result.clean.found.counts))


def _gradients(result, config):
    if not result.gradients:
        return unchecked("gradients", SWITCHED_OFF)
    return flags.gradients(**result.gradients)


def _one_step(result, config):
    if missing := _missing("one step", result, config, "fgsm", "pgd"):
        return missing
    rows = [result.row(name, result.middle, ("budget", "check")) for name in ("fgsm", "pgd")]
    losses = [by_case(row.found.climbed[:, 1], result.case) for row in rows]
    scores = [row.found.scores(result.case)["mean_iou"] for row in rows]
    return flags.one_step(*({"mean_iou": score, "loss": loss} for score, loss in zip(scores, losses, strict=True)))


def _losses(result, config):
    if missing := _missing("losses", result, config, "pgd", "ensemble"):
        return missing
    return flags.losses(_at_middle(result, "pgd"), _at_middle(result, "ensemble"), config.loss or "cce")


CHECKS = {
    "noise": _noise, "black box": _black_box, "budget": _budget, "steps": _steps, "converged": _converged,
    "large budget": _large_budget, "gradients": _gradients, "one step": _one_step, "losses": _losses,
}  # fmt: skip
