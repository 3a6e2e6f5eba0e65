"""Kandinsky figures: simple shapes in plain colours on gray (S4.9)."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from kseg.data.synthetic.base import Drawn, Synthetic, choice, mislabel, number, shares, whole

GRAY = 150
SHAPES = ("circle", "square", "triangle", "cross", "ring")
COLOURS = {"red": (255, 0, 0), "yellow": (255, 255, 0), "blue": (0, 0, 255)}
SCHEMES = ("shape", "colour", "shape_colour")
LEGIBLE = 48  # pixels that an object needs on average to show its shape
TRIES, SHRINK = 60, 0.9


class Kandinsky(Synthetic):
    """Red, yellow and blue circles, squares and triangles on a gray square (150, 150, 150), S4.9.

    Objects lie fully inside, at least one pixel apart, and objects of one size have one area whatever their shape.
    Which class an object has shows in its outline or colour only, not in its place. Six classes, as in D4's histology:
    `shapes=("circle", "square", "triangle", "cross", "ring")`; cross and ring are additions of this library.

    Args:
        classes: "shape" (background and each shape), "colour", or "shape_colour" (each pair, shape first).
        shapes: of circle, square, triangle, cross, ring.
        colours: of red, yellow, blue.
        size: of the canvas in pixels, 32 to 1024.
        objects: (fewest, most) in an image; the number is drawn evenly.
        foreground: mean share of the canvas that is covered, 0.01 to 0.25. Where objects find no room, those of
            that image are made smaller.
        fractions: share of each class but the background in the foreground, on average; None for equal shares.
        label_noise: share of objects labelled as another class, in all splits, 0 to 1. The images do not depend on it.
        noise: standard deviation of Gaussian pixel noise, 0 to 0.5 (1 is the range).
        counts: images in train, validation and test.
        seed: of everything drawn.

    Raises:
        ValueError: an option that does not fit.

    Example:
        >>> from kseg.data import open_data
        >>> open_data("kandinsky", classes="colour", counts=(2, 1, 1)).classes
        ('background', 'red', 'yellow', 'blue')

    Source: Müller and Holzinger, Kandinsky Patterns, 2021 (figures only; no part of their generator is used).
    """

    name = "kandinsky"

    def __init__(
        self, classes="shape", shapes=SHAPES[:3], colours=tuple(COLOURS), size=64, objects=(1, 6), foreground=0.18,
        fractions=None, label_noise=0.0, noise=0.0, counts=(400, 60, 60), seed=0,
    ):  # fmt: skip
        shapes, colours = _some("shapes", shapes, SHAPES), _some("colours", colours, COLOURS)
        size = whole("size", size, 32, 1024)
        self.shape = (size, size, 3)
        self._classes = _pairs(choice("class scheme", classes, SCHEMES), shapes, colours)
        self.classes = ("background", *self._classes)
        self._objects = _objects(objects)
        foreground = number("foreground", foreground, 0.01, 0.25)
        self._area = foreground * size**2 / (sum(self._objects) / 2)
        if self._area < LEGIBLE:
            raise ValueError(
                f"objects={objects!r} at size={size}, foreground={foreground:g} have {self._area:.0f} pixels on "
                f"average. Expected at least {LEGIBLE}; take fewer objects or a larger size."
            )
        self._fractions = shares(fractions, len(self._classes))
        self._label_noise = number("label_noise", label_noise, 0, 1)
        if self._label_noise and len(self._classes) < 2:
            raise ValueError(
                f"label_noise={label_noise!r} has no second class to take. Expected 0 with one class; or add one."
            )
        self._noise = number("noise", noise, 0, 0.5)
        super().__init__(
            counts, seed, classes=classes, shapes=shapes, colours=colours, size=size, objects=self._objects,
            foreground=foreground, fractions=fractions if fractions is None else tuple(fractions),
            label_noise=self._label_noise, noise=self._noise,
        )  # fmt: skip

    def _draw(self, split, number):
        stream = self._stream(split, number)
        count = stream.integers(self._objects[0], self._objects[1] + 1)
        labels = 1 + stream.choice(len(self._classes), count, p=self._fractions)
        pairs = [self._classes[self.classes[label]] for label in labels]
        pairs = [pair[stream.integers(len(pair))] for pair in pairs]
        areas = -np.sort(-self._area * stream.uniform(0.6, 1.4, count))  # large ones first: they need the room
        numbers = None
        while numbers is None:
            numbers = _place(stream, self.shape[0], [shape for shape, _ in pairs], np.rint(np.sqrt(areas)).astype(int))
            areas *= SHRINK
        palette = np.array([(GRAY,) * 3, *(COLOURS[colour] for _, colour in pairs)], np.uint8)
        levels = palette[numbers]
        if self._noise:
            noisy = levels + 255 * self._noise * stream.standard_normal(levels.shape)
            levels = np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)
        labels = mislabel(self._stream(split, number, 1), labels, len(self._classes), self._label_noise)
        masks = np.array([0, *labels], np.uint8)[numbers]
        return Drawn(levels[None], masks[None], numbers[None])


def _place(stream, size, shapes, sides):
    """Objects by number on a canvas, uint16 `[size, size]`; None if one finds no room."""
    numbers, taken = np.zeros((size, size), np.uint16), np.zeros((size, size), bool)
    for i, (shape, side) in enumerate(zip(shapes, sides, strict=True), start=1):
        inside, around = stencil(shape, int(side))
        height, width = around.shape
        if max(height, width) > size:
            return None
        for y, x in stream.integers((size - height + 1, size - width + 1), size=(TRIES, 2)):
            if not taken[y : y + height, x : x + width][around].any():
                break
        else:
            return None
        numbers[y + 1 : y + height - 1, x + 1 : x + width - 1][inside] = i
        taken[y + 1 : y + height - 1, x + 1 : x + width - 1] |= inside
    return numbers


@lru_cache(maxsize=1024)
def stencil(shape, side):
    """Pixels of a shape of area side**2, and those within one pixel of it (a frame larger on each side).

    Pixels whose centre is inside belong to the shape. Drawn plainly, small shapes would differ in area by a fifth:
    of a few sizes near the right one, and two positions relative to the grid, that of nearly the right number of pixels
    is taken.
    """
    nominal, best = float(side), None
    for scale in np.linspace(0.9, 1.1, 41):
        for offset in (0.0, 0.5):
            inside = _inside(shape, nominal * scale, offset)
            error = abs(int(inside.sum()) / side**2 - 1) + abs(scale - 1) / 2
            if best is None or error < best[0]:
                best = (error, inside)
    inside = best[1][np.ix_(best[1].any(axis=1), best[1].any(axis=0))]
    framed = np.pad(inside, 2)
    height, width = (n + 2 for n in inside.shape)
    around = np.zeros((height, width), bool)
    for dy in range(3):
        for dx in range(3):
            around |= framed[dy : dy + height, dx : dx + width]
    return inside, around


def _inside(shape, side, offset):
    """Whether pixel centres lie in a shape of area side**2 that is centred at (offset, offset)."""
    reach = np.arange(-int(side) - 1, int(side) + 2) - offset
    y, x = reach[:, None], reach[None, :]
    if shape == "circle":
        return x**2 + y**2 <= side**2 / np.pi
    if shape == "ring":  # its hole has half its radius
        radius = side / np.sqrt(0.75 * np.pi)
        return (x**2 + y**2 <= radius**2) & (x**2 + y**2 > (radius / 2) ** 2)
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= side / 2
    if shape == "cross":  # five squares
        arm = side / np.sqrt(5)
        return (np.minimum(abs(x), abs(y)) <= arm / 2) & (np.maximum(abs(x), abs(y)) <= 1.5 * arm)
    edge = side * 2 / 3**0.25  # the triangle is equilateral and stands on its base
    height = edge * np.sqrt(3) / 2
    down = y + height / 2
    return (down >= 0) & (down <= height) & (abs(x) <= down / np.sqrt(3))


def _some(name, values, known):
    if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
        raise ValueError(f"{name}={values!r} does not fit. Expected a tuple with any of {', '.join(known)}.")
    values = tuple(choice(name.removesuffix("s"), value, known) for value in values)
    if len(set(values)) < len(values):
        raise ValueError(f"{name}={values!r} names one twice. Expected each once.")
    return values


def _pairs(scheme, shapes, colours):
    """{class: list of (shape, colour)} of the foreground classes."""
    pairs = [(shape, colour) for shape in shapes for colour in colours]
    if scheme == "shape_colour":
        return {f"{colour} {shape}": [(shape, colour)] for shape, colour in pairs}
    part = SCHEMES.index(scheme)
    return {name: [pair for pair in pairs if pair[part] == name] for name in (shapes, colours)[part]}


def _objects(objects):
    fits = isinstance(objects, (tuple, list)) and len(objects) == 2
    if not fits or not all(isinstance(n, int) and not isinstance(n, bool) for n in objects):
        raise ValueError(f"objects={objects!r} does not fit. Expected two whole numbers, fewest and most.")
    if not 1 <= objects[0] <= objects[1]:
        raise ValueError(f"objects={objects!r} does not fit. Expected fewest at least 1, and most not below it.")
    return tuple(objects)
