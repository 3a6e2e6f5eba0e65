"""Keras callbacks: keep the history and the best model, stop on nan, show progress."""

import csv
import math

import keras

from kseg.files import atomic, write_csv
from kseg.models import with_probabilities
from kseg.training.averages import averaged
from kseg.training.state import row_of


class TellRate(keras.callbacks.Callback):
    """Add the learning rate to what is told of an epoch, as Keras does where a callback sets it, for schedules."""

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class KeepHistory(keras.callbacks.Callback):
    """Write one row per epoch to a CSV file, whole after each; no file stays open when training breaks off.

    Args:
        path: the CSV file.
        progress: of `read_progress`, to go on from; the file then begins with its rows, whatever it held.
    """

    def __init__(self, path, progress=None):
        super().__init__()
        self.path, self.rows = path, list(progress.rows) if progress else []

    def on_train_begin(self, logs=None):
        if self.rows:
            write_csv(self.path, self.rows)

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(row_of(epoch, logs))
        write_csv(self.path, self.rows)


def read_history(path):
    """{column: list of floats} of a history.csv; empty columns when training broke off before an epoch."""
    if not path.is_file():
        return {"epoch": []}
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    return {name: [float(row[name] or "nan") for row in rows] for name in reader.fieldnames or ["epoch"]}


class KeepBest(keras.callbacks.Callback):
    """Save the model with its probabilities whenever a metric has not been better before.

    An optimiser that keeps averages of the weights gives those to the saved model.

    Args:
        path: the `.keras` file; it loads without kseg.
        head: "sigmoid" or "softmax".
        monitor: the metric, larger is better; nan counts as worst. Without validation, that of the training.
        progress: of `read_progress`, to go on from. If its last epoch is the best, the file is written again, for it
            may not have come to that.
    """

    def __init__(self, path, head, monitor="val_dice", progress=None):
        super().__init__()
        self.path, self.head, self.monitor = path, head, monitor
        self.best, self._done = None, [self._value(row) for row in progress.rows] if progress else []

    def _value(self, logs):
        return float(logs.get(self.monitor, logs.get(self.monitor.removeprefix("val_"), math.nan)))

    def on_train_begin(self, logs=None):
        if self._done:
            self.best = self._done[best_epoch(self._done)]
            if best_epoch(self._done) == len(self._done) - 1:
                self._write()

    def on_epoch_end(self, epoch, logs=None):
        value = self._value(logs or {})
        if self.best is None or math.isnan(self.best) or value > self.best:
            self.best = value
            self._write()

    def _write(self):
        with averaged(self.model), atomic(self.path) as part:
            with_probabilities(self.model, self.head).save(part)


def best_epoch(values):
    """Index of the epoch whose model `KeepBest` keeps: the first best value, the last if all are nan."""
    best = 0
    for epoch, value in enumerate(values):
        if math.isnan(values[best]) or value > values[best]:
            best = epoch
    return best


class StopOnNaN(keras.callbacks.Callback):
    """Raise FloatingPointError at the end of an epoch whose loss, or that of validation, is not finite."""

    def on_epoch_end(self, epoch, logs=None):
        losses = [float((logs or {}).get(name, 0.0)) for name in ("loss", "val_loss")]
        if not all(map(math.isfinite, losses)):
            raise FloatingPointError(
                f"the loss is {losses[0]}, that of validation {losses[1]}, in epoch {epoch + 1}. Expected finite "
                "losses; lower the learning rate, or check the labels: a class id outside the classes gives nan."
            )


class ShowProgress(keras.callbacks.Callback):
    """One progress bar over all epochs, with the time left and a line per epoch.

    Args:
        console: a `rich.console.Console`; where it is no terminal, only the lines are printed.
    """

    def __init__(self, console):
        super().__init__()
        self.console, self.bar, self.task = console, None, None

    def on_train_begin(self, logs=None):
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.steps, self.epochs = self.params.get("steps"), self.params["epochs"]
        if not self.console.is_terminal:
            return
        columns = ("epoch {task.fields[epoch]}", BarColumn(None), "{task.percentage:>3.0f}%", "{task.fields[loss]}")
        self.bar = Progress(
            *(TextColumn(c) if isinstance(c, str) else c for c in columns),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=self.console,
        )  # fmt: skip
        total = self.steps * self.epochs if self.steps else None
        self.task = self.bar.add_task("fit", total=total, epoch=f"1/{self.epochs}", loss="")
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        if self.bar:
            loss = f"loss {float(logs['loss']):.4f}" if logs and batch % 5 == 0 else None
            self.bar.update(self.task, advance=1, **({"loss": loss} if loss else {}))

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar:
            self.bar.update(self.task, epoch=f"{epoch + 1}/{self.epochs}", completed=(self.steps or 0) * epoch)

    def on_epoch_end(self, epoch, logs=None):
        values = "  ".join(
            f"{name.replace('_', ' ')} {float(value):{'.3g' if name == 'learning_rate' else '.4f'}}"
            for name, value in (logs or {}).items()
        )
        self.console.print(f"epoch {epoch + 1:>3}/{self.epochs}  {values}", highlight=False)

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Take the bar away, also when training broke off."""
        if self.bar:
            self.bar.stop()
            self.bar = None
