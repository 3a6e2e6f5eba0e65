"""A loss as a graph and as an XLA program: each is traced once, and everything that needs it is tested here."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from graph_checks import operations
from hypothesis import example, given, settings
from hypothesis import strategies as st
from loss_cases import KINDS, QUIET, Case, check, side
from loss_checks import SHAPE, compiled_functions, draw, options_of, program, value_and_gradient

import kseg.losses as L

# Drawn batches go to half of the losses as a part of a compiled function, to half as the program that `fit` gets.
WAYS = [(name, *(("xla", "ids"), ("known sizes", "shares"))[i % 2]) for i, name in enumerate(L.names())]


@pytest.mark.parametrize("name", L.names())
def test_eager_graph_and_xla_agree(name):
    options = options_of(name, 3)
    loss, graph = L.get(name, from_logits=True, **options), program("unknown sizes", name, **options)
    for shape in ((1, 5, 2), SHAPE):
        ids, logits = draw(3, shape)
        weight = np.random.default_rng(1).uniform(0.5, 2, shape)
        tensors = tf.constant(ids, tf.int32), tf.constant(logits, tf.float32), tf.constant(weight, tf.float32)
        eager = value_and_gradient(loss, *tensors)
        for ours, expected in zip(graph(*tensors), eager, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)
    assert graph.experimental_get_tracing_count() == 1, "a new size of image must not trace again"
    found = operations(graph.get_concrete_function())
    assert found and not {op for op in found if "PyFunc" in op}
    shares = tf.constant(reference.one_hot(ids, 3), tf.float32)
    for way, labels, y in (("xla", "ids", tensors[0]), ("known sizes", "shares", shares)):
        compiled = program(way, name, labels=labels, **options)
        assert way == "xla" or compiled_functions(compiled, y, *tensors[1:]) >= 1
        for ours, expected in zip(compiled(y, *tensors[1:]), eager, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", L.names())
@settings(max_examples=10, **QUIET)
@given(sides=st.tuples(side, side, side), images=st.integers(1, 3), **KINDS)
@example(sides=(512, 512, 512), images=1, mask="random", scores="extremes", weights="random", seed=0)
@example(sides=(1, 1, 1), images=1, mask="full", scores="all low", weights="large", seed=0)
@example(sides=(1, 1, 1), images=1, mask="ignored", scores="all high", weights="ones", seed=0)
def test_a_graph_of_images_of_any_size(name, **drawn):
    case = Case(name, 3, "float32", 2, "ids", "pixels", options_of(name, 3))
    check(program("unknown sizes", name, **case.options), case, **drawn)


@pytest.mark.parametrize(("name", "way", "labels"), WAYS)
@settings(max_examples=16, **QUIET)
@given(**KINDS)
def test_an_xla_program_of_images_of_one_size(name, way, labels, **drawn):
    case = Case(name, 3, "float32", 2, labels, "pixels", options_of(name, 3))
    function = program(way, name, labels=labels, **case.options)
    check(function, case, sides=SHAPE[1:], images=SHAPE[0], **drawn)
