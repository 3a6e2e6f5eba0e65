"""Which attacks of D4's study take something from model 1: what others leave of other models says nothing."""

from kseg.stats import compare
from kseg.studies.robust_measures import TRANSFERRED, UNTARGETED
from kseg.studies.robust_models import ORIGINAL, OTHERS

ATTACKED = (*TRANSFERRED, "white/ball", "white/steps", UNTARGETED)
WORDS = {
    "transfer/ball": "transferred, budget", "transfer/steps": "transferred, free steps",
    "white/ball": "white box, budget", "white/steps": "white box, free steps", UNTARGETED: "white box, untargeted",
}  # fmt: skip
ASKED = (*TRANSFERRED, UNTARGETED)  # white-box images of model 1 are those that are transferred
GATED = ("4", "5", "6", "10", "11")  # claims that only attacks decide that take something


def gates_of(result):
    """{(claim, condition): Comparison}: what each attack takes from the foreground Dice of model 1.

    Of the model 1 of another seed for claim 10; the claim is "" for all others.
    """
    none = dict.fromkeys((entry.seed for entry in result.models(ORIGINAL)), 0 * result.true_background())
    asked = [("", condition, ORIGINAL) for condition in ASKED]
    asked += [("10", condition, OTHERS[ORIGINAL]) for condition in TRANSFERRED if result.controls]
    found = compare({
        (claim, condition): (f"change of foreground Dice, {WORDS[condition]}", label, "none",
                             result.falls(label, condition, "foreground_dice"), none)
        for claim, condition, label in asked
    })  # fmt: skip
    return found | {("", c.replace("transfer", "white")): found["", c] for c in TRANSFERRED}


def gate(gates, claim, condition):
    """The Comparison that opens an attack for a claim."""
    return gates.get((claim, condition)) or gates["", condition]


def is_open(gate):
    """Whether an attack surely takes something, so that it can decide."""
    return not gate.undecidable and gate.reversed


def first(gates, claim):
    """The transferred images that a claim goes by: the first that take something, or those within the budget."""
    return next((each for each in TRANSFERRED if is_open(gate(gates, claim, each))), TRANSFERRED[0])


def told(gates, claim):
    """{condition: the gate as a dict, with `decides`} of a claim for a file; {} of one that none decides."""
    if claim not in GATED:
        return {}
    own = [key for key in gates if key[0] == claim] or [("", each) for each in ATTACKED if claim != "10"]
    return {key[1]: gates[key]._asdict() | {"decides": is_open(gates[key])} for key in own}
