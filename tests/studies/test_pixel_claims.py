"""The verdicts of the pixel study on measures that were made up, so that what they must be is known."""

from pathlib import Path

import numpy as np
import pytest

from kseg.stats import crossed_test
from kseg.studies.pixel_claims import claims
from kseg.studies.pixel_models import LOSSES, Entry

CASES, SEEDS = 30, 3


class Made:
    """A Result of made-up numbers: `clean` and `kept` are means a kind of model, `wide` their spread."""

    def __init__(self, clean, kept, wide, noise=0.01, labels=tuple(LOSSES), seeds=SEEDS):
        self.labels, self._clean, self._kept, self._wide = list(labels), clean, kept, wide
        self.entries = [Entry(label, seed, Path(f"{label}_seed{seed}")) for seed in range(seeds) for label in labels]
        self._rng, self._noise, self._drawn = np.random.default_rng(0), noise, {}

    def models(self, label):
        return [entry for entry in self.entries if entry.label == label]

    def _values(self, entry, kind, mean):
        if (entry, kind) not in self._drawn:
            self._drawn[entry, kind] = mean + self._noise * self._rng.normal(size=CASES)
        return self._drawn[entry, kind]

    def clean(self, entry):
        return self._values(entry, "clean", self._clean[entry.label])

    def area(self, entry, what, relative=True):
        scale = 1.0 if relative else self._clean[entry.label]
        return scale * self._values(entry, what, self._kept[entry.label])

    def statistic(self, entry, output, name):
        assert name == "participation"
        return self._wide[entry.label] + 0.001 * self._rng.normal(size=CASES)


def made(clean=(0.88, 0.89, 0.90, 0.885), kept=(0.9, 0.5, 0.7, 0.8), wide=(0.4, 0.1, 0.2, 0.3), **options):
    return Made(*(dict(zip(LOSSES, values, strict=True)) for values in (clean, kept, wide)), **options)


def verdicts(result):
    return {claim["claim"]: claim["verdict"] for claim in claims(result)}


def test_all_that_the_document_says_is_supported_where_it_is_so():
    assert verdicts(made(noise=0.003)) == dict.fromkeys("123456", "supported") | {"7": "not supported"}


def test_the_opposite_is_contradicted():
    found = verdicts(made(clean=(0.95, 0.92, 0.80, 0.90), kept=(0.4, 0.9, 0.5, 0.6), wide=(0.4, 0.1, 0.3, 0.2)))
    assert found == dict.fromkeys("1234567", "contradicted")


def test_what_chance_can_explain_is_not_supported():
    found = verdicts(made(clean=(0.9,) * 4, kept=(0.7,) * 4, wide=(0.2,) * 4, noise=0.02))
    assert found == dict.fromkeys("123456", "not supported") | {"7": "supported"}


def test_some_of_it_is_partly_supported():
    found = verdicts(made(clean=(0.90, 0.91, 0.91, 0.91), kept=(0.9, 0.5, 0.5, 0.8), noise=0.002))
    assert found["1"] == "supported"
    assert found["2"] == "partly supported"  # above BCE, like the others
    assert found["3"] == "partly supported"


def test_seeds_that_disagree_do_not_support_whatever_the_cases_say():
    result = made(clean=(0.88, 0.88, 0.9, 0.88), noise=0.001)
    for entry, shift in zip(result.models("dice"), (0.06, 0.05, -0.04), strict=True):
        result._drawn[entry, "clean"] = 0.88 + shift + 0.001 * np.random.default_rng(1).normal(size=CASES)
    first = claims(result)[0]
    comparison = first["comparisons"][0]
    assert comparison["p"] > 0.2 and comparison["low"] < 0 and (comparison["seeds"], comparison["of"]) == (2, 3)
    assert first["verdict"] == "not supported"


def test_numbers_are_told_and_corrected_together():
    found = {claim["claim"]: claim for claim in claims(made())}
    comparison = found["1"]["comparisons"][0]
    assert (comparison["first"], comparison["second"]) == ("dice", "bce")
    assert comparison["difference"] == pytest.approx(0.01, abs=0.004)
    assert comparison["adjusted"] >= comparison["p"]
    assert f"{comparison['difference']:+.3f}" in found["1"]["why"]
    assert len(found["3"]["comparisons"]) == 12 and len(found["4"]["comparisons"]) == 9
    assert {each["output"] for each in found["6"]["correlations"]} == {"probability", "logit"}
    rhos = found["6"]["correlations"][0]
    assert len(rhos["seeds"]) == SEEDS and rhos["rho"] == pytest.approx(np.mean(rhos["seeds"]))
    # Holm multiplies the smallest p by the number of different tests: 4 + 12 + 9 + 4, of which claims 3 and 4 share 3.
    smallest = min((each for k in "12345" for each in found[k]["comparisons"]), key=lambda each: each["p"])
    assert smallest["adjusted"] == pytest.approx(26 * smallest["p"])


def test_seeds_are_compared_with_their_own_kind_and_only_where_both_have_them():
    result = made(noise=0.001)
    for i, entry in enumerate(result.entries):  # a seed shifts all its models alike
        noise = 1e-4 * np.sin(np.arange(CASES) + i)
        result._drawn[entry, "clean"] = result._clean[entry.label] + 0.1 * entry.seed + noise
    expected = claims(result)[0]["comparisons"][0]
    result.entries = [e for e in reversed(result.entries) if (e.label, e.seed) != ("dice", 1)]
    found = claims(result)[0]["comparisons"][0]
    assert (expected["of"], found["of"]) == (3, 2)
    assert found["difference"] == pytest.approx(0.01, abs=1e-3) and found["seeds"] == 2


def test_the_test_is_of_seeds_and_cases_and_claim_5_of_dice_as_it_is():
    result = made(noise=0.02)
    rows = {e: result.clean(e) for e in result.entries if e.label in ("dice", "bce")}
    for entry in result.models("dice"):  # one seed says nothing, the mean of all does
        wave = 0.2 * np.sin(np.arange(CASES) * 2.399) * (1 if entry.seed == 0 else -0.5)
        result._drawn[entry, "clean"] = rows[entry] + wave
    comparison = claims(result)[0]["comparisons"][0]
    pairs = zip(result.models("dice"), result.models("bce"), strict=True)
    each = np.stack([result.clean(one) - result.clean(other) for one, other in pairs])
    assert comparison["p"] == pytest.approx(crossed_test(each)[3])
    assert abs(comparison["p"] - crossed_test(each[:1])[3]) > 0.02
    fifth = next(claim for claim in claims(result) if claim["claim"] == "5")["comparisons"][0]
    expected = np.mean([
        result.area(a, fifth["what"], False) - result.area(b, fifth["what"], False)
        for a, b in zip(result.models("bce+dice"), result.models("dice"), strict=True)
    ])  # fmt: skip
    assert fifth["difference"] == pytest.approx(expected, abs=1e-9)


def test_claim_6_goes_by_the_gradients_of_the_probability():
    result = made(noise=0.003)
    wide = result.statistic
    result.statistic = lambda entry, output, name: wide(entry, output, name) * (-1 if output == "logit" else 1)
    sixth = next(claim for claim in claims(result) if claim["claim"] == "6")
    assert sixth["verdict"] == "supported"
    signs = {each["output"]: np.sign(each["rho"]) for each in sixth["correlations"]}
    assert signs == {"probability": 1, "logit": -1}
    assert all(each["all"]["models"] == 12 and np.sign(each["all"]["rho"]) == signs[each["output"]]
               for each in sixth["correlations"])  # fmt: skip


def test_cases_without_a_number_are_left_out_and_too_few_decide_nothing():
    result = made(noise=0.001)
    for entry in result.entries:
        result.clean(entry)[3] = np.nan
    comparison = claims(result)[0]["comparisons"][0]
    assert comparison["cases"] == CASES - 1 and comparison["difference"] == pytest.approx(0.01, abs=1e-3)
    for entry in result.entries:
        result.clean(entry)[8:] = np.nan
    found = {claim["claim"]: claim for claim in claims(result)}
    assert found["1"]["verdict"] == "not decided" and found["1"]["why"].startswith("7 cases")
    assert found["3"]["verdict"] == "supported"


def test_kinds_of_models_that_are_absent_leave_claims_undecided():
    result = made(labels=("bce", "dice"))
    found = verdicts(result)
    assert found["1"] == "supported" and found["2"] == "not decided" and found["5"] == "not decided"
    assert found["3"] == "supported"  # of what there is
    told = claims(result)[2]["why"]
    assert verdicts(result)["6"] == "not decided"
    assert told.endswith("not compared, since not trained: bce+dice, bce+dice+focal")


def test_one_or_two_seeds_decide_nothing_but_the_order_of_each():
    for seeds in (1, 2):
        found = claims(made(seeds=seeds, noise=0.002))
        assert {each["verdict"] for each in found if each["claim"] != "6"} == {"not decided"}
        assert found[0]["why"].startswith(f"{seeds} seed{'s' * (seeds > 1)}, 3 are needed: dice - bce")
