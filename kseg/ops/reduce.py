"""Sums over space, over the batch and over replicas."""

import math

import tensorflow as tf

STAGE = 256  # terms that are added up in one go


def space_sum(tensor):
    """Sum of `[B, *S, K]` over space, as exact as `group_sums`: `[B, K]`."""
    known, dynamic = tensor.shape[:-1].as_list(), tf.shape(tensor)
    return group_sums(tensor, [dynamic[i] if size is None else size for i, size in enumerate(known)], per_image=True)


def lines_of(shape):
    """`[B, *S]` as [B, lines, length of a line], for any number of spatial axes."""
    return [shape[0], tf.reduce_prod(tf.stack([1, *shape[1:-1]])), shape[-1]]


def group_sums(terms, shape, per_image=False):
    """Sums of `[N, K]` over the pixels of each image, or of all images.

    Args:
        terms: `[N, K]` or `[B, *S, K]`.
        shape: `[B, *S]`, sizes whose product is N. Sums run over lines, images and the batch in turn, which keeps
            float32 sums of millions of pixels exact to about 1e-5.
        per_image: one sum per image.

    Returns:
        `[B, K]` with `per_image`, else `[1, K]`, of this replica.
    """
    sums = _sums(tf.reshape(terms, [-1, terms.shape[-1]]), shape)
    return sums if per_image else tf.reduce_sum(sums, axis=0, keepdims=True)


def image_sums(terms, shape):
    """Sum over each image `[B]` of terms `[N]`; see `group_sums`."""
    return _sums(terms, shape)


def _sums(terms, shape):
    """`[B, *rest]` from `[N, *rest]`. Between two sums stands a factor, which keeps XLA from joining them."""
    rest = terms.shape[1:]
    if any(map(tf.is_tensor, shape)):  # sizes that are not known
        batch, lines, length = lines_of(shape)
        factor = tf.cast(tf.maximum(length, 1), terms.dtype)
        means = tf.reduce_sum(tf.reshape(terms, [batch, lines, length, *rest]), axis=2) / factor
        return tf.reduce_sum(means, axis=1) * factor
    terms, scale = tf.reshape(terms, [shape[0], math.prod(shape[1:]), *rest]), 1.0
    part = _divisor(shape[-1])  # within lines at first: labels made from ids by the way are made line by line
    while (count := terms.shape[1]) > 1:
        if part < min(count, STAGE // 8):
            part = _divisor(count)
        if part < min(count, STAGE // 8):
            part = STAGE
            terms = tf.pad(terms, [[0, 0], [0, -count % part], *[[0, 0]] * len(rest)])
        stage = tf.reshape(terms, [shape[0], terms.shape[1] // part, part, *rest])
        terms, scale = tf.reduce_sum(stage, axis=2) / part, scale * part
        part = _divisor(terms.shape[1])
    return tf.reduce_sum(terms, axis=1) * scale


def _divisor(count):
    """The largest number up to `STAGE` that `count` is a multiple of."""
    return max(d for d in range(1, STAGE + 1) if count % d == 0)


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
