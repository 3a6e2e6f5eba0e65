"""Sums of losses, spelled out: "bce + 0.5*dice + focal(gamma=3)"."""

import ast

import keras

from kseg.losses.base import LOSSES, SegmentationLoss
from kseg.losses.options import check_options
from kseg.losses.pixels import prepare

LONGEST = 1000
SHARED = ("reduction", "name", "dtype")
WHOLE = (*SHARED, "from_logits")


def get(spec, **options):
    """A loss from its name, or a sum of losses from its spelling.

    Args:
        spec: a name (`kseg.losses.names()`), a name with options ("tversky(fp_weight=0.5, fn_weight=0.5)"),
            a weighted sum of them ("bce + 0.5*dice"), or a loss, which is returned as it is.
        **options: constructor options. In a sum each goes to every term that has it and does not set it
            itself; an option that no term has is an error.

    Returns:
        A `keras.losses.Loss` for `model.compile`.

    Raises:
        ValueError: unknown name (the nearest ones are named), illegal option or value, bad spelling.

    Example:
        >>> get("bce + 0.5*dice", from_logits=True).spec
        'bce + 0.5*dice'
    """
    if isinstance(spec, keras.losses.Loss):
        if options:
            raise ValueError(f"Got a ready loss and options {sorted(options)}. Give the options to the loss.")
        return spec
    terms = parse(spec)
    if len(terms) == 1 and terms[0][0] == 1.0:
        _, name, own = terms[0]
        return LOSSES.get(name)(**{**options, **own})
    accepted = {option for _, name, _ in terms for option in LOSSES.get(name).defaults}
    check_options(spec, {k: v for k, v in options.items() if k not in accepted}, sorted(accepted))
    shared = {k: options.pop(k) for k in SHARED if k in options}
    losses = []
    for weight, name, own in terms:
        cls = LOSSES.get(name)
        given = {k: v for k, v in options.items() if k in cls.defaults}
        losses.append((weight, cls(**{**given, **own})))
    return Sum(losses, **shared)


def parse(spec):
    """[(weight, name, options)] of a spelled-out sum; reads literals only, never evaluates."""
    if not isinstance(spec, str) or not spec.strip() or len(spec) > LONGEST:
        raise ValueError(f"loss {spec!r:.80} is no loss. Expected a name or a sum such as 'bce + 0.5*dice'.")
    try:
        tree = ast.parse(spec.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _spelling(spec) from None
    return [_term(node, spec) for node in _summands(tree)]


def _summands(node):
    parts = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts.append(node.right)
        node = node.left
    return [node, *reversed(parts)]


def _term(node, spec):
    weight = 1.0
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        number, node = (node.left, node.right)
        if not isinstance(number, ast.Constant):
            number, node = node, number
        weight = getattr(number, "value", None)
        if type(weight) not in (int, float) or not 0 < weight < float("inf"):
            raise _spelling(spec)
    options = {}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        for keyword in node.keywords:
            try:
                options[keyword.arg] = ast.literal_eval(keyword.value)
            except (ValueError, TypeError):
                raise _spelling(spec) from None
        if len(options) < len(node.keywords):
            raise _spelling(spec)
        for name in WHOLE:
            if name in options:
                raise ValueError(
                    f"loss {spec!r} sets {name} for one term. Expected it for the whole loss: "
                    f"kseg.losses.get(..., {name}={options[name]!r})."
                )
        node = node.func
    if not isinstance(node, ast.Name) or None in options:
        raise _spelling(spec)
    LOSSES.get(node.id)
    return float(weight), node.id, options


def _spelling(spec):
    return ValueError(
        f"loss {spec!r} cannot be read. Expected names joined by '+', each with a positive weight and options "
        "if you like: 'bce + 0.5*dice + focal(gamma=3)'."
    )


def _flat(terms):
    """Pairs (weight, loss) with sums among them opened."""
    for weight, loss in terms:
        if not 0 < weight < float("inf"):
            raise ValueError(f"weight {weight!r} does not fit a sum of losses. Expected a finite number above 0.")
        if isinstance(loss, Sum):
            yield from ((float(weight) * inner, term) for inner, term in loss.terms)
        elif isinstance(loss, SegmentationLoss):
            yield float(weight), loss
        else:
            raise ValueError(f"{loss!r} cannot be summed. Expected a loss of kseg.losses.")


@keras.saving.register_keras_serializable("kseg")
class Sum(SegmentationLoss):
    """A weighted sum of losses on the same labels and scores.

    Args:
        terms: pairs (weight, loss); weights above 0, losses of this package, sums among them.
        reduction, name, dtype: as in `SegmentationLoss`; those of the terms do not count.

    A term that needs the sigmoid head (`bce`) turns `head="auto"` of the others into sigmoid: one model
    output has one meaning. Terms that disagree (`cce + bce`) are refused. What terms share is computed once.
    """

    without = tuple(k for k in SegmentationLoss.defaults if k not in SHARED)

    def __init__(self, terms, **shared):
        self.terms = list(_flat(terms))
        super().__init__(**{"name": "_plus_".join(loss.registered_name for _, loss in self.terms), **shared})
        heads = {loss.head for _, loss in self.terms} - {"auto"}
        if len(heads) > 1:
            raise ValueError(
                f"loss {self.spec!r} mixes a sigmoid and a softmax head. Expected one head for all terms; "
                "take 'bce' with a sigmoid head or 'cce' with a softmax head."
            )
        if len({loss.options["from_logits"] for _, loss in self.terms}) > 1:
            raise ValueError(f"loss {self.spec!r} mixes from_logits=True and False. Expected one for all terms.")
        self._head = heads.pop() if heads else "auto"

    @property
    def head(self):
        return self._head

    @property
    def from_logits(self):
        """Whether the terms take logits."""
        return self.terms[0][1].options["from_logits"]

    @property
    def spec(self):
        """The sum as it is spelled, options left out."""
        return " + ".join(
            loss.registered_name if weight == 1 else f"{weight:g}*{loss.registered_name}" for weight, loss in self.terms
        )

    def call(self, y_true, y_pred, sample_weight=None):
        """One value per image, `[B]`; terms that see the batch the same way share what they derive of it."""
        seen, total = {}, 0.0
        for weight, loss in self.terms:
            view = {**loss.view(), "head": self.head, "dtype": self.options["dtype"]}
            key = tuple(view.values())
            if key not in seen:
                seen[key] = prepare(y_true, y_pred, sample_weight, **view)
            total += weight * loss.values(seen[key])
        return total

    def get_config(self):
        terms = [[weight, keras.saving.serialize_keras_object(loss)] for weight, loss in self.terms]
        return {**super().get_config(), "terms": terms}

    @classmethod
    def from_config(cls, config):
        terms = [(w, keras.saving.deserialize_keras_object(loss)) for w, loss in config["terms"]]
        return cls(terms, **{k: v for k, v in config.items() if k != "terms"})
