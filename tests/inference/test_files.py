"""Files of every kind in, masks of the same kind out, against masks computed from the pixels alone."""

import json

import keras
import nibabel
import numpy as np
import pytest
from PIL import Image

from kseg import inference
from kseg.data.preprocess import Preprocessing
from kseg.data.read import read_case
from kseg.inference import sliding

RNG = np.random.default_rng(0)
CLASSES = ("dark", "bright")
SLANTED = np.array([[-0.5, 0.1, 0, 7], [0.1, 2, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1.0]])  # its axes point to L, A, S


@pytest.fixture(scope="module")
def identity():
    """A model whose probability is the pixel's value."""
    image = keras.Input((None, None, 1))
    return keras.Model(image, keras.layers.Identity()(image))


@pytest.fixture(scope="module")
def trained(identity):
    return inference.Trained(identity, CLASSES, Preprocessing(channels=1))


def predict(trained, files, output, **options):
    return list(inference.predict_files(trained, files, output, **options))


def save_nifti(path, voxels, affine=SLANTED):
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


@pytest.mark.parametrize(
    ("name", "dtype", "written"),
    [("a.png", np.uint8, "a.png"), ("b.png", np.uint16, "b.png"), ("c.bmp", np.uint8, "c.png"),
     ("d.tif", np.uint16, "d.tif"), ("E.PNG", np.uint8, "E.png")],
)  # fmt: skip
def test_images_give_masks_of_their_kind_and_size(trained, tmp_path, name, dtype, written):
    pixels = RNG.integers(0, np.iinfo(dtype).max, (7, 10)).astype(dtype)
    Image.fromarray(pixels).save(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    [result] = predict(trained, [tmp_path / name], tmp_path / "masks")
    assert (result.mask, result.shape, result.error) == (tmp_path / "masks" / written, (1, 7, 10), None)
    with Image.open(result.mask) as mask:
        assert (mask.format, mask.mode) == ("TIFF" if name.endswith("tif") else "PNG", "L")
        bright = pixels > np.iinfo(dtype).max / 2
        np.testing.assert_array_equal(np.asarray(mask), bright)
    assert result.shares == pytest.approx((1 - bright.mean(), bright.mean()))
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    ("values", "dtype", "names"),
    [((0, 255), np.uint8, ("a.png", "a.tif", "a.npy", "a.nii.gz")),
     ((300, 4), np.uint16, ("a.png", "a.tif", "a.npy", "a.nii.gz"))],
)  # fmt: skip
def test_masks_hold_the_values_of_those_of_training(identity, tmp_path, values, dtype, names):
    trained = inference.Trained(identity, CLASSES, Preprocessing(channels=1, mask_values=values))
    pixels = RNG.integers(0, 256, (7, 10)).astype(np.uint8)
    for name in names[:2]:
        Image.fromarray(pixels).save(tmp_path / name)
    np.save(tmp_path / "a.npy", pixels)
    save_nifti(tmp_path / "a.nii.gz", pixels[..., None])
    wanted = np.where(pixels > 127, values[1], values[0])
    for name in names:
        [result] = predict(trained, [tmp_path / name], tmp_path / "masks")
        assert result.error is None and result.shares[1] == pytest.approx((pixels > 127).mean())
        mask = np.asarray(nibabel.load(result.mask).dataobj) if "nii" in name else read_case(result.mask).pixels[0]
        assert mask.dtype == dtype
        np.testing.assert_array_equal(mask[..., 0], wanted)


def test_as_many_mask_values_as_classes(identity):
    with pytest.raises(ValueError, match="mask_values .* do not fit 2 classes"):
        inference.Trained(identity, CLASSES, Preprocessing(channels=1, mask_values=(0, 1, 2))).check()


def test_pages_and_arrays_keep_their_slices(trained, tmp_path):
    pages = RNG.integers(0, 256, (3, 5, 6)).astype(np.uint8)
    first, *rest = map(Image.fromarray, pages)
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    np.save(tmp_path / "b.npy", pages / 255)
    a, b = predict(trained, [tmp_path], tmp_path / "masks")
    with Image.open(a.mask) as mask:
        for number, page in enumerate(pages):
            mask.seek(number)
            np.testing.assert_array_equal(np.asarray(mask), page > 127)
    np.testing.assert_array_equal(np.load(b.mask), pages > 127)
    assert a.shape == b.shape == (3, 5, 6)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_nifti_masks_lie_where_the_image_lies(trained, tmp_path, ending):
    voxels = RNG.random((5, 6, 4)).astype(np.float32)
    path = save_nifti(tmp_path / f"scan.{ending}", voxels)
    [result] = predict(trained, [path], tmp_path / "masks")
    image, mask = nibabel.load(path), nibabel.load(result.mask)
    assert result.mask.name == path.name and mask.shape == (5, 6, 4) and mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(mask.affine, image.affine)
    assert mask.header.get_zooms() == image.header.get_zooms()
    assert nibabel.aff2axcodes(mask.affine) == ("L", "A", "S")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), voxels > 0.5)


def test_volumes_are_turned_as_those_of_training_were(tmp_path):
    """A model that looks at its left neighbour: the same head gives the same mask however its axes are stored."""
    image = keras.Input((None, None, 1))
    look = keras.layers.Conv2D(1, 3, padding="same", use_bias=False)
    model = keras.Model(image, look(image))
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[0, 1] = 1
    look.set_weights([kernel])
    trained = inference.Trained(model, CLASSES, Preprocessing(channels=1, axis=2, orientation="RAS"))
    head = RNG.random((5, 6, 4)).astype(np.float32)
    canonical = nibabel.Nifti1Image(head, np.diag([1, 2, 3, 1.0]))
    masks = []
    for codes in ("RAS", "LPS", "SAL"):
        to = nibabel.orientations.axcodes2ornt(codes)
        path = tmp_path / f"{codes}.nii.gz"
        nibabel.save(canonical.as_reoriented(nibabel.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], to)), path)
        [result] = predict(trained, [path], tmp_path / codes)
        mask = nibabel.load(result.mask)
        assert "".join(nibabel.aff2axcodes(mask.affine)) == codes and mask.shape == nibabel.load(path).shape
        masks.append(np.asarray(nibabel.as_closest_canonical(mask).dataobj))
    expected = np.zeros(head.shape)
    expected[1:] = head[:-1] > 0.5
    for mask in masks:
        np.testing.assert_array_equal(mask, expected)


def test_dicom_gives_png(trained, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    pixels = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 6, 8, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME1", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    [result] = predict(trained, [tmp_path / "a.dcm"], tmp_path / "masks")
    assert result.mask.name == "a.png"
    with Image.open(result.mask) as mask:
        np.testing.assert_array_equal(np.asarray(mask), pixels < 128)  # MONOCHROME1: the least is the brightest


@pytest.mark.parametrize("steps", [{"size": (4, 6)}, {"downsample": 3}], ids=str)
def test_what_was_resized_comes_back_as_smooth_as_its_probabilities(identity, tmp_path, steps):
    y, x = np.mgrid[:18, :24]
    pixels = np.clip(255 * (0.5 + 0.05 * (np.hypot(y - 9, x - 12) - 6)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rules = Preprocessing(channels=1, **steps)
    trained = inference.Trained(identity, CLASSES, rules)
    [result] = predict(trained, [tmp_path / "a.png"], tmp_path / "masks", probabilities=True, threshold=0.4)
    with Image.open(result.mask) as mask:
        mask = np.asarray(mask)
    p = np.load(tmp_path / "masks/probabilities/a.npy")[..., 0]
    np.testing.assert_array_equal(mask, p > 0.4)
    assert mask.shape == (18, 24) and result.shares[1] == pytest.approx(mask.mean())
    stairs = rules.labels_back((rules.images(pixels[None, ..., None])[..., 0] > 0.4).astype(np.uint8), (18, 24))[0]
    truth = pixels > 0.4 * 255
    assert (mask != truth).sum() < (stairs != truth).sum()


def test_an_image_that_cannot_be_written_does_not_stop_the_others(trained, tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.eye(3))
    found = inference.predict_files(trained, [tmp_path], tmp_path / "masks")
    (tmp_path / "masks/b.npy").mkdir()  # in the way
    results = list(found)
    assert [result.error is None for result in results] == [True, False, True]
    assert results[1].mask is None and "b.npy" in results[1].error
    assert np.load(tmp_path / "masks/c.npy").sum() == 3


def test_black_and_white_arrays_are_images(identity, tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3) > 0)
    rules = Preprocessing(channels=1, intensity="percentile")
    [result] = predict(inference.Trained(identity, CLASSES, rules), [tmp_path / "a.npy"], tmp_path / "masks")
    np.testing.assert_array_equal(np.load(result.mask), np.eye(3))


@pytest.mark.parametrize(
    ("channels", "pixels", "told"),
    [(1, np.dstack([np.eye(4)] * 3), ()), (1, RNG.uniform(size=(4, 4, 3)), ("colours became gray",)),
     (1, np.eye(4), ()), (3, np.eye(4), ("gray, of which three equal channels were made",)),
     (3, RNG.uniform(size=(4, 4, 3)), ())],
    ids=["gray as colours", "colours", "gray", "gray for colours", "as trained"],
)  # fmt: skip
def test_colours_that_training_had_not_are_told(tmp_path, channels, pixels, told):
    image = keras.Input((None, None, channels))
    model = keras.Model(image, keras.ops.mean(image, axis=-1, keepdims=True))
    np.save(tmp_path / "a.npy", pixels)
    trained = inference.Trained(model, CLASSES, Preprocessing(channels=channels))
    [result] = predict(trained, [tmp_path / "a.npy"], tmp_path / "masks")
    assert result.remarks == told and result.error is None


def test_dollar_signs_in_names_are_no_formulas(identity, tmp_path):
    Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(tmp_path / "p$\\b$.png")
    trained = inference.Trained(identity, ("dark", "$x_$"), Preprocessing(channels=1))
    [result] = predict(trained, [tmp_path], tmp_path / "masks", overlays=True)
    assert result.error is None and len(list((tmp_path / "masks/overlays").iterdir())) == 1


def test_large_images_go_through_windows_of_the_size_of_training(tmp_path):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Softmax()(keras.layers.Rescaling(9.0)(image)))
    trained = inference.Trained(model, ("r", "g", "b"), Preprocessing(channels=3, window=(8, 8)))
    pixels = RNG.integers(0, 256, (19, 30, 3)).astype(np.uint8)
    small = pixels[:5, :6]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(small).save(tmp_path / "b.png")
    results = predict(trained, [tmp_path], tmp_path / "masks", batch_size=5, probabilities=True, overlap=0.25)
    for result, each in zip(results, (pixels, small), strict=True):
        p = np.exp(each / 255.0 * 9)
        p /= p.sum(axis=-1, keepdims=True)
        with Image.open(result.mask) as mask:
            np.testing.assert_array_equal(np.asarray(mask), each.argmax(axis=-1))
        written = np.load(tmp_path / f"masks/probabilities/{result.path.stem}.npy")
        np.testing.assert_allclose(written, p, atol=1e-5)


def test_a_model_of_any_size_sees_no_more_than_it_was_trained_on(tmp_path):
    """It says of each pixel the mean of what it sees: over all 0.5, over windows of training 0.2 and 0.8."""
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.ops.mean(image, axis=(1, 2), keepdims=True) + 0.0 * image)
    np.save(tmp_path / "a.npy", np.tile(np.repeat([0.2, 0.8], 4), (4, 1)))
    trained = inference.Trained(model, CLASSES, Preprocessing(channels=1, window=(4, 4)))
    [result] = predict(trained, [tmp_path / "a.npy"], tmp_path / "masks", overlap=0)
    np.testing.assert_array_equal(np.load(result.mask), np.tile(np.repeat([0, 1], 4), (4, 1)))


def test_windows_of_several_files_go_through_the_model_together(trained, tmp_path, monkeypatch):
    for number in range(5):
        np.save(tmp_path / f"{number}.npy", np.full((4, 4), number / 4))
    batches, forward = [], sliding.forward

    def counting(*arguments):
        def call(images):
            batches.append(len(images))
            return forward(*arguments)(images)

        return call

    monkeypatch.setattr(sliding, "forward", counting)
    seen = []
    results = predict(trained, [tmp_path], tmp_path / "m", batch_size=3, watch=lambda path, share: seen.append(share))
    assert batches == [3, 2] and seen == [1.0] * 5
    assert [np.load(result.mask).max() for result in results] == [0, 0, 0, 1, 1]


def test_bad_files_are_told_in_their_place_and_the_rest_goes_on(trained, tmp_path):
    good = np.linspace(0, 1, 16).reshape(4, 4)
    (tmp_path / "a.png").write_bytes(b"no image")
    np.save(tmp_path / "b.npy", good)
    np.save(tmp_path / "c.npy", good * 7)  # the range of training is 0 to 1
    np.save(tmp_path / "d.npy", good)
    (tmp_path / "e.nii.gz").write_bytes(b"\x1f\x8b")
    results = predict(trained, [tmp_path], tmp_path / "masks", batch_size=8)
    assert [result.path.name for result in results] == ["a.png", "b.npy", "c.npy", "d.npy", "e.nii.gz"]
    assert [result.error is None for result in results] == [False, True, False, True, False]
    assert "cannot be read" in results[0].error and "range" in results[2].error
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["b.npy", "d.npy"]


def test_where_the_model_gives_nan_there_is_no_mask(tmp_path):
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.ops.log(image - 0.5))
    trained = inference.Trained(model, CLASSES, Preprocessing(channels=1))
    np.save(tmp_path / "a.npy", np.full((4, 4), 0.2))
    np.save(tmp_path / "b.npy", np.full((4, 4), 0.9))
    a, b = predict(trained, [tmp_path], tmp_path / "masks")
    assert "NaN" in a.error and a.mask is None and b.error is None


def test_probabilities_and_overlays_of_a_volume(identity, tmp_path):
    voxels = RNG.random((6, 9, 20)).astype(np.float32)
    path = save_nifti(tmp_path / "v.nii.gz", voxels)
    np.save(tmp_path / "blank.npy", np.zeros((8, 8)))
    trained = inference.Trained(identity, CLASSES, Preprocessing(channels=1))
    predict(trained, [path, tmp_path / "blank.npy"], tmp_path / "masks", probabilities=True, overlays=True)
    p = nibabel.load(tmp_path / "masks/probabilities/v.nii.gz")
    assert p.shape == (6, 9, 20, 1)
    np.testing.assert_allclose(p.affine, SLANTED)
    np.testing.assert_allclose(np.asarray(p.dataobj)[..., 0], voxels, atol=1e-6)
    for name in ("v.png", "blank.png"):
        with Image.open(tmp_path / "masks/overlays" / name) as drawn:
            assert min(drawn.size) > 100


def test_results_are_written_as_files_are_done(trained, tmp_path):
    """Who stops after two files has two masks, and nothing half-written."""
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.full((4, 4), 0.9))
    results = inference.predict_files(trained, [tmp_path], tmp_path / "masks", batch_size=1)
    assert next(results).path.name == "0.npy" and next(results).path.name == "1.npy"
    results.close()
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["0.npy", "1.npy"]


def test_a_run_tells_its_classes_and_preprocessing(identity, tmp_path):
    identity.save(tmp_path / "model.keras")
    rules = Preprocessing(channels=1, size=(4, 4), fit="aspect")
    facts = {"preprocessing": rules.to_json(), "data": {"classes": list(CLASSES)}}
    (tmp_path / "record.json").write_text(json.dumps(facts))
    for path in (tmp_path, tmp_path / "model.keras"):
        trained = inference.open_trained(path)
        assert trained[1:] == (CLASSES, rules) and trained.model.input_shape == (None, None, None, 1)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (None, "does not tell"),
        ({"data": {"classes": ["a", "b"]}}, "does not tell"),
        ({"preprocessing": None, "data": {"classes": ["a", "b"]}}, "does not tell"),
        ({"preprocessing": {"channels": 1}, "data": {"classes": "ab"}}, "does not tell"),
        ({"preprocessing": {"channels": 7}, "data": {"classes": ["a", "b"]}}, "cannot be used.*channels=7"),
        ({"preprocessing": {"channels": 3}, "data": {"classes": ["a", "b"]}}, "takes images of"),
        ({"preprocessing": {"channels": 1}, "data": {"classes": ["a", "b", "c"]}}, "2 classes"),
        ([], "does not tell"),
    ],
    ids=["no record", "no key", "null", "classes", "bad rules", "other channels", "other classes", "list"],
)
def test_runs_that_do_not_tell_enough_are_refused(identity, tmp_path, facts, words):
    identity.save(tmp_path / "model.keras")
    if facts is not None:
        (tmp_path / "record.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=words) as refused:
        inference.open_trained(tmp_path)
    assert "\n" not in str(refused.value)
