"""The built-in sets hold what their descriptions promise (S0.1 to S0.3, S3.1, S4.9)."""

import tracemalloc
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from kseg.data import DataFile, load, open_data
from kseg.data.hdf5 import SPLITS
from kseg.data.synthetic import base, fields
from kseg.data.synthetic.kandinsky import SHAPES, stencil
from kseg.data.writer import save

SMALL = {
    "volumes": {"extent": (12, 16, 6), "counts": (3, 2, 2)},
    "lungs": {"size": 32, "counts": (8, 4, 4)},
    "tissue": {"size": 32, "counts": (8, 4, 4)},
    "kandinsky": {"size": 32, "counts": (8, 4, 4)},
}
NAMES = pytest.mark.parametrize("name", list(SMALL))
EVERYWHERE = np.ones((3, 3))  # neighbours at corners included


def whole_set(data):
    """Images, masks and cases of all splits, one after the other."""
    parts = [(*data.read(split), data.index(split)["case"]) for split in SPLITS]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def best_threshold_dice(images, masks):
    """The Dice of the best single threshold, either way, over all pixels: what a pixel tells without its neighbours."""
    order = np.argsort(images, axis=None)
    best = 0.0
    for sign in (1, -1):
        inside = np.cumsum(masks.ravel()[order[::sign]] > 0)
        best = max(best, (2 * inside / (np.arange(1, inside.size + 1) + inside[-1])).max())
    return best


# --- what all sets have in common


@NAMES
def test_a_saved_set_is_read_back_the_same(name, tmp_path):
    """Also checks the schema: `DataFile` refuses rows out of order, boxes outside, cases in two splits."""
    data = open_data(name, **SMALL[name])
    with DataFile(save(data, tmp_path / "set.h5")) as file:
        file.verify()
        assert (file.sizes, file.shape, tuple(file.classes)) == (data.sizes, data.shape, data.classes)
        np.testing.assert_allclose(file.value_range, data.value_range, rtol=1e-7)
        kept = ("name", "classes", "command", "sources", "split_rule", "seed")
        assert {k: file.attributes()[k] for k in kept} == {k: data.attributes()[k] for k in kept}
        for split in SPLITS:
            for stored, made in zip(file.read(split), data.read(split), strict=True):
                assert stored.dtype == made.dtype
                np.testing.assert_array_equal(stored, made)
            for key, made in data.index(split).items():
                np.testing.assert_array_equal(file.index(split)[key], made)
            assert file.nbytes(split) == data.nbytes(split)
            stored, made = file.instances(split), data.instances(split)
            assert (stored is None) == (made is None)
            if made is not None:
                np.testing.assert_array_equal(stored, made)


def test_saving_keeps_what_is_there(tmp_path):
    data = open_data("lungs", size=32, counts=(3, 0, 2))
    path = save(data, tmp_path / "set.h5")
    with pytest.raises(FileExistsError, match="Expected a new file"):
        save(data, path)
    with DataFile(path) as file:
        assert file.sizes == {"train": 3, "validation": 0, "test": 2}
        with DataFile(save(file, tmp_path / "again.h5")) as again:
            assert again.fingerprint() == file.fingerprint()
    assert save(open_data("lungs", size=32, counts=(1, 0, 0)), path, overwrite=True) == path
    with DataFile(path) as file:
        assert file.sizes["train"] == 1


@NAMES
@pytest.mark.parametrize("room", [None, 20_000])
def test_rows_do_not_depend_on_how_they_are_read(name, room, monkeypatch):
    if room:
        monkeypatch.setattr(base, "KEEP", room)
    images, masks = open_data(name, **SMALL[name]).read("train")
    data, rows = open_data(name, **SMALL[name]), range(len(images))
    for i in reversed(rows):
        image, mask = data.read("train", i, i + 1)
        np.testing.assert_array_equal(image, images[i : i + 1])
        np.testing.assert_array_equal(mask, masks[i : i + 1])
    for start, stop in ((2, 7), (0, None), (5, 1000), (3, 3), (1000, None)):
        image, mask = data.read("train", start, stop)
        np.testing.assert_array_equal(image, images[start:stop])
        np.testing.assert_array_equal(mask, masks[start:stop])
    assert data.read("train", 3, 3)[0].shape == (0, *data.shape)


@NAMES
def test_seeds_and_splits_differ_and_seeds_repeat(name):
    options = SMALL[name] | {"counts": (4, 4, 4)}
    drawn = {(seed, split): open_data(name, seed=seed, **options).read(split) for seed in (0, 1) for split in SPLITS}
    images = [image.tobytes() for images, _ in drawn.values() for image in images]
    assert len(set(images)) == len(images)
    np.testing.assert_array_equal(open_data(name, seed=1, **options).read("test")[0], drawn[1, "test"][0])
    prints = {open_data(name, seed=seed, **options).fingerprint() for seed in (0, 1, 0)}
    assert len(prints) == 2


@NAMES
def test_what_is_read_belongs_to_the_reader(name):
    data = open_data(name, **SMALL[name])
    images, masks = data.read("test")
    copies = images.copy(), masks.copy()
    images[:], masks[:] = 7, 7
    for again, copy in zip(data.read("test"), copies, strict=True):
        np.testing.assert_array_equal(again, copy)


@NAMES
def test_types_ranges_and_labels(name):
    data = open_data(name, **SMALL[name])
    images, masks, cases = whole_set(data)
    assert (images.dtype, masks.dtype) == (np.float32, np.uint8)
    assert images.shape == (sum(data.sizes.values()), *data.shape) and masks.shape == images.shape[:3]
    assert images.min() >= data.value_range[0] and images.max() <= np.float32(data.value_range[1])
    assert masks.max() < len(data.classes)
    if name != "volumes":
        assert len(set(cases)) == len(cases)


@NAMES
def test_the_command_makes_the_set_again(name):
    data = open_data(name, **SMALL[name])
    words = data.attributes()["command"].removeprefix("kseg.data.")
    again = eval(words, {"open_data": open_data})
    np.testing.assert_array_equal(again.read("test")[0], data.read("test")[0])
    assert again.fingerprint() == data.fingerprint()


def test_what_is_kept_in_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(base, "KEEP", 2**20)
    data = open_data("kandinsky", size=256, counts=(20, 0, 0))  # 20 x 256 x 256 x (3 + 1 + 2) bytes = 7.5 MiB
    tracemalloc.start()
    for i in range(20):
        data.read("train", i, i + 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 2**20


@NAMES
def test_batches_come_out_of_the_pipeline(name):
    data = open_data(name, **SMALL[name])
    images, masks, weights = next(iter(load(data, "validation", 3, weight_map={})))
    np.testing.assert_array_equal(images, data.read("validation", 0, 3)[0])
    np.testing.assert_array_equal(masks, data.read("validation", 0, 3)[1])
    assert weights.shape == masks.shape


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("kandinsky", {"size": 31}, "size=31 .*whole number from 32 to 1024"),
        ("kandinsky", {"size": 64.0}, "size=64.0 .*whole number"),
        ("kandinsky", {"classes": "shapes"}, "'shapes'.*Did you mean 'shape'"),
        ("kandinsky", {"shapes": ("circle", "sqare")}, "'sqare'.*Did you mean 'square'"),
        ("kandinsky", {"shapes": ("ring", "ring")}, "names one twice.*Expected each once"),
        ("kandinsky", {"colours": "red"}, "colours='red'.*Expected a tuple"),
        ("kandinsky", {"objects": (0, 3)}, "objects=\\(0, 3\\).*at least 1"),
        ("kandinsky", {"objects": 3}, "objects=3 .*two whole numbers"),
        ("kandinsky", {"objects": (60, 60)}, "pixels on average.*Expected at least 48"),
        ("kandinsky", {"fractions": (1, 1)}, "fractions=.*Expected 3 numbers"),
        ("kandinsky", {"fractions": (0, 0, 0)}, "all 0"),
        ("kandinsky", {"label_noise": 1.5}, "label_noise=1.5 .*from 0 to 1"),
        ("kandinsky", {"shapes": ("ring",), "label_noise": 0.5}, "no second class"),
        ("kandinsky", {"foreground": 0.5}, "foreground=0.5 .*from 0.01 to 0.25"),
        ("kandinsky", {"counts": (4, 4)}, "counts=\\(4, 4\\).*three whole numbers"),
        ("kandinsky", {"counts": (0, 0, 0)}, "not all 0"),
        ("kandinsky", {"seed": -1}, "seed=-1 .*whole number from 0"),
        ("kandinsky", {"shape": ("ring",)}, "option of data 'kandinsky' 'shape' is not known.*Did you mean 'shapes'"),
        ("toy", {"treshold": 0.5}, "Did you mean 'threshold'"),
        ("tissue", {"fractions": (1, 1, 1, 1, float("nan"))}, "Expected 5 numbers"),
        ("tissue", {"noise": True}, "noise=True .*a number from 0 to 0.5"),
        ("lungs", {"foreground": 0.9}, "foreground=0.9 .*from 0.1 to 0.3"),
        ("lungs", {"classes": "both"}, "'both'.*Expected one of: binary, all"),
        ("volumes", {"extent": (30, 30)}, "extent=\\(30, 30\\).*three whole numbers"),
        ("volumes", {"extent": (30, 30, 1000)}, "extent=1000 .*from 4 to 256"),
        ("volumes", {"max_value": 0}, "max_value=0 "),
    ],
)
def test_options_that_do_not_fit_are_told_in_one_line(name, options, expected):
    with pytest.raises(ValueError, match=expected) as refused:
        open_data(name, **options)
    assert "\n" not in str(refused.value) and "Expected" in str(refused.value)


def test_options_may_be_part_of_the_name(tmp_path, monkeypatch):
    data = open_data("kandinsky(classes='colour', size=32, counts=(2, 1, 1))")
    assert data.classes == ("background", "red", "yellow", "blue") and data.shape == (32, 32, 3)
    assert open_data("toy()").fingerprint() == open_data("toy").fingerprint()
    for words in ("toy(0.5)", "toy(threshold=x)", "toy(threshold=1, threshold=2)", "toy((", "toy(a=1)(b=2)"):
        with pytest.raises((ValueError, FileNotFoundError), match="Expected"):
            open_data(words)
    with pytest.raises(ValueError, match="option of data 'toy' 'size'"):
        open_data("toy(size=3)")
    monkeypatch.chdir(tmp_path)
    save(data, "toy(1).h5")
    assert open_data("toy(1).h5").name == "kandinsky"


@pytest.mark.parametrize("name", ["kandinski", "kandinski(size=32)"])
def test_misspelt_names_are_corrected(name):
    with pytest.raises(ValueError, match="'kandinski' is not known.*Did you mean 'kandinsky'"):
        open_data(name)


# --- volumes


@pytest.fixture(scope="module")
def volumes():
    return open_data("volumes", classes="all", counts=(2, 1, 1))


def contents(data, split):
    """{case: (image, mask)} `[slices, h, w]` without padding, after a look that the padding is zero."""
    (images, masks), index, found = data.read(split), data.index(split), {}
    for case in sorted(set(index["case"])):
        rows = np.flatnonzero(index["case"] == case)
        assert index["slice"][rows].tolist() == list(range(len(rows)))
        y0, y1, x0, x1 = index["box"][rows[0]]
        padding = np.ones(data.shape[:2], bool)
        padding[y0:y1, x0:x1] = False
        assert not images[rows][:, padding].any() and not masks[rows][:, padding].any()
        found[case] = images[rows, y0:y1, x0:x1, 0], masks[rows, y0:y1, x0:x1]
    return found


def test_volumes_are_like_the_hippocampus(volumes):
    """Against what the real set has: sizes, 0 to 0.2, 5.2 % foreground, 28 % of the slices without."""
    assert volumes.shape == (48, 64, 1) and volumes.value_range == (0.0, 0.2)
    parts = [part for split in SPLITS for part in contents(volumes, split).values()]
    sizes = np.array([image.shape for image, _ in parts])
    assert len({tuple(size) for size in sizes}) == len(parts) == 8
    assert (sizes.min(axis=0) >= (30, 31, 42)).all() and (sizes.max(axis=0) <= (42, 43, 58)).all()
    for image, mask in parts:
        assert image.min() == 0 and image.max() == np.float32(0.2)
        assert ndimage.label(mask > 0, np.ones((3, 3, 3)))[0].max() == 1
        anterior, posterior = (np.argwhere(mask == label)[:, 2].mean() for label in (1, 2))
        assert anterior > posterior + 10
        empty = ~mask.any(axis=(1, 2))
        assert 0.15 < empty.mean() < 0.5 and empty[0] and empty[-1]
    assert abs(np.mean([(mask > 0).mean() for _, mask in parts]) - 0.052) < 0.012
    assert abs(np.mean([(mask == 1).sum() / (mask > 0).sum() for _, mask in parts]) - 0.5) < 0.1
    images, masks = (np.concatenate([part[i].ravel() for part in parts]) for i in (0, 1))
    assert best_threshold_dice(images, masks) < 0.3


def test_both_sides_of_a_head_stay_together(volumes):
    split_of = {}
    for split in SPLITS:
        cases = sorted(set(volumes.index(split)["case"]))
        assert len(cases) == 2 * volumes.counts[split]
        for case in cases:
            head, side = case.rsplit("-", 1)
            split_of.setdefault(head, []).append((split, side))
    assert all(sorted(side for _, side in found) == ["left", "right"] for found in split_of.values())
    assert all(len({split for split, _ in found}) == 1 for found in split_of.values())


def test_binary_volumes_join_both_parts():
    parts, binary = (open_data("volumes", classes=c, **SMALL["volumes"]).read("train") for c in ("all", "binary"))
    np.testing.assert_array_equal(parts[0], binary[0])
    np.testing.assert_array_equal(parts[1] > 0, binary[1])
    assert set(np.unique(parts[1])) == {0, 1, 2}


def test_the_maximum_scales_volumes():
    small, large = (open_data("volumes", max_value=m, **SMALL["volumes"]).read("train")[0] for m in (0.2, 1.0))
    np.testing.assert_allclose(5 * small, large, rtol=1e-6)
    assert large.max() == 1


# --- lungs


@pytest.fixture(scope="module")
def lungs():
    return open_data("lungs", classes="all", counts=(40, 20, 20))


def test_lungs_cover_a_quarter_and_are_two(lungs):
    for split in SPLITS:
        masks = lungs.read(split)[1]
        share = (masks > 0).mean(axis=(1, 2))
        assert abs(share.mean() - 0.25) < 0.01
        assert share.min() > 0.14 and share.max() < 0.36 and share.std() > 0.03
        for mask in masks:
            assert ndimage.label(mask, EVERYWHERE)[1] == 2
            left, right = (np.argwhere(mask == label)[:, 1] for label in (1, 2))
            assert right.max() < left.min() + 6 and right.mean() < left.mean()


def test_lungs_are_darker_but_darkness_is_not_enough(lungs):
    images, masks = lungs.read("train")
    inside, outside = images[..., 0][masks > 0].mean(), images[..., 0][masks == 0].mean()
    assert inside < outside - 0.15
    assert best_threshold_dice(images[..., 0], masks) < 0.85


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_the_share_of_lungs_is_selectable(share):
    data = open_data("lungs", foreground=share, counts=(0, 20, 0))
    assert abs(data.read("validation")[1].mean() - share) < 0.015


def test_noise_and_blur_change_lung_images_only():
    options = [{"noise": 0, "blur": 0}, {"noise": 0, "blur": 0.05}, {"noise": 0.3, "blur": 0}]
    drawn = [open_data("lungs", **SMALL["lungs"], **more).read("train") for more in options]
    rough = [np.abs(np.diff(images, axis=2)).mean() for images, _ in drawn]
    assert rough[1] < 0.7 * rough[0] < rough[0] < 0.5 * rough[2]
    assert len({masks.tobytes() for _, masks in drawn}) == 1


# --- tissue and kandinsky


@cache
def drawn_with(name, label_noise):
    """A set of middling size, drawn once."""
    return open_data(name, label_noise=label_noise, counts=(60, 0, 0))


def object_labels(data, split):
    """The label of each object of a split, image by image; each object has one."""
    masks, numbers = data.read(split)[1], data.instances(split)
    assert ((masks > 0) == (numbers > 0)).all()
    image, *_ = np.nonzero(masks)
    pairs = np.unique(np.stack([image, numbers[masks > 0], masks[masks > 0]]), axis=1)
    assert len(np.unique(pairs[:2], axis=1).T) == len(pairs.T)
    return pairs[2]


def test_tissue_has_the_documents_balance():
    """S4.9: background 81.6 % of pixels; E4.3: 3.7 % for each of the five classes on average."""
    tissue = drawn_with("tissue", 0.4)
    assert len(tissue.classes) == 6
    masks = tissue.read("train")[1]
    shares = np.bincount(masks.ravel(), minlength=6) / masks.size
    assert abs(shares[0] - 0.816) < 0.004
    assert (abs(shares[1:] - 0.0368) < 0.01).all()


@pytest.mark.parametrize("name", ["tissue", "kandinsky"])
@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_label_noise_is_the_share_of_wrong_objects(name, share):
    clean, noisy = drawn_with(name, 0), drawn_with(name, share)
    np.testing.assert_array_equal(clean.read("train")[0], noisy.read("train")[0])
    np.testing.assert_array_equal(clean.instances("train"), noisy.instances("train"))
    right, labels = object_labels(clean, "train"), object_labels(noisy, "train")
    assert labels.min() >= 1 and labels.max() < len(clean.classes)
    wrong = (right != labels).mean()
    assert abs(wrong - share) <= 4 * np.sqrt(share * (1 - share) / len(right))
    others = {(a, b) for a, b in zip(right, labels, strict=True) if a != b}
    if share > 0.3:  # each class is taken for each other
        assert len(others) == (len(clean.classes) - 1) * (len(clean.classes) - 2)


@pytest.mark.parametrize("name", ["tissue", "kandinsky"])
def test_class_fractions_are_selectable(name):
    classes = 5 if name == "tissue" else 3
    options = {"label_noise": 0, "counts": (60, 0, 0), "seed": 3}
    fractions = np.array([3, 1, 1, 1, 0][:classes])
    masks = open_data(name, fractions=tuple(fractions), **options).read("train")[1]
    found = np.bincount(masks.ravel(), minlength=classes + 1)[1:]
    np.testing.assert_allclose(found / found.sum(), fractions / fractions.sum(), atol=0.08)
    assert (found[fractions == 0] == 0).all()


def test_kinds_of_nuclei_look_different():
    """Of whole nuclei: spindles are the longest, dark ones the darkest and smallest, large ones the largest."""
    data = open_data("tissue", label_noise=0, foreground=0.05, counts=(40, 0, 0))
    (images, masks), numbers = data.read("train"), data.instances("train")
    facts = {label: [] for label in range(1, 6)}
    for image, mask, objects in zip(images, masks, numbers, strict=True):
        for number in range(1, objects.max() + 1):
            place = np.argwhere(objects == number)
            if place.min() > 0 and place.max() < 63 and len(place) > 8:
                spread = np.sqrt(np.linalg.eigvalsh(np.cov(place.T)))
                facts[mask[tuple(place[0])]].append(
                    (len(place), spread[1] / spread[0], image[objects == number].mean())
                )
    area, length, light = np.array([np.mean(facts[label], axis=0) for label in range(1, 6)]).T
    names = data.classes[1:]
    assert names[area.argmax()] == "large" and names[area.argmin()] == "dark"
    assert names[length.argmax()] == "spindle" and length.max() > 2
    assert names[light.argmax()] == "pale" and names[light.argmin()] == "dark"


COLOURS = {(255, 0, 0): "red", (255, 255, 0): "yellow", (0, 0, 255): "blue"}


def shape_of(inside):
    """A shape's name from its pixels alone: holes, share of its bounding box, width over height."""
    ys, xs = np.nonzero(inside)
    height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
    if (ndimage.binary_fill_holes(inside) & ~inside).any():
        return "ring"
    nominal = {"circle": np.pi / 4, "square": 1, "triangle": 0.5, "cross": 5 / 9}
    near = min(nominal, key=lambda name: abs(nominal[name] - inside.sum() / (height * width)))
    if near in ("circle", "square") and abs(height - width) > 1:
        return f"cut {near}"
    if near in ("triangle", "cross"):  # close in share, but a triangle is 2 / sqrt(3) times as wide as high
        near = "triangle" if width > 1.06 * height else "cross"
    return near


def test_kandinsky_figures_are_what_their_labels_say():
    """Plain colours on (150, 150, 150); whole objects, apart, one colour each; the label tells the shape."""
    data = open_data("kandinsky", shapes=SHAPES, size=96, objects=(2, 6), counts=(30, 0, 0))
    assert data.classes == ("background", *SHAPES)
    (images, masks), numbers = data.read("train"), data.instances("train")
    pixels = np.rint(images * 255).astype(int)
    np.testing.assert_allclose(images * 255, pixels, atol=1e-4)
    assert (pixels[masks == 0] == 150).all()
    counts = []
    for image, mask, objects in zip(pixels, masks, numbers, strict=True):
        assert ndimage.label(objects, EVERYWHERE)[1] == objects.max()  # apart, and each of one piece
        counts.append(objects.max())
        for number in range(1, objects.max() + 1):
            inside = objects == number
            assert len(np.unique(image[inside], axis=0)) == 1 and tuple(image[inside][0]) in COLOURS
            assert data.classes[mask[inside][0]] == shape_of(inside)
    assert set(counts) == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("scheme", ["colour", "shape_colour"])
def test_kandinsky_classes_by_colour(scheme):
    data = open_data("kandinsky", classes=scheme, counts=(30, 0, 0))
    assert len(data.classes) == (4 if scheme == "colour" else 10)
    (images, masks), numbers = data.read("train"), data.instances("train")
    for image, mask, objects in zip(images, masks, numbers, strict=True):
        for number in range(1, objects.max() + 1):
            inside = objects == number
            colour = COLOURS[tuple(np.rint(255 * image[inside][0]).astype(int))]
            assert data.classes[mask[inside][0]].startswith(colour)
            assert scheme == "colour" or data.classes[mask[inside][0]] == f"{colour} {shape_of(inside)}"
    assert set(np.unique(masks)) == set(range(len(data.classes)))


def test_shapes_of_one_size_have_one_area():
    sides = range(6, 40)
    areas = {shape: np.array([stencil(shape, side)[0].sum() for side in sides]) for shape in SHAPES}
    wanted = np.array([side**2 for side in sides])
    for area in areas.values():
        assert (abs(area / wanted - 1) < 0.12).all()
        assert abs((area / wanted).mean() - 1) < 0.02
    assert all((b >= a).all() for area in areas.values() for a, b in pairwise(area[::4]))


def test_kandinsky_foreground_and_noise():
    data = open_data("kandinsky", counts=(150, 0, 0))
    assert abs((data.read("train")[1] > 0).mean() - 0.18) < 0.012
    sparse = open_data("kandinsky", foreground=0.06, objects=(1, 3), counts=(150, 0, 0))
    assert abs((sparse.read("train")[1] > 0).mean() - 0.06) < 0.005
    noisy = open_data("kandinsky", noise=0.05, counts=(10, 0, 0))
    images, masks = noisy.read("train")
    assert abs(images[masks == 0].std() - 0.05) < 0.002
    np.testing.assert_array_equal(masks, data.read("train", 0, 10)[1])


# --- the fields they are made of


@pytest.mark.parametrize("shape", [(40, 30), (9, 20, 14)])
@pytest.mark.parametrize("sigma", [0.7, 3.0, 12.0])
def test_smooth_noise_has_unit_variance_and_its_width(shape, sigma):
    stream = np.random.default_rng(5)
    power = np.mean([(fields.smooth_noise(stream, shape, sigma) ** 2).mean() for _ in range(400)])
    assert abs(power - 1) < 0.15
    if sigma == 3.0 and len(shape) == 2:  # neighbours: exp(-1 / (4 sigma^2)) of the variance is common
        fine = np.stack([fields.smooth_noise(stream, shape, sigma) for _ in range(200)])
        assert abs((fine[:, 1:] * fine[:, :-1]).mean() / (fine**2).mean() - np.exp(-1 / (4 * sigma**2))) < 0.01


@pytest.mark.parametrize("rows", [10, 60])
def test_even_numbers_fill_the_interval(rows):
    drawn = np.sort([fields.even(np.random.default_rng(4), i) for i in range(rows)])
    gaps = np.diff([*drawn, drawn[0] + 1])
    assert gaps.max() < 3 / rows and gaps.min() > 0.3 / rows


@pytest.mark.parametrize("name", ["kandinsky(size=32", "kandinsky(size=32) x", "kandinsky(size=32, size=64)"])
def test_a_misspelt_option_list_says_how_to_write_it(name):
    with pytest.raises(ValueError, match=r"cannot be read. Expected kandinsky\(option=value"):
        open_data(name)


def test_save_takes_a_name(tmp_path):
    save("kandinsky(counts=(2, 1, 1), size=32)", tmp_path / "figures.h5")
    with open_data(tmp_path / "figures.h5") as data:
        assert data.sizes == {"train": 2, "validation": 1, "test": 1}
