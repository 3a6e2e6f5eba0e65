"""From logits to probabilities: which activation, and the model that ends in it."""

import keras

HEADS = ("auto", "sigmoid", "softmax")


def head_for(loss_head, classes, head="auto"):
    """Channels and activation for a data set and a loss.

    Args:
        loss_head: what the loss needs: "sigmoid", "softmax", or "auto" for either.
        classes: classes of the data, background included; at least 2.
        head: the wish: "sigmoid", "softmax" or "auto". Auto is one sigmoid channel for binary data and a loss
            that needs it (`bce`), else softmax.

    Returns:
        (channels, "sigmoid" | "softmax"). Binary data under sigmoid get one channel.

    Raises:
        ValueError: the wish does not fit the loss.
    """
    if head not in HEADS:
        raise ValueError(f"head={head!r} is not known. Expected one of: {', '.join(HEADS)}.")
    if "auto" not in (head, loss_head) and head != loss_head:
        other = "'cce' instead of 'bce'" if head == "softmax" else "'bce' instead of 'cce'"
        raise ValueError(
            f"head={head!r} does not fit a loss that needs a {loss_head} head. Expected head={loss_head!r} or "
            f"'auto'; to keep a {head} head take {other}."
        )
    if head == "auto" and loss_head == "sigmoid" and classes > 2:
        raise ValueError(
            f"a loss with 'bce' does not fit a softmax over {classes} classes. Expected 'cce' instead of 'bce', or "
            "head='sigmoid' for each class against the rest."
        )
    activation = next((h for h in (head, loss_head) if h != "auto"), "softmax")
    return (1 if activation == "sigmoid" and classes == 2 else classes), activation


def with_probabilities(model, head):
    """The same model followed by one sigmoid or softmax layer named `probabilities` (float32).

    Args:
        model: a `keras.Model` that ends in logits `[B, *S, K]`.
        head: "sigmoid" or "softmax".

    Returns:
        A `keras.Model` that shares all layers with `model`.
    """
    if head == "softmax" and model.output_shape[-1] == 1:
        raise ValueError("A softmax over one channel is always 1. Expected head='sigmoid' for one channel.")
    layer = keras.layers.Activation(head, dtype="float32", name="probabilities")
    return keras.Model(model.input, layer(model.output), name=model.name)
