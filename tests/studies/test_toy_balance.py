"""The toy study of class balance (S1.8 to S1.13)."""

import json

import h5py
import numpy as np
import pytest
import tensorflow as tf

from kseg.cli import main
from kseg.configs import ToyBalance
from kseg.models import toy_net
from kseg.studies import toy_alone, toy_balance
from kseg.studies.toy_runs import VALIDATION_DRAW, draw, stretches

LOSSES = ("cce", "dice", "dicefg", "dice_square", "dicefg_square")


def first_batch(config):
    images, labels = draw(config.seed, 0, config.batch_size, config.threshold)
    return images.numpy(), labels.numpy()


def formulas(p, y):
    """S1.2 to S1.5 in float64, from probabilities and one-hot labels `[B, H, W, 2]`."""
    p, y = p.astype(np.float64), y.astype(np.float64)
    axes = (0, 1, 2)
    shared = 2 * (p * y).sum(axes) + 1e-7
    plain = 1 - shared / (p.sum(axes) + y.sum(axes) + 1e-7)
    square = 1 - shared / ((p**2).sum(axes) + (y**2).sum(axes) + 1e-7)
    cce = -(y * np.log(np.clip(p, 1e-7, 1 - 1e-7))).sum(-1).mean()
    return {
        "cce": cce, "dice": plain.mean(), "dicefg": plain[1], "dice_square": square.mean(),
        "dicefg_square": square[1],
    }  # fmt: skip


@pytest.fixture(scope="module")
def long_run():
    """Cross-entropy, Adam and batch normalisation on balanced classes."""
    return toy_balance.run(ToyBalance(threshold=0.5, loss="cce", iterations=1502))


def test_curves_have_one_value_an_iteration(long_run):
    names = {f"{loss}_{kind}" for loss in LOSSES for kind in ("loss", "grad")}
    assert set(long_run.curves) == names | {"iteration", "accuracy", "accuracy_iteration", "complete"}
    assert long_run.complete
    assert long_run.curves["iteration"].tolist() == list(range(1502))
    for name in names:
        assert long_run.curves[name].shape == (1502,)
        assert np.isfinite(long_run.curves[name]).all()
        assert (long_run.curves[name] >= 0).all()


def test_accuracy_is_taken_every_250_iterations_and_at_the_end(long_run):
    expected = [0, 250, 500, 750, 1000, 1250, 1500, 1501]
    assert long_run.curves["accuracy_iteration"].tolist() == expected
    assert long_run.curves["accuracy"].shape == (8,)
    assert long_run.accuracy == long_run.curves["accuracy"][-1]
    assert long_run.best_accuracy == max(long_run.curves["accuracy"])


def test_balanced_classes_are_learned(long_run):
    assert long_run.accuracy > 0.95
    assert long_run.curves["cce_loss"][-100:].mean() < 0.5 * long_run.curves["cce_loss"][:100].mean()


def test_the_published_length_gives_41_accuracies():
    parts = stretches(10001)
    assert [stop - 1 for _, stop in parts] == list(range(0, 10001, 250))
    assert [i for start, stop in parts for i in range(start, stop)] == list(range(10001))


@pytest.mark.parametrize("bn", [False, True])
def test_first_losses_are_those_of_the_formulas(bn):
    config = ToyBalance(threshold=0.95, loss="dice", bn=bn, iterations=1, batch_size=3, seed=4)
    curves = toy_balance.run(config).curves
    images, labels = first_batch(config)
    logits = toy_net(bn, seed=4)(images, training=True).numpy().astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for name, expected in formulas(p, labels).items():
        assert curves[f"{name}_loss"][0] == pytest.approx(expected, rel=1e-5), name


@pytest.mark.parametrize("bn", [False, True])
def test_first_gradient_norms_are_those_of_a_tape(bn):
    config = ToyBalance(threshold=0.5, bn=bn, iterations=1, seed=1)
    curves = toy_balance.run(config).curves
    images, labels = first_batch(config)
    model = toy_net(bn, seed=1)
    axes = (0, 1, 2)
    with tf.GradientTape(persistent=True) as tape:
        p = tf.nn.softmax(model(images, training=True))
        cce = -tf.reduce_mean(tf.reduce_sum(labels * tf.math.log(p), -1))
        shared, truth = 2 * tf.reduce_sum(p * labels, axes), tf.reduce_sum(labels, axes)
        dice = 1 - shared / (tf.reduce_sum(p, axes) + truth)
        square = 1 - shared / (tf.reduce_sum(p * p, axes) + truth)
        values = {
            "cce": cce, "dice": tf.reduce_mean(dice), "dicefg": dice[1], "dice_square": tf.reduce_mean(square),
            "dicefg_square": square[1],
        }  # fmt: skip
    for name, value in values.items():
        gradients = tape.gradient(value, model.trainable_variables)
        norm = np.sqrt(sum(np.sum(g.numpy().astype(np.float64) ** 2) for g in gradients))
        assert curves[f"{name}_grad"][0] == pytest.approx(norm, rel=1e-4), name


@pytest.mark.parametrize("loss", ["cce", "dicefg"])
def test_the_named_loss_is_the_one_trained_with(loss):
    """One step of plain gradient descent by hand gives the losses of the second iteration."""
    config = ToyBalance(threshold=0.5, loss=loss, bn=False, optimizer="sgd", learning_rate=0.5, iterations=2)
    curves = toy_balance.run(config).curves
    images, labels = first_batch(config)
    model = toy_net(False, seed=0)
    with tf.GradientTape() as tape:
        p = tf.nn.softmax(model(images, training=True))
        shared, both = tf.reduce_sum(p * labels, (0, 1, 2)), tf.reduce_sum(p + labels, (0, 1, 2))
        cce = -tf.reduce_mean(tf.reduce_sum(labels * tf.math.log(p), -1))
        value = cce if loss == "cce" else 1 - 2 * shared[1] / both[1]
    for weight, gradient in zip(
        model.trainable_variables, tape.gradient(value, model.trainable_variables), strict=True
    ):
        weight.assign_sub(0.5 * gradient)
    images, labels = (part.numpy() for part in draw(0, 1, 2, 0.5))
    p = tf.nn.softmax(model(images)).numpy()
    for name, expected in formulas(p, labels).items():
        assert curves[f"{name}_loss"][1] == pytest.approx(expected, rel=1e-4), name


def test_seeds_repeat_and_differ():
    runs = [toy_balance.run(ToyBalance(iterations=4, seed=seed)).curves for seed in (3, 3, 5)]
    for name in runs[0]:
        np.testing.assert_array_equal(runs[0][name], runs[1][name])
    assert runs[0]["cce_loss"][0] != runs[2]["cce_loss"][0]


def test_batches_are_fresh_uniform_noise_above_a_threshold():
    images, labels = (part.numpy() for part in draw(0, 5, 100, 0.95))
    assert images.shape == (100, 32, 32, 1) and labels.shape == (100, 32, 32, 2)
    assert images.min() >= 0 and images.max() < 1
    np.testing.assert_array_equal(labels[..., 1], images[..., 0] > np.float32(0.95))
    np.testing.assert_array_equal(labels.sum(-1), 1)
    assert abs(labels[..., 1].mean() - 0.05) <= 0.002  # S1.8
    again, other = (draw(0, i, 100, 0.95)[0].numpy() for i in (5, 6))
    np.testing.assert_array_equal(again, images)
    assert not np.array_equal(other, images)


def test_pixels_at_the_threshold_are_background():
    threshold = float(draw(0, 0, 1, 0.5)[0][0, 3, 4, 0])
    labels = draw(0, 0, 1, threshold)[1].numpy()
    np.testing.assert_array_equal(labels[0, 3, 4], [1, 0])


@pytest.fixture
def finished(tmp_path, capfd):
    """The folder of a short run by the command line, and what was printed."""
    folder = tmp_path / "toy"
    words = ["--iterations", "252", "--threshold", "0.8", "--loss", "cce", "--output", str(folder)]
    assert main("toy_balance", words) == 0
    return folder, capfd.readouterr().out


def test_the_last_line_is_the_accuracy(finished):
    folder, out = finished
    accuracy = json.loads((folder / "record.json").read_text())["accuracy"]
    assert out.splitlines()[-1] == f"accuracy {accuracy:.4f}"
    assert 0 < accuracy < 1


def test_curves_and_figure_are_kept(finished):
    folder, _ = finished
    name = "cce_adam_nconv2_bs2_bn_fg20_seed0"  # 100 (1 - 0.8) rounded, not truncated to 19 (S1.13)
    assert {path.name for path in folder.iterdir()} == {"curves.h5", "balance.png", "record.json"}
    assert (folder / "balance.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(folder / "curves.h5") as file:
        assert list(file) == [name]
        group = file[name]
        curves = {f"{n}_{k}" for n in LOSSES for k in ("loss", "grad")}
        assert set(group) == curves | {"iteration", "accuracy", "accuracy_iteration"}
        assert group["cce_loss"].shape == (252,)
        assert group["accuracy_iteration"][:].tolist() == [0, 250, 251]
        assert (group.attrs["loss"], group.attrs["threshold"], group.attrs["bn"]) == ("cce", 0.8, True)
        assert group.attrs["accuracy"] == pytest.approx(group["accuracy"][-1])
        assert group.attrs["best_accuracy"] == pytest.approx(max(group["accuracy"]))


def test_adam_has_the_epsilon_of_the_document():
    """S1.10: 1e-8. With no foreground, the gradient of `dicefg` is so small that epsilon decides the step."""
    config = ToyBalance(threshold=0.99999999, bn=False, learning_rate=300.0, iterations=2, batch_size=1)
    curves = toy_balance.run(config).curves
    images, labels = first_batch(config)
    assert not labels[..., 1].any()
    model = toy_net(False, seed=0)
    with tf.GradientTape() as tape:
        p = tf.nn.softmax(model(images))[..., 1]
        value = 1 - 1e-7 / (tf.reduce_sum(p) + 1e-7)
    gradients = tape.gradient(value, model.trainable_variables)
    losses = {}
    for epsilon in (1e-8, 1e-7):
        stepped = toy_net(False, seed=0)
        for weight, gradient in zip(stepped.trainable_variables, gradients, strict=True):
            g = gradient.numpy().astype(np.float64)
            moment, square = 0.1 * g, 0.001 * g**2
            weight.assign_sub(300 * np.sqrt(0.001) / 0.1 * moment / (np.sqrt(square) + epsilon))
        images, labels = (part.numpy() for part in draw(0, 1, 1, config.threshold))
        losses[epsilon] = formulas(tf.nn.softmax(stepped(images)).numpy(), labels)["cce"]
    assert losses[1e-7] != pytest.approx(losses[1e-8], rel=0.01)  # else nothing is tested
    assert curves["cce_loss"][1] == pytest.approx(losses[1e-8], rel=1e-3)


def test_accuracy_is_that_of_the_moving_averages_of_batch_normalisation(monkeypatch):
    models = []

    def keep(*args, **options):
        models.append(toy_net(*args, **options))
        return models[-1]

    monkeypatch.setattr(toy_alone, "toy_net", keep)
    config = ToyBalance(threshold=0.5, loss="cce", bn=True, learning_rate=0.05, iterations=20)
    result = toy_balance.run(config)
    images, labels = draw(0, VALIDATION_DRAW, 100, 0.5)
    inference, training = (
        np.mean(np.argmax(models[0](images, training=mode), -1) == np.argmax(labels, -1)) for mode in (False, True)
    )
    assert inference != pytest.approx(training, abs=0.01)  # else nothing is tested
    assert result.accuracy == pytest.approx(inference, abs=1e-4)


def test_an_interrupted_run_keeps_the_curves_so_far(tmp_path, monkeypatch, capfd):
    def interrupt(self, task, completed):
        if completed > 250:
            raise KeyboardInterrupt

    monkeypatch.setattr("rich.progress.Progress.update", interrupt)
    folder = tmp_path / "toy"
    words = ["--iterations", "1000", "--loss", "cce", "--no-bn", "--output", str(folder)]
    assert main("toy_balance", words) == 130
    assert str(folder) in capfd.readouterr().err
    with h5py.File(folder / "curves.h5") as file:
        group = file["cce_adam_nconv2_bs2_nobn_fg5_seed0"]
        assert group["cce_loss"].shape == (251,)
        assert not group.attrs["complete"]
    assert (folder / "balance.png").is_file()
    assert json.loads((folder / "record.json").read_text())["status"] == "interrupted"
