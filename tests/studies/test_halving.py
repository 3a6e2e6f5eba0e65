"""Successive halving: counts by hand, the same for all, within the time; curves and clock are simulated."""

import json
import math
from collections import defaultdict

import pytest

from kseg.studies.halving import halve, rates_around, rounds_needed

RATES = (0.001, 0.004, 0.016, 0.064)


def flat(loss, rate, epoch):
    """More for later losses, and for smaller rates."""
    return ord(loss[-1]) / 1000 - rate / 1000


class Lab:
    """Trains by looking curves up: (loss, rate, epoch) -> score of validation; its clock moves only while it trains."""

    def __init__(self, curve=flat, second=1.0, compiling=0.0):
        self.curve, self.second, self.compiling = curve, second, compiling
        self.now, self.calls, self.trained = 1000.0, [], defaultdict(int)

    def advance(self, loss, rate, before, after):
        assert self.trained[loss, rate] == before < after, "goes on from where it was"
        if not any(call[0] == loss for call in self.calls):
            self.now += self.compiling
        self.calls.append((loss, rate, before, after))
        cost = self.second(loss) if callable(self.second) else self.second
        scores = []
        for epoch in range(before + 1, after + 1):
            self.now += cost
            self.trained[loss, rate] = epoch
            scores.append(self.curve(loss, rate, epoch))
            if math.isnan(scores[-1]):
                raise FloatingPointError(f"loss {loss} at {rate}")
        return max(self.curve(loss, rate, epoch) for epoch in range(1, after + 1))

    def search(self, losses, rates=RATES, finalists=None, **options):
        finalists = finalists or len(losses)
        options = {"minutes": 60, "epochs": 50} | options
        return halve(losses, rates, finalists, self.advance, clock=lambda: self.now, **options)

    @property
    def spent(self):
        return self.now - 1000.0


def named(count):
    return [f"loss {chr(ord('A') + number)}" for number in range(count)]


def going_on(entries):
    return {(entry["loss"], entry["rate"]) for entry in entries if entry["kept"]}


@pytest.mark.parametrize(
    ("losses", "rates", "finalists", "sizes", "kept"),
    [
        (5, 4, 5, [20, 10], [10, 5]),
        (27, 3, 5, [81, 28, 7], [28, 7, 5]),  # losses 27, 14, 7, 5 and rates 3, 2, 1, 1
        (6, 1, 5, [6], [5]),
        (9, 4, 2, [36, 10, 3], [10, 3, 2]),
        (3, 1, 1, [3, 2], [2, 1]),
        (1, 4, 1, [4, 2], [2, 1]),
        (1, 1, 1, [], []),
        (2, 1, 2, [], []),
        (2, 1, 5, [], []),
    ],
)
def test_counts_by_hand(losses, rates, finalists, sizes, kept):
    lab = Lab()
    found = lab.search(named(losses), RATES[:rates], finalists)
    assert [len(entries) for entries in found.rounds] == sizes
    assert [len(going_on(entries)) for entries in found.rounds] == kept
    assert rounds_needed(losses, rates, finalists) == len(sizes)
    assert len(found.finalists) == min(losses, finalists)
    assert list(found.rates) == named(losses)
    for entries, following in zip(found.rounds, found.rounds[1:], strict=False):
        assert going_on(entries) == {(entry["loss"], entry["rate"]) for entry in following}


def test_without_anything_to_decide_nothing_is_trained():
    lab = Lab()
    found = lab.search(["b", "a"], [0.01], epochs=1)
    assert found == ([], {"b": 0.01, "a": 0.01}, ("b", "a"), 60, [])
    assert lab.calls == [] and found.edge == {} and found.minutes == 0 and found.epochs == {"b": 0, "a": 0}


def test_all_of_a_round_train_as_long_and_never_longer_than_allowed():
    for minutes, epochs in ((1, 50), (5, 50), (60, 50), (60, 3), (math.inf, 20)):
        lab = Lab(second=lambda loss: 1 + ord(loss[-1]) % 5, compiling=7.0)
        found = lab.search(named(12), RATES, 3, minutes=minutes, epochs=epochs)
        totals = [{entry["epochs"] for entry in entries} for entries in found.rounds]
        assert all(len(total) == 1 for total in totals)
        reached = [min(total) for total in totals]
        assert reached == sorted(set(reached)), "each round has an epoch at least"
        assert reached[-1] <= epochs
        for entry in found.rounds[-1]:
            assert lab.trained[entry["loss"], entry["rate"]] == reached[-1]


def test_with_time_enough_all_is_used_but_an_epoch_for_each_later_round():
    found = Lab().search(named(9), RATES, 2, minutes=math.inf, epochs=10)
    assert [entries[0]["epochs"] for entries in found.rounds] == [8, 9, 10]


def test_fewer_epochs_than_rounds_are_refused_before_training():
    lab = Lab()
    with pytest.raises(ValueError, match="2 epochs are too few: 0 done, rounds to go: 3. Expected 3."):
        lab.search(named(9), RATES, 2, epochs=2)
    assert lab.calls == []


def test_time_is_split_evenly_over_the_rounds():
    """A minute, 1 s an epoch: 30 s for 4 candidates are 7 epochs (28 s); the 32 s left are 16 for 2 of them."""
    lab = Lab()
    found = lab.search(["a"], minutes=1)
    assert [entries[0]["epochs"] for entries in found.rounds] == [7, 23]
    assert [sum(entry["seconds"] for entry in entries) for entries in found.rounds] == [28, 32]
    assert lab.spent == 60


@pytest.mark.parametrize("minutes", [10, 30, 120])
def test_the_budget_is_kept_and_used(minutes):
    lab = Lab(second=lambda loss: 1 + ord(loss[-1]) % 4)
    found = lab.search(named(12), RATES, 3, minutes=minutes, epochs=10**6)
    assert 0.9 * 60 * minutes < lab.spent <= 60 * minutes
    assert lab.spent == sum(entry["seconds"] for entries in found.rounds for entry in entries)


def test_a_budget_too_small_is_overrun_by_an_epoch_a_round():
    lab = Lab()
    found = lab.search(named(9), RATES, 2, minutes=0.01)
    assert [entries[0]["epochs"] for entries in found.rounds] == [1, 2, 3]
    assert lab.spent == 36 + 10 + 3


def test_a_budget_used_up_leaves_an_epoch_to_each_later_round():
    """Compiling takes what was there: 9 x 20 s of 3 minutes."""
    found = Lab(compiling=20.0).search(named(9), RATES, 2, minutes=3)
    assert [entries[0]["epochs"] for entries in found.rounds] == [1, 2, 3]


def test_compiling_does_not_spoil_the_estimate():
    """Of 180 s for the first round 100 s compile and 4 s train; 76 s are 19 epochs of 4 candidates at 1 s."""
    lab = Lab(compiling=100.0)
    found = lab.search(["a"], minutes=6, epochs=1000)
    assert found.rounds[0][0]["epochs"] == 20
    assert 0.95 * 360 < lab.spent <= 360


def test_where_every_call_costs_the_time_is_still_kept():
    """A trainer that compiles at each call: 10 s beside 1 s an epoch."""
    lab = Lab()

    def advance(*call):
        lab.now += 10
        return lab.advance(*call)

    halve(["a", "b"], RATES, 2, advance, minutes=20, epochs=10**6, clock=lambda: lab.now)
    assert 0.5 * 1200 < lab.spent <= 1200


@pytest.mark.parametrize(("losses", "compiling", "minutes"), [("ab", 20, 4), ("ab", 20, 9), ("abc", 5, 2)])
def test_where_each_loss_compiles_whenever_its_turn_comes_the_time_is_kept(losses, compiling, minutes):
    lab, last = Lab(), []

    def advance(loss, *call):
        lab.now += compiling * (last != [loss])
        last[:] = [loss]
        return lab.advance(loss, *call)

    halve(losses, RATES, len(losses), advance, minutes=minutes, epochs=10**6, clock=lambda: lab.now)
    assert 0.6 * 60 * minutes < lab.spent <= 60 * minutes


def test_more_candidates_get_fewer_epochs():
    few, many = (Lab().search(named(count), minutes=10).rounds[0][0]["epochs"] for count in (2, 8))
    assert few == 37 and many == 9  # 300 s over 8 and over 32 candidates


def test_no_loss_is_judged_by_a_poor_rate():
    """b is best of all at one rate, and worst of all at the three others."""
    best = {"a": 0.5, "b": 0.001, "c": 0.016, "d": 0.004}

    def curve(loss, rate, epoch):
        return 0.9 if (loss, rate) == ("b", 0.001) else 0.1 if loss == "b" else 0.8 if rate == best[loss] else 0.7

    found = Lab(curve).search("acdb", finalists=1)
    assert found.finalists == ("b",) and found.rates["b"] == 0.001
    assert {loss: found.rates[loss] for loss in "cd"} == {"c": 0.016, "d": 0.004}, "the dropped have their best rates"


def test_finalists_are_the_best_in_order():
    scores = dict(zip("abcdefg", (0.3, 0.7, 0.1, 0.5, 0.2, 0.6, 0.4), strict=True))
    found = Lab(lambda loss, rate, epoch: scores[loss] - abs(rate - 0.016)).search("abcdefg", finalists=3)
    assert found.finalists == ("b", "f", "d")
    assert set(found.rates.values()) == {0.016}
    dropped = [{entry["loss"] for entry in e} - {loss for loss, _ in going_on(e)} for e in found.rounds]
    assert dropped == [{"a", "c", "e"}, {"g"}]


def late(loss, rate, epoch):
    """0.001 rises slowly to 0.9; 0.016 is at 0.6 from the start, the others below; they cross at epoch 20."""
    return {0.001: min(0.9, 0.03 * epoch), 0.016: 0.6}.get(rate, 0.59 - rate)


def test_a_late_best_is_found_once_rounds_are_longer_than_where_curves_cross():
    short, long = (Lab(late).search(["a"], minutes=minutes, epochs=100) for minutes in (2, 6))
    assert short.rounds[0][0]["epochs"] < 19 and short.rates == {"a": 0.016}
    assert long.rounds[0][0]["epochs"] > 20 and long.rates == {"a": 0.001}


def test_scores_are_the_best_so_far():
    """0.001 was good at epoch 2 only; that counts to the end."""
    found = Lab(lambda loss, rate, epoch: 0.8 if (rate, epoch) == (0.001, 2) else 0.5).search(["a"])
    assert found.rates == {"a": 0.001} and found.rounds[-1][0]["score"] == 0.8


@pytest.mark.parametrize("raises", [None, FloatingPointError, ValueError, RuntimeError, KeyError])
@pytest.mark.parametrize("when", [1, 3])
def test_what_diverges_or_fails_is_worst_and_trained_no_more(raises, when):
    """The two largest rates lead until they diverge, at once or later in the first round."""
    lab = Lab(lambda loss, rate, epoch: math.nan if rate > 0.01 and epoch >= when else rate)

    def advance(*call):
        try:
            return lab.advance(*call)
        except FloatingPointError:
            if raises:
                raise raises("of no use\nat all") from None
            return math.nan

    found = halve(["a"], RATES, 1, advance, minutes=10, epochs=50, clock=lambda: lab.now)
    told = {entry["rate"]: entry["score"] for entry in found.rounds[0]}
    assert (told[0.016], told[0.064]) == (None, None) and told[0.004] == 0.004
    assert max(epoch for (_, rate), epoch in lab.trained.items() if rate > 0.01) == when
    assert {entry["rate"] for entry in found.rounds[1]} == {0.001, 0.004}
    assert found.rates == {"a": 0.004}
    assert list(found.why["a"]) == [0.016, 0.064]
    told = found.why["a"][0.016]
    assert told == "its score is nan" if raises is None else told.startswith(f"{raises.__name__}: ")
    assert "\n" not in told and json.loads(json.dumps(found.rounds)) == found.rounds


@pytest.mark.parametrize("error", [MemoryError, FileNotFoundError, KeyboardInterrupt])
def test_what_is_no_fault_of_a_loss_ends_the_search(error):
    def advance(*_):
        raise error("not of the loss")

    with pytest.raises(error, match="not of the loss"):
        halve("ab", RATES, 2, advance, minutes=10, epochs=50)


def test_what_was_used_and_what_lies_at_the_edge_is_told():
    """a is best at the highest rate, b at the lowest, c between, d nowhere."""
    best = {"a": 0.064, "b": 0.001, "c": 0.016}

    def curve(loss, rate, epoch):
        return math.nan if loss == "d" and epoch > 1 else 0.9 if best.get(loss) == rate else 0.5

    lab = Lab(curve, compiling=5.0)
    found = lab.search("abcd", minutes=5, epochs=30)
    assert found.edge == {"a": "highest", "b": "lowest"} and found.tried == RATES
    assert found.rates["d"] is None and set(found.why) == {"d"} and set(found.why["d"]) == set(RATES)
    assert found.budget == 5 and found.minutes == pytest.approx(lab.spent / 60)
    assert found.first_minutes == pytest.approx((16 + 4 * 5) / 60)
    trained = {loss: max(epoch for (each, _), epoch in lab.trained.items() if each == loss) for loss in "abc"}
    assert {loss: found.epochs[loss] for loss in "abc"} == trained
    alone = Lab(curve).search("ab", [0.001], 1)
    assert alone.edge == {}, "one rate has no edge"


def test_three_of_four_rates_that_diverge_leave_one():
    found = Lab(lambda loss, rate, epoch: math.nan if loss == "a" and rate > 0.001 else 0.5).search("ab")
    assert [len(entries) for entries in found.rounds] == [8, 3]
    assert found.rates["a"] == 0.001


def test_a_loss_that_always_diverges_is_dropped_only_for_others():
    def curve(loss, rate, epoch):
        return math.nan if loss in "ac" else ord(loss) / 1000

    found = Lab(curve).search("abcd", finalists=2)
    assert found.finalists == ("d", "b") and found.rates == {"a": None, "b": 0.004, "c": None, "d": 0.004}
    assert {entry["loss"] for entry in found.rounds[1]} == {"b", "d"}
    kept = Lab(curve).search("abcd", finalists=3)
    assert kept.finalists == ("d", "b", "a") and kept.rates["a"] is None
    assert Lab(curve).search("abcd").finalists == ("d", "b", "a", "c")


def test_many_that_diverge_take_no_place_of_halving():
    """Of 8 losses 6 diverge: 2 go on, not 4."""
    found = Lab(lambda loss, rate, epoch: 0.5 if loss in "gh" else math.nan).search("abcdefgh", finalists=1)
    assert [len({entry["loss"] for entry in entries}) for entries in found.rounds] == [8, 2]
    assert found.finalists == ("g",)


def test_where_all_diverge_there_are_finalists_without_a_rate():
    lab = Lab(lambda *_: math.nan)
    found = lab.search("abcd", finalists=2)
    assert found.finalists == ("a", "b") and set(found.rates.values()) == {None}
    assert len(lab.calls) == 16 and len(found.rounds) == 1


def test_a_loss_whose_last_rates_diverge_late_has_the_best_of_those_before():
    """The larger two lead, go on, and diverge in the second round; 0.001 is then no match for the loss b."""

    def curve(loss, rate, epoch):
        return 0.1 if loss == "b" else math.nan if rate > 0.01 and epoch > 30 else 0.5 + rate

    found = Lab(curve).search("ab", minutes=4, epochs=200)
    assert going_on(found.rounds[0]) >= {("a", 0.016), ("a", 0.064)}
    assert found.rates["a"] == 0.004 and found.finalists == ("b", "a")


@pytest.mark.parametrize("rates", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_equal_rates_are_decided_by_the_middle(rates):
    found = Lab(lambda *_: 0.5).search(["a"], rates)
    assert going_on(found.rounds[0]) == {("a", 1), ("a", 2)}
    assert found.rates == {"a": 2}


def test_of_two_middle_rates_the_smaller_is_taken_and_of_losses_the_first():
    found = Lab(lambda *_: 0.5).search("cab", RATES[::-1], 2)
    assert {rate for _, rate in going_on(found.rounds[0])} == {0.004, 0.016}
    assert set(found.rates.values()) == {0.004}
    assert found.finalists == ("c", "a")


def test_a_tie_of_a_later_round_is_decided_by_the_middle_as_well():
    """0.016 leads at first; then 0.004, as near to the middle and smaller, comes up to it."""
    rising = {0.004: (0.4, 0.6), 0.016: (0.5, 0.6)}
    found = Lab(lambda loss, rate, epoch: rising.get(rate, (0.1, 0.1))[epoch > 7]).search(["a"], minutes=1)
    assert going_on(found.rounds[0]) == {("a", 0.004), ("a", 0.016)}
    assert going_on(found.rounds[1]) == {("a", 0.004)} and found.rates == {"a": 0.004}


def noisy(loss, rate, epoch):
    """Any curve, with some that diverge."""
    place = hash((ord(loss[-1]), int(rate * 1000))) % 97
    return math.nan if place % 11 == 0 and epoch > 3 else (place + epoch % (place % 7 + 2)) / 120


@pytest.mark.parametrize("count", [0, 1, 35, 36, 37, 60, 80, 84, None])
def test_a_search_gone_on_with_is_the_same_as_one_at_a_stretch(count):
    """Broken off anywhere: before the first step, within a pass over the candidates, in a later round, at the end."""
    options = {"minutes": 7.3, "epochs": 300}
    one = Lab(noisy, second=lambda loss: 0.1 + ord(loss[-1]) % 3 / 7, compiling=1.7)
    whole = one.search(named(9), RATES, 2, **options)
    assert len(whole.rounds) == 3 and len(whole.steps) == 85
    done = json.loads(json.dumps(whole.steps[:count]))
    other = Lab(noisy, second=one.second, compiling=1.7)
    other.now += sum(step["seconds"] for step in done)
    other.calls = list(one.calls[: len(done)])
    for loss, rate, _, after in other.calls:
        other.trained[loss, rate] = after
    told = []
    rest = other.search(named(9), RATES, 2, done=done, on_step=lambda steps: told.append(len(steps)), **options)
    assert rest.rounds == [[e | {"seconds": pytest.approx(e["seconds"])} for e in r] for r in whole.rounds]
    assert rest[1:3] == whole[1:3]
    assert other.calls == one.calls, "nothing is trained twice"
    assert told == list(range(len(done) + 1, len(whole.steps) + 1)), "each further step is told, none from before"


def test_steps_done_are_taken_as_they_are_and_not_changed():
    whole = Lab().search("abc", finalists=1)
    done = json.loads(json.dumps(whole.steps))
    lab = Lab()

    def fail(*_):
        pytest.fail("it was told before")

    again = lab.search("abc", finalists=1, done=done, on_round=fail, on_step=fail, tell=fail)
    assert again == whole and lab.calls == []
    assert done == whole.steps


def test_what_broke_down_before_is_not_tried_again():
    whole = Lab(lambda loss, rate, epoch: math.nan if rate > 0.01 else 0.5).search(["a"])
    failed = [step for step in whole.steps if "why" in step]
    lab = Lab()
    lab.trained.update({("a", rate): 1 for rate in RATES})
    rest = lab.search(["a"], done=json.loads(json.dumps(whole.steps[:4])))
    assert len(failed) == 2 and rest.why == whole.why
    assert {rate for _, rate, *_ in lab.calls} == {0.001, 0.004}


def test_time_spent_before_counts():
    """Of a minute 28 s went for 7 epochs of 4, or 32 s if one took 4 s more: then 28 s are left for 2 at 16/7 s."""
    whole = Lab().search(["a"], minutes=1)
    assert [step["after"] for step in whole.steps[:8]] == [1, 1, 1, 1, 7, 7, 7, 7]
    slow = [step | {"seconds": step["seconds"] + (step["after"] == 7)} for step in whole.steps[:8]]
    lab = Lab()
    lab.trained.update({("a", rate): 7 for rate in RATES})
    rest = lab.search(["a"], minutes=1, done=slow)
    assert whole.rounds[1][0]["epochs"] == 7 + 16
    assert rest.rounds[1][0]["epochs"] == 7 + 12


@pytest.mark.parametrize(
    ("change", "which", "match"),
    [
        ({"losses": "abcx"}, slice(None), "step 13 of those done is .*'loss': 'd'.* Expected .*'loss': 'x'"),
        ({"rates": RATES[:3]}, slice(None), "step 4 of those done is .* Expected .*, of the same search"),
        ({}, slice(1, None), "step 1 of those done is"),
        ({"finalists": 2, "minutes": 5}, slice(None), "step .* of those done is|steps too many"),
        ({"minutes": 5}, slice(None), "step 17 of those done is"),
        ({"rates": RATES[:1], "losses": "a"}, slice(0, 2), "2 steps too many are done. Expected 0"),
    ],
)
def test_steps_of_another_search_are_refused(change, which, match):
    known = {"losses": "abcd", "rates": RATES, "finalists": 1}
    whole, lab = Lab().search(**known), Lab()
    with pytest.raises(ValueError, match=match):
        lab.search(**known | change, done=whole.steps[which])
    assert lab.calls == []


def test_rounds_are_json_and_told_one_by_one():
    kept, lab = [], Lab(lambda loss, rate, epoch: math.nan if rate > 0.05 else 0.5 + rate)
    found = lab.search("abc", finalists=1, on_round=lambda rounds: kept.append(json.dumps(rounds)))
    assert [len(json.loads(text)) for text in kept] == [1, 2]
    assert json.loads(kept[-1]) == found.rounds
    assert "NaN" not in kept[-1]
    for entry in json.loads(kept[0])[0]:
        why = {"why"} if entry["score"] is None else set()
        assert set(entry) == {"loss", "rate", "epochs", "score", "seconds", "kept"} | why
    assert all(json.loads(kept[0])[0][number]["seconds"] > 0 for number in range(12))


def test_a_round_that_breaks_off_is_not_told():
    lab, kept = Lab(), []

    def advance(loss, rate, before, after):
        if len(kept) == 1:
            raise KeyboardInterrupt
        return lab.advance(loss, rate, before, after)

    with pytest.raises(KeyboardInterrupt):
        halve("abc", RATES, 1, advance, minutes=10, epochs=50, clock=lambda: lab.now, on_round=kept.append)
    assert len(kept[0]) == 1


@pytest.mark.parametrize("minutes", [0.01, 5, 500])
def test_progress_rises_to_all(minutes):
    told = []
    Lab(noisy).search(named(9), RATES, 2, minutes=minutes, tell=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] == 1
    assert len(set(shares)) > 20
    assert told[0][0] == "loss A at 0.001: epoch 1, round 1"


def test_progress_is_that_of_the_time():
    lab, told = Lab(), []
    lab.search(named(9), RATES, 2, minutes=10, epochs=10**6, tell=lambda _, share: told.append((share, lab.spent)))
    assert max(abs(share - spent / 600) for share, spent in told) < 0.1


def test_rates_around_hold_the_rate_and_rise():
    assert rates_around(0.001) == pytest.approx((0.00025, 0.001, 0.004, 0.016))
    assert rates_around(0.01, 3, 10) == pytest.approx((0.001, 0.01, 0.1))
    assert rates_around(0.3, 1) == (0.3,)
    assert rates_around(2, 2) == (2, 8)
    for count in range(1, 8):
        found = rates_around(3e-4, count, 3.0)
        assert len(found) == count and 3e-4 in found


@pytest.mark.parametrize("words", [(0,), (-1,), (math.nan,), (math.inf,), (0.1, 0), (0.1, 4, 1.0)])
def test_rates_that_are_none_are_refused(words):
    with pytest.raises(ValueError, match="expected rate > 0"):
        rates_around(*words)


@pytest.mark.parametrize(
    "change",
    [
        {"losses": []}, {"losses": "aba"}, {"rates": []}, {"rates": [0.1, 0.1]}, {"rates": [0.1, -1]},
        {"rates": [1, math.nan]}, {"finalists": -1}, {"minutes": 0},
    ],
)  # fmt: skip
def test_nothing_to_choose_from_is_refused(change):
    lab = Lab()
    with pytest.raises(ValueError, match="Expected"):
        lab.search(**{"losses": "ab", "finalists": 1} | change)
    assert lab.calls == []
