"""Several devices. Run as a program, this file prints what one device and two logical CPUs make of one training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kseg.configs import Train

LUNGS = "lungs(size=32, counts=(7, 4, 2))"  # the last batch is divided into 2 and 1
OPTIONS = {"loss": "cce + dicefg", "filters": 2, "depth": 1, "batch_size": 4, "epochs": 2, "optimizer": "sgd"}
CUT = {"clip_norm": 1.0}, {"jit": True}, {"perturb": ("pgd",)}, {"batch_size": 6}, {"batch_size": 3}


def train(folder, devices, epochs=2, **options):
    """(history, weights of the model and of the saved one, how it was divided); goes on with what is in the folder."""
    import keras

    from kseg.training import fit, read_progress
    from kseg.training.job import prepare

    folder.mkdir(exist_ok=True)
    job = prepare(Train(data=LUNGS, devices=devices, learning_rate=0.1, **OPTIONS, **options))
    progress = read_progress(folder)
    start = progress.epochs * job.steps if progress else 0
    history = fit(
        job.model, job.batches(start), job.validation(), epochs=epochs, steps=job.steps, folder=folder, head=job.head,
        progress=progress,
    ).history  # fmt: skip
    saved = keras.saving.load_model(folder / "model.keras", compile=False)
    weights = [np.concatenate([np.ravel(v.numpy()) for v in model.weights]).tolist() for model in (job.model, saved)]
    return {"history": history, "weights": weights, "replicas": job.model.distribute_strategy.num_replicas_in_sync}


def main(folder):
    import tensorflow as tf

    from kseg.training.job import prepare

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    train(folder / "two", "all", epochs=1)
    found = {"one": train(folder / "one", 1), "two": train(folder / "two", 2), "refused": []}
    for options in ({"devices": 3}, *({"devices": 2} | cut for cut in CUT)):
        try:
            prepare(Train(**{"data": LUNGS, "filters": 2, "depth": 1, "batch_size": 4} | options))
        except ValueError as error:
            found["refused"].append(str(error))
    print(json.dumps(found))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    words = [sys.executable, __file__, tmp_path_factory.mktemp("devices")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("curve", ["loss", "dice", "val_loss", "val_dice"])
def test_two_devices_give_the_curves_of_one(found, curve):
    """With batch normalisation, an uneven last batch, and a second epoch that goes on from the state of the first."""
    one, two = (found[name]["history"][curve] for name in ("one", "two"))
    assert found["two"]["replicas"] == 2 and found["one"]["replicas"] == 1
    assert len(one) == 2 and one[0] != one[1]
    assert two == pytest.approx(one, abs=1e-5)


def test_two_devices_give_the_weights_of_one(found):
    for one, two in zip(found["one"]["weights"], found["two"]["weights"], strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)


def test_what_devices_cannot_do_is_refused_with_the_reason(found):
    many, clip, jit, perturb, idle, odd = found["refused"]
    assert "--devices=3 does not fit. Expected at most 2: TensorFlow sees 2 CPUs here" in many
    assert "--clip-norm does not fit 2 devices: Keras would clip what each device gives before their sum" in clip
    assert "--jit does not fit 2 devices: XLA cannot compile" in jit
    assert "--perturb does not fit 2 devices" in perturb
    assert "--batch-size=6 does not fit 2 devices and the 7 images of split 'train': of its last batch of 1" in idle
    assert idle.endswith("Expected another, such as 4.")
    assert "Keras begins with a batch of 3, whose parts must be equal. Expected another, such as 4." in odd
    assert all("Expected" in each and "\n" not in each for each in found["refused"])


@pytest.mark.parametrize("wanted", ["0", "-1", "some", "1.5"])
def test_numbers_of_devices_that_do_not_fit(refused, wanted):
    assert "--devices" in refused("train", "--devices", wanted)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
