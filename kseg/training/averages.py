"""Averages of the weights over the steps of training (Polyak), which Keras' optimisers keep with `use_ema=True`."""

from contextlib import contextmanager

import keras


class SwapAverages(keras.callbacks.SwapEMAWeights):
    """Validate with the averages in the place of the weights.

    Keras' own callback swaps two numbers by sums and differences, which rounds, so that each validation would change
    the weights a little, and small ones next to large averages much. Here they change places as they are.
    """

    def _tf_swap_variables(self, optimizer):
        self._backend_swap_variables(optimizer)


def has_averages(model):
    """Whether a model is compiled with an optimiser that keeps averages."""
    optimizer = getattr(model, "optimizer", None)
    return bool(getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False))


@contextmanager
def averaged(model):
    """Within the block the model has its averages as weights, if its optimiser keeps any."""
    if not has_averages(model):
        yield model
        return
    swap = SwapAverages()
    swap.set_model(model)
    swap.on_test_begin()
    try:
        yield model
    finally:
        swap.on_test_end()
