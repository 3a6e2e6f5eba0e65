"""Whatever hypothesis draws, value and gradient are finite, and what does not count has no gradient.

Each loss is drawn eagerly with any options, and by way of a function that is traced once for images of any size, as
`fit` runs it; test_programs draws from those of one set of options, and from XLA programs.
"""

import random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from loss_cases import DTYPES, KINDS, QUIET, case_of, check, side
from loss_checks import LABELS, SOFTMAX_ONLY, program, value_and_gradient

import kseg.losses as L


def traced(i, name):
    """A case of a loss, of few or of many classes, which differs from those of the losses beside it."""
    classes, labels = (1 + i % 3, 4 + i % 5)[i % 2], list(LABELS)[i // 2 % 3]
    dtype, rank, weights = DTYPES[(i + i // 3) % 3], 2 + i // 2 % 2, ("pixels", "images")[i // 3 % 2]
    return case_of(name, classes, dtype, rank, labels, weights, random.Random(f"{name} {i % 2}").choice)


@pytest.mark.parametrize("case", [traced(i, name) for i, name in enumerate(L.names())], ids=str)
@settings(max_examples=10, **QUIET)
@given(sides=st.tuples(side, side, side), images=st.integers(1, 3), **KINDS)
@example(sides=(512, 512, 512), images=1, mask="random", scores="extremes", weights="random", seed=0)
@example(sides=(1, 1, 1), images=1, mask="full", scores="all low", weights="large", seed=0)
@example(sides=(1, 1, 1), images=1, mask="ignored", scores="all high", weights="ones", seed=0)
def test_a_traced_function_of_images_of_any_size(case, **drawn):
    c = case._asdict()
    function = program("unknown sizes", c.pop("name"), c.pop("classes"), **c.pop("options"), **c)
    check(function, case, **drawn)
    assert function.experimental_get_tracing_count() == 1, "another size of image traced again"


@pytest.mark.parametrize("name", L.names())
@settings(max_examples=8, **QUIET)
@given(
    classes=st.integers(1, 8),
    dtype=st.sampled_from(DTYPES),
    rank=st.sampled_from([2, 3]),
    labels=st.sampled_from(list(LABELS)),
    per=st.sampled_from(["pixels", "images"]),
    sides=st.tuples(side, side, side),
    images=st.integers(1, 3),
    data=st.data(),
    **KINDS,
)
def test_any_options_outside_a_graph(name, classes, dtype, rank, labels, per, data, **drawn):
    case = case_of(name, classes, dtype, rank, labels, per, lambda values: data.draw(st.sampled_from(values)))
    loss = L.get(name, from_logits=True, **case.options)
    check(lambda *tensors: value_and_gradient(loss, *tensors), case, **drawn)


# Few classes in half precision, many in float32; the last one is an XLA program.
WRONG = [("unknown sizes", 1, "float16"), ("unknown sizes", 3, "bfloat16"), ("known sizes", 8, "float32")]


@pytest.mark.parametrize("name", ["cce", "weighted_cce", "bce", "focal"])
@pytest.mark.parametrize(("way", "classes", "dtype"), WRONG)
@settings(max_examples=20, **QUIET)
@given(margin=st.floats(0.01, 1e4), foreground=st.booleans())
def test_a_wrong_pixel_keeps_its_gradient_at_any_logit(name, way, classes, dtype, margin, foreground):
    classes = max(classes, 2) if name in SOFTMAX_ONLY else classes
    true, guess = (max(classes, 2) - 1, 0) if foreground else (0, max(classes, 2) - 1)
    z = np.zeros((1, 1, 2, classes))
    z[..., -1] = margin if guess else -margin  # both pixels say `guess`
    function = program(way, name, classes, dtype=dtype)
    _, gradient = function(tf.constant([[[true, guess]]]), tf.cast(z, dtype), tf.ones([1, 1, 2]))
    wrong = float(gradient[0, 0, 0, -1])
    assert (wrong < 0) if true else (wrong > 0)
    assert abs(wrong) > 1e-3 / classes
