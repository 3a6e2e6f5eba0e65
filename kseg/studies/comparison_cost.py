"""Memory and time of a train step with a loss, measured in a process of its own."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from kseg.studies.breakdown import LONGEST, reason

STEPS, LIMIT = 5, 900  # timed steps; seconds after which the process is stopped
# Freed memory goes back at once, so that the peak is what a step needs and not what some step left behind.
ENVIRONMENT = {
    "TF_CPU_ALLOCATOR_USE_BFC": "false", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # the study that asks holds memory of the GPU as well
}  # fmt: skip
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def cost(config, loss, head, channels, shape):
    """What training with a loss costs.

    Args:
        config: `kseg.configs.CompareLosses`.
        loss: its spelling.
        head: "sigmoid" or "softmax".
        channels: of the network.
        shape: `(H, W, C)` of the images.

    Returns:
        {"memory": MiB that a step takes beyond what the process has between steps (on a GPU: peak of its memory), nan
        where the system does not tell; "step": seconds a step, the median}; if the process failed both nan, and "why".
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
    costs = {name: float("nan") if found.get(name) is None else float(found[name]) for name in ("memory", "step")}
    return costs | ({"why": why} if why else {})


def _last(text):
    """The line of a traceback that names the error; "" without one."""
    named = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b", line)]
    return named[-1][:LONGEST] if named else ""


def measure(job):
    """{"memory", "step"} of `cost`, None where unknown, in this process."""
    import numpy as np
    import tensorflow as tf

    from kseg.models import unet
    from kseg.training import compile_model
    from kseg.training.run import loss_of

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
    gpu = tf.config.list_physical_devices("GPU")
    if gpu:
        tf.config.experimental.reset_memory_stats("GPU:0")
    before, seconds = None if gpu else _reset(), []
    for _ in range(STEPS):
        start = time.perf_counter()
        model.train_on_batch(images, masks)
        seconds.append(time.perf_counter() - start)
    if gpu:
        memory = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    else:
        memory = None if before is None else _kib("VmHWM") / 1024 - before
    return {"memory": memory, "step": float(np.median(seconds))}


def _reset():
    """Forget the peak of this process's memory; gives MiB that it has now, or None where the system does not tell."""
    try:
        RESET.write_text("5")
        return _kib("VmRSS") / 1024
    except (OSError, ValueError):
        return None


def _kib(name):
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
