"""Parts of `alma_prox`: the proximal step, the pull of a constraint, constraints, pixels that may stay."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import approx_fprime, minimize

from kseg.attacks.objectives import Seen
from kseg.attacks.proximal import margins, prox_linf, pull, ratios, strictest


@pytest.mark.parametrize("cost", [1e-4, 0.3, 2.0, 100.0])
def test_the_proximal_step_is_the_minimum(cost):
    """Against a general solver of the same problem, with a bound of |d| as one more unknown."""
    rng = np.random.default_rng(0)
    change, weight = rng.normal(size=(8, 5)), rng.uniform(0.1, 3.0, (8, 5))
    low, high = -rng.uniform(0, 1.5, (8, 5)), rng.uniform(0, 1.5, (8, 5))
    tensors = [tf.constant(x, tf.float32) for x in (change, weight, np.full(8, cost), low, high)]
    found = prox_linf(*tensors).numpy()
    np.testing.assert_allclose(found, tf.function(prox_linf, jit_compile=True)(*tensors), atol=1e-6)
    for y, w, least, most, d in zip(change, weight, low, high, found, strict=True):
        bounded = [{"type": "ineq", "fun": lambda v, s=s: v[-1] + s * v[:-1]} for s in (1.0, -1.0)]
        best = minimize(
            lambda v, y=y, w=w: cost * v[-1] + 0.5 * (w * (v[:-1] - y) ** 2).sum(), np.zeros(6), method="SLSQP",
            constraints=bounded, bounds=[*zip(least, most, strict=True), (0, None)], options={"ftol": 1e-14},
        )  # fmt: skip
        assert best.success
        np.testing.assert_allclose(d, best.x[:-1], atol=2e-4)
        assert (least - 1e-6 <= d).all() and (d <= most + 1e-6).all()


def test_the_pull_is_the_slope_of_the_penalty():
    def p2(y, rho, mu):
        return mu * y + mu * rho * y**2 + rho**2 * y**3 / 6 if y >= 0 else mu * y / (1 - max(rho, 1) * y)

    for y in (-3.0, -0.2, 0.1, 2.5):
        for rho in (0.01, 4.0):
            slope = approx_fprime([y], lambda v, rho=rho: p2(v[0], rho, 0.7), 1e-6)[0]
            assert float(pull(tf.constant(y), rho, 0.7)) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 6])
def test_constraints_are_ratios_of_logit_differences(classes, sign):
    rng = np.random.default_rng(classes)
    logits, ids = rng.normal(size=(2, 3, 4, classes)), rng.integers(0, max(classes, 2), (2, 3, 4))
    seen = Seen(tf.constant(logits, tf.float32), tf.constant(ids, tf.int32), tf.ones((2, 3, 4)), "softmax", 0.0)
    found, plain = ratios(seen, sign, 1e-3).numpy(), margins(seen, sign, 1e-3, 1.0).numpy()
    for place in np.ndindex(2, 3, 4):
        z = logits[place] if classes > 1 else np.array([0.0, logits[place][0]])
        own, ranked = z[ids[place]], np.sort(z)[::-1]
        third = ranked[2 : 3 if sign > 0 else 4]
        away = ranked[0] - third.mean() if len(third) else 1.0
        value = sign * (own - np.delete(z, ids[place]).max()) + 1e-3
        assert plain[place] == pytest.approx(value, rel=1e-4, abs=1e-6)
        assert found[place] == pytest.approx(value / away, rel=1e-4, abs=1e-6)


def test_pixels_that_may_stay_do_not_pull():
    constraint = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    counted = np.ones((2, 5, 4), np.float32)
    counted[:, 2] = 0
    kept = strictest(tf.constant(constraint), tf.constant(counted), tf.constant([3, 0]), 3).numpy()
    for image, (some, excess) in enumerate(zip(counted > 0, (3, 0), strict=True)):
        order = np.sort(constraint[image][some])
        np.testing.assert_array_equal(kept[image], some & (constraint[image] <= order[-1 - excess]))
