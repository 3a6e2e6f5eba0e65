"""Sums over space, over the batch and over replicas."""

import tensorflow as tf


def space_axes(tensor):
    """The axes between batch and channel of `[B, *S, K]`, whatever the number of dimensions."""
    return list(range(1, tensor.shape.rank - 1))


def space_sum(tensor):
    """Sum of `[B, *S, K]` over space: `[B, K]`."""
    return tf.reduce_sum(tensor, axis=space_axes(tensor))


def replica_count():
    """Number of replicas that run this computation in step (1 without `tf.distribute`)."""
    if tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_sum(tensors):
    """Sum each tensor of a nest over all replicas; differentiable; the identity on one replica.

    The gradient of an all-reduced sum is the all-reduced gradient, so a ratio of such sums has on N
    replicas the gradient that it has on one.
    """
    if replica_count() == 1:
        return tensors
    context = tf.distribute.get_replica_context()
    return tf.nest.map_structure(lambda t: context.all_reduce(tf.distribute.ReduceOp.SUM, t), tensors)


def global_norm(tensors):
    """Euclidean norm over all entries of a list of tensors, as a scalar: sqrt(sum of squares)."""
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(t)) for t in tensors]))
