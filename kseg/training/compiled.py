"""Networks that stay compiled from one training to the next."""

from dataclasses import fields
from pathlib import Path

import numpy as np

MAPS, MOST = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
FULL = 0.9  # share of the maps of memory that a process may have
SAME = {  # options that may differ between trainings of one compiled network
    "data", "seed", "learning_rate", "epochs", "epoch_steps", "batch_size", "augment", "cutout", "early_stopping",
    "schedule", "deterministic", "verify", "tensorboard", "resume", "config", "dry_run", "output", "overwrite",
}  # fmt: skip


class Networks:
    """Compiled networks of trainings that differ in data, seed or learning rate alone.

    XLA takes longer to compile a step of a small U-Net than to train it for an epoch, and never gives back the memory
    that it has mapped for a program: after some thirty networks a process reaches the 65,530 maps that Linux allows,
    and ends by a fault. What would be compiled again is therefore kept.
    """

    def __init__(self):
        self._kept = {}

    def take(self, config, shape, channels, fresh, make):
        """A compiled model with the weights of a fresh one, and an optimiser that has not been used.

        Args:
            config: `kseg.configs.Train`.
            shape: (H, W, C) of the images.
            channels: of the model.
            fresh: the model with the weights to begin with; not compiled.
            make: () -> None, compiles `fresh`.

        Returns:
            `fresh`, compiled, or an equal one that was compiled before.

        Raises:
            MemoryError: no room for another program.
        """
        if not _fits(config):
            check_room_for_programs(config.jit)
            make()
            return fresh
        key = (shape, channels, *(getattr(config, field.name) for field in fields(config) if field.name not in SAME))
        if key not in self._kept:
            check_room_for_programs(config.jit)
            make()
            fresh.optimizer.build(fresh.trainable_variables)
            self._kept[key] = fresh, [np.array(variable) for variable in fresh.optimizer.variables]
            return fresh
        model, unused = self._kept[key]
        for old, new in zip(model.variables, fresh.variables, strict=True):
            old.assign(new)
        for variable, value in zip(model.optimizer.variables, unused, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate = config.learning_rate
        return model


def check_room_for_programs(jit):
    """Raise MemoryError where XLA would soon ask for more maps of memory than a process may have, and end by a fault.

    Args:
        jit: whether anything will be compiled.
    """
    try:
        used, most = MAPS.read_bytes().count(b"\n"), int(MOST.read_text())
    except (OSError, ValueError):  # no Linux: nothing is known
        return
    if jit and used > FULL * most:
        raise MemoryError(
            f"XLA has compiled so many programs in this process that {used} of {most} maps of memory are taken. "
            "Expected room for another; go on in a new process (--resume), or take --no-jit."
        )


def _fits(config):
    """Whether a training of this kind leaves nothing in a network but weights and the optimiser's variables."""
    return not config.perturb and config.devices == 1 and config.ema is None and config.schedule != "cosine"
