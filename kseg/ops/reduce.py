"""Sums over space, over the batch and over replicas."""

import tensorflow as tf


def space_axes(tensor):
    """The axes between batch and channel of `[B, *S, K]`, whatever the number of dimensions."""
    return list(range(1, tensor.shape.rank - 1))


def space_sum(tensor):
    """Sum of `[B, *S, K]` over space: `[B, K]`."""
    return tf.reduce_sum(tensor, axis=space_axes(tensor))


def lines_of(shape):
    """`[B, *S]` as [B, lines, length of a line], for any number of spatial axes."""
    return [shape[0], tf.reduce_prod(tf.stack([1, *shape[1:-1]])), shape[-1]]


def group_sums(terms, shape, per_image=False):
    """Sums of `[N, K]` over the pixels of each image, or of all images.

    Args:
        terms: `[N, K]`.
        shape: `[B, *S]`, sizes whose product is N. Sums run over lines, images and the batch in turn, which keeps
            float32 sums of millions of pixels exact to about 1e-5.
        per_image: one sum per image.

    Returns:
        `[B, K]` with `per_image`, else `[1, K]`, of this replica.
    """
    lines = tf.reshape(terms, [*lines_of(shape), terms.shape[-1]])
    sums = tf.reduce_sum(tf.reduce_sum(lines, axis=2), axis=1)
    return sums if per_image else tf.reduce_sum(sums, axis=0, keepdims=True)


def spread_groups(groups, shape, per_image=False):
    """What multiplies the terms of `group_sums`, from one number a group and class: `[1, K]`, or `[N, K]` per image."""
    if not per_image:
        return groups
    lines = [*lines_of(shape), groups.shape[-1]]
    return tf.reshape(tf.broadcast_to(groups[:, None, None], lines), [tf.reduce_prod(lines[:-1]), lines[-1]])


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


def replica_concat(tensors):
    """Join `[R, n]` of all replicas along the second axis; n may differ between them. Not differentiable.

    Args:
        tensors: list of tensors of one shape.

    Returns:
        (list of `[R, sum of n]`, where this replica's part starts).
    """
    if replica_count() == 1:
        return tensors, 0
    size = tf.shape(tensors[0])[1]
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    sizes = replica_sum(tf.one_hot(replica, replica_count(), size, 0))
    start, total = tf.reduce_sum(sizes[:replica]), tf.reduce_sum(sizes)
    pads = [[0, 0], [start, total - start - size]]  # a sum of padded parts needs no equal sizes, a gather does
    return [replica_sum(tf.pad(tensor, pads)) for tensor in tensors], start


def global_norm(tensors):
    """Euclidean norm over all entries of a list of tensors, as a scalar: sqrt(sum of squares)."""
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(t)) for t in tensors]))
