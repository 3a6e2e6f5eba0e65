"""What is asked when a model seems robust, what is expected, and what to do if it is not so."""

from typing import NamedTuple

FINE, SUSPICIOUS, UNCHECKED = "fine", "suspicious", "not checked"
FAR = 0.05  # of mean IoU: between attacks that should be alike
NOTHING = 0.05  # of foreground IoU: as good as none

# {flag: (what is asked, what is expected, what to do if it is not so)}
MEANING = {
    "noise": (
        "Does random noise do as much harm as an attack?",
        "every attack leaves a lower mean IoU than the best of several random changes of the same budget",
        "The gradients do not show the way: look for parts of the model that are random, saturated or not "
        "differentiable, and attack around them (a smooth stand-in, the mean of several gradients, a black box).",
    ),
    "black box": (
        "Does an attack without gradients do more harm than those with them?",
        "the strongest attack with gradients leaves a lower mean IoU than the black box",
        "The gradients are masked: report the black box, give it more queries, and find what hides the gradients.",
    ),
    "budget": (
        "Does a larger budget do more harm?",
        "the mean IoU falls and the loss rises as the budget rises",
        "An attack that gains nothing from more room is stuck: give it more steps, random starts or other step sizes.",
    ),
    "steps": (
        "Does the loss rise with the number of steps?",
        "more steps never lower the loss",
        "The steps lead astray: make them smaller (--step-size), or look for a model that answers at random.",
    ),
    "converged": (
        "Are there steps enough?",
        f"four times as many steps lower the mean IoU by less than {FAR:g}",
        "The scores here are too high: raise --steps until they stay as they are.",
    ),
    "large budget": (
        "Does a budget as large as the range of values leave nothing?",
        f"no higher accuracy than one class all over would have, and a foreground IoU of at most {NOTHING:g} or that "
        "of one class all over",
        "Every image can become every other one, so the attack fails where it cannot: its gradients vanish, or its "
        "steps or their number do not fit.",
    ),
    "gradients": (
        "Are there gradients at all?",
        "no image has a gradient of 0 everywhere",
        "Attacks cannot move such images. Look for saturated outputs, rounding or clipping inside the model; these "
        "attacks take the loss from the logits, those of other libraries may see nothing where the probability's "
        "gradient vanishes.",
    ),
    "one step": (
        "Is one step better than many?",
        "many steps reach a higher loss, and leave a mean IoU no higher, than one step of the same budget",
        "The surface of the loss misleads small steps, as after training with one step: take random starts, more "
        "steps, larger ones.",
    ),
    "losses": (
        "Is one loss enough?",
        f"the attack on one loss leaves a mean IoU at most {FAR:g} above that of the ensemble of losses",
        "The attack spends its steps on pixels that are wrong already. Report the ensemble: one loss alone overstates "
        "how robust the model is.",
    ),
}  # fmt: skip


class Flag(NamedTuple):
    """A check: its `name` in `MEANING`, the `verdict`, what was `found` in words, and the numbers behind it."""

    name: str
    verdict: str
    found: str
    numbers: dict = {}

    def told(self):
        """A dict for a JSON file: also what was asked and expected, and what to do if suspicious."""
        question, expected, advice = MEANING[self.name]
        advice = advice if self.verdict == SUSPICIOUS else ""
        words = {"flag": self.name, "verdict": self.verdict, "question": question, "expected": expected}
        return words | {"found": self.found, "advice": advice, "numbers": self.numbers}


def unchecked(name, reason):
    """The flag of a check that was not made, with the reason."""
    return Flag(name, UNCHECKED, reason)
