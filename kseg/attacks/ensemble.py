"""The worst of several attacks for each image."""

import inspect

from kseg.attacks.gradient import ATTACKS
from kseg.attacks.objectives import make_objective
from kseg.attacks.problem import better

MEMBERS = (("apgd", "js"), ("apgd", "masked_cce"), ("apgd", "balanced_cce"))


@ATTACKS.register(
    "ensemble",
    judge="iou",
    own="of its members",
    source="Croce et al. 2024, SEA: there of four losses, 300 steps each",
)
def ensemble(problem, *, steps=60, members=MEMBERS):
    """Several attacks, each with its part of the steps; of each image the result that the judge finds best.

    Args:
        steps: gradients taken in all; each member takes an equal part, at least one.
        members: pairs (attack, loss).
    """
    if not members or any(isinstance(pair, str) or len(pair) != 2 for pair in members):
        raise ValueError(f"members={members!r} does not fit. Expected pairs (attack, loss), at least one.")
    best = problem.nothing()
    for name, loss in members:
        attack = ATTACKS.get(name)
        climbed, _ = make_objective(loss, problem.head, problem.ignoring)
        options = {"steps": max(1, steps // len(members))} if "steps" in inspect.signature(attack).parameters else {}
        found = attack(problem._replace(climbed=climbed), **options)
        best = better(best, found.images, found.look, found.step)._replace(before=found.before)
    return best
