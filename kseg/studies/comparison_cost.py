"""Memory and time of a train step with a loss, measured in a process of its own."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time

from kseg.studies.breakdown import LONGEST, reason

STEPS, LIMIT = 5, 900  # timed steps; seconds after which the process is stopped
ENVIRONMENT = {
    "TF_CPU_ALLOCATOR_USE_BFC": "true",  # the allocator that counts what it gives, to XLA's programs as well
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # the study that asks holds memory of the GPU as well
}  # fmt: skip
ROOMS = (2**33, 2**31)  # bytes of addresses to begin with on a processor, as many as the system gives


def cost(config, loss, head, channels, shape):
    """What training with a loss costs.

    Args:
        config: `kseg.configs.CompareLosses`.
        loss: its spelling.
        head: "sigmoid" or "softmax".
        channels: of the network.
        shape: `(H, W, C)` of the images.

    Returns:
        {"allocated": most MiB that TensorFlow has given out at a time within a step, beyond what it has between steps;
        nan where it does not count. "step": seconds a step, the median}. If the process failed both are nan, and "why".
    """
    job = {
        "loss": loss, "head": head, "channels": channels, "shape": list(shape), "filters": config.filters,
        "depth": config.depth, "decoder": config.decoder, "bn": config.bn, "jit": config.jit,
        "batch_size": config.batch_size,
    }  # fmt: skip
    why = None
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kseg.studies.comparison_cost", json.dumps(job)], env=os.environ | ENVIRONMENT,
            capture_output=True, text=True, timeout=LIMIT, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        found, why = {}, f"not done after {LIMIT} s"
    except subprocess.CalledProcessError as failed:
        found, why = {}, _last(failed.stderr) or f"ended with {failed.returncode}"
    except (OSError, ValueError, IndexError) as error:
        found, why = {}, reason(error)
    costs = {name: float("nan") if found.get(name) is None else float(found[name]) for name in ("allocated", "step")}
    return costs | ({"why": why} if why else {})


def _last(text):
    """The line of a traceback that names the error; "" without one."""
    named = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b", line)]
    return named[-1][:LONGEST] if named else ""


def measure(job):
    """{"allocated", "step"} of `cost`, None where unknown, in this process."""
    import numpy as np
    import tensorflow as tf

    from kseg.models import unet
    from kseg.training import compile_model
    from kseg.training.run import loss_of

    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    if device == "CPU:0":
        _make_room(tf)
    shape = job["shape"]
    model = unet(
        tuple(shape), job["channels"], filters=job["filters"], depth=job["depth"], bn=job["bn"], decoder=job["decoder"]
    )
    compile_model(model, loss_of(job["loss"], job["head"]), jit=job["jit"])
    rng = np.random.default_rng(0)
    images = rng.random((job["batch_size"], *shape), np.float32)
    masks = np.zeros((job["batch_size"], *shape[:2]), np.uint8)
    masks[:, shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 1
    images, masks = tf.constant(images), tf.constant(masks)
    for _ in range(2):  # traced, compiled
        model.train_on_batch(images, masks)
    before, seconds = _allocated(tf, device, "current"), []
    for _ in range(STEPS):
        start = time.perf_counter()
        model.train_on_batch(images, masks)
        seconds.append(time.perf_counter() - start)
    peak = _allocated(tf, device, "peak")
    return {"allocated": None if peak is None else peak - before, "step": float(np.median(seconds))}


def _make_room(tf):
    """Have the allocator ask the system for one large piece, of which nothing is used yet.

    Pieces that it asks for one by one are given out whole where up to half of them is left over, and counted so.
    """
    for room in ROOMS:
        with contextlib.suppress(tf.errors.ResourceExhaustedError):
            tf.raw_ops.Empty(shape=[2**10, room // 2**10], dtype=tf.uint8)  # lengths are int32
            break


def _allocated(tf, device, which):
    """MiB that are given out on a device now, "current", or were at most, "peak", which begins anew after "current"."""
    try:
        found = tf.config.experimental.get_memory_info(device)[which] / 2**20
        if which == "current":
            tf.config.experimental.reset_memory_stats(device)
        return found
    except (ValueError, TypeError, tf.errors.OpError):  # an allocator that does not count
        return None


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
