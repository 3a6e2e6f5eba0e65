"""What holds for every graph op: one trace for all sizes, no call back to Python, eager = graph = XLA."""

import numpy as np
import tensorflow as tf


def operations(function):
    """The kinds of nodes in a concrete function's graph and in the functions it calls."""
    definition = function.graph.as_graph_def()
    nodes = [*definition.node, *(node for f in definition.library.function for node in f.node_def)]
    return {node.op for node in nodes}


def check_graph_op(op, signature, batches, rtol=1e-6, atol=1e-6):
    """Run `op` on batches of several sizes: eagerly, in one graph of unknown sizes, in one of known sizes, by XLA.

    Args:
        op: takes tensors, returns a tensor or a tuple of them.
        signature: TensorSpecs with sizes None.
        batches: lists of arrays; one of them may be empty.
    """
    traces = []

    def traced(*tensors):
        traces.append(len(traces))
        return op(*tensors)

    graph = tf.function(traced, input_signature=signature, autograph=False)
    for batch in batches:
        tensors = [tf.constant(array, spec.dtype) for array, spec in zip(batch, signature, strict=True)]
        eager = tf.nest.flatten(op(*tensors))
        assert len(eager) > 0
        for way in (graph, tf.function(op, autograph=False), tf.function(op, autograph=False, jit_compile=True)):
            results = tf.nest.flatten(way(*tensors))
            for result, expected in zip(results, eager, strict=True):
                assert result.shape == expected.shape and result.dtype == expected.dtype
                np.testing.assert_allclose(result, expected, rtol=rtol, atol=atol)
    assert len(traces) == 1, "another size of image traced again"
    found = operations(graph.get_concrete_function())
    assert found and not {kind for kind in found if "PyFunc" in kind or "Callback" in kind}
