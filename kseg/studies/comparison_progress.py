"""How far the comparison of losses is, and how long its epochs take."""

import time

import keras


class EpochTimes(keras.callbacks.Callback):
    """Seconds of the training of each epoch, validation left out, in `seconds`."""

    def __init__(self):
        super().__init__()
        self.seconds, self._start = [], None

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_test_begin(self, logs=None):
        if self._start is not None:
            self.seconds.append(time.perf_counter() - self._start)
            self._start = None


class Steps:
    """How far the study is: the epochs of all models, after the search's share."""

    def __init__(self, tell, entry, number, models, config, before):
        self._tell, self._entry, self._number, self._models = tell, entry, number, models
        self._epochs, self._before = config.epochs, before

    def say(self, what, epochs):
        """Tell what is being done with the model, of which so many epochs are done."""
        share = (self._number + epochs / self._epochs) / self._models
        about = f"{self._entry.name}{what}, model {self._number + 1} of {self._models}"
        self._tell(about, self._before + (1 - self._before) * share, not epochs)

    def epochs(self):
        """A Keras callback."""
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.say(f": epoch {epoch + 1} of {self._epochs}", epoch + 1)
        )
