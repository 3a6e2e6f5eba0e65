"""Run as a program, this file prints what two replicas and one device compute; the tests compare the two."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

# Images in the batch; two replicas take two of them, and the rest.
BATCHES = {"even": 4, "uneven": 3, "one replica idle": 1}
# Each name once, some with the options that enter sums over replicas, or make them sums of an image, which stay.
SPECS = [
    "cce(ignore_class=0, class_weights=[1, 2, 5]) weighted",
    "cce summed",
    "bce(ignore_class=0, class_weights=[1, 2, 5])",
    "weighted_cce",
    "mse",
    "focal",
    "focal(ignore_class=0, per_image=True)",
    "topk_cce(ignore_class=0, class_weights=[1, 2, 5], k=0.4) weighted",
    "topk_cce(per_image=True)",
    "dice(ignore_class=0, class_weights=[1, 2, 5]) weighted",
    "dice(per_image=True)",
    "dice summed",
    "dice_square",
    "dicefg(empty='penalise_fp')",
    "dicefg_square",
    "log_dice",
    "jaccard",
    "tversky(empty='skip')",
    "focal_tversky",
    "dice_bce",
    "generalized_dice",
    "log_cosh_dice",
    "asymmetric",
    "mcc(ignore_class=0, class_weights=[1, 2, 5])",
    "wasserstein_dice",
    "combo",
    "unified_focal",
    "lovasz(ignore_class=0, class_weights=[1, 2, 5]) weighted",
    "boundary(ignore_class=0, include_background=True)",
    "hausdorff(ignore_class=0)",
    "cldice",
    "cce + 0.5*dicefg",
]


def losses():
    import kseg.losses

    assert set(kseg.losses.names()) <= {re.match(r"\w+", spec)[0] for spec in SPECS}, "a loss is missing here"
    family = []
    for spec in SPECS:
        name, _, kind = spec.rpartition(" ") if spec.endswith(("weighted", "summed")) else (spec, "", "")
        options = {"reduction": "sum"} if kind == "summed" else {}
        family.append((kseg.losses.get(name, from_logits=True, **options), kind == "weighted"))
    return family


def images(count):
    rng = np.random.default_rng(count)
    ids, logits = rng.integers(0, 3, (count, 3, 4)), 2 * rng.normal(size=(count, 3, 4, 3))
    ids[0, :2] = 0  # so that images differ in how many pixels are ignored
    return ids.astype("int32"), logits, rng.uniform(0.5, 2, count)


def compute(strategy):
    """{batch: {spec: [value, gradient]}}: the total over replicas, as `fit` adds them up."""
    import tensorflow as tf

    family = losses()

    def step(ids, logits, weight):
        if not tf.executing_eagerly():
            # Sizes that are not known are not compiled, which would take minutes; compiled programs have their tests.
            ids, logits = (
                tf.compat.v1.placeholder_with_default(tensor, [None] * 3 + tensor.shape[3:]) for tensor in (ids, logits)
            )
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(logits)
            values = [loss(ids, logits, weight if weighted else None) for loss, weighted in family]
        return values, [tape.gradient(value, logits) for value in values]

    batches = {label: tf.data.Dataset.from_tensor_slices(images(count)).batch(4) for label, count in BATCHES.items()}
    batches = {label: strategy.experimental_distribute_dataset(batch) for label, batch in batches.items()}

    def run(batch):
        return strategy.run(step, args=batch)

    if strategy.num_replicas_in_sync > 1:  # one device needs no graph, which would take longer than the sums
        run = tf.function(run, input_signature=[batches["even"].element_spec], autograph=False)

    results, parts = {}, strategy.experimental_local_results
    for label, batch in batches.items():
        values, gradients = run(next(iter(batch)))
        results[label] = {
            spec: [
                float(sum(part.numpy() for part in parts(value))),
                np.concatenate([part.numpy() for part in parts(gradient)]).tolist(),
            ]
            for spec, value, gradient in zip(SPECS, values, gradients, strict=True)
        }
    return results


def train(strategy):
    """Weights and metric after two epochs of a model on seven images, four a batch."""
    import keras

    import kseg.losses
    import kseg.metrics

    ids, logits, _ = images(7)
    with strategy.scope():
        inputs = keras.Input((3, 4, 3))
        start = keras.initializers.RandomNormal(seed=0)
        model = keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=start)(inputs))
        loss = kseg.losses.get("cce + dicefg", from_logits=True)
        model.compile(keras.optimizers.SGD(0.5), loss, metrics=[kseg.metrics.IoU(), kseg.metrics.PixelAccuracy()])
    history = model.fit(logits.astype("float32"), ids, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    weights = np.concatenate([np.ravel(variable.numpy()) for variable in model.trainable_variables])
    return {"weights": weights.tolist(), "iou": history["iou"], "accuracy": history["accuracy"]}


def main():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert two.num_replicas_in_sync == 2
    for task in (compute, train):
        # A third of the time would go into simplifying a graph of a hundred losses that runs three times.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": task is compute})
        print(json.dumps([task(one), task(two)]), flush=True)


@pytest.fixture(scope="module")
def program():
    return subprocess.run(
        [sys.executable, __file__],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.fixture(scope="module")
def computed(program):
    assert program.stdout, program.stderr[-1000:]
    return json.loads(program.stdout.splitlines()[0])


@pytest.fixture(scope="module")
def trained(program):
    assert program.returncode == 0, program.stderr[-1000:]
    return json.loads(program.stdout.splitlines()[1])


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("spec", SPECS)
def test_two_replicas_compute_what_one_device_does_on_the_joint_batch(computed, spec, batch):
    (value, gradient), (both_values, both_gradients) = (result[batch][spec] for result in computed)
    assert np.isfinite(value) and np.any(gradient)
    assert both_values == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(both_gradients, gradient, rtol=1e-6, atol=1e-12)


def test_a_model_trained_on_two_replicas_is_the_model_trained_on_one(trained):
    one, two = trained
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", ["iou", "accuracy"])
def test_metrics_count_the_pixels_of_all_replicas(trained, metric):
    one, two = trained
    assert two[metric] == pytest.approx(one[metric], rel=1e-5)


if __name__ == "__main__":
    main()
