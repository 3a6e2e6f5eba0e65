"""Reading DICOM files (S3.1): against pydicom's own windows and plain formulas, on files made here."""

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from kseg.data import DataFile
from kseg.data.dicom import read_dicom

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 4096, (12, 10)).astype(np.uint16)


def made(pixels=PIXELS, bits=12, syntax=ExplicitVRLittleEndian, **fields):
    """A data set of one image; `fields` are set last."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, "1.2.3"
    dataset.PatientName = "nobody"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * pixels.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def table(values, first, bits):
    """The item of a LUT sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(values) % 2**16, first, bits]
    item.LUTData = list(values)
    return [item]


@pytest.fixture
def read(tmp_path):
    """Save a data set and read it back: the pixels."""

    def run(dataset):
        dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
        return read_dicom(tmp_path / "x.dcm")[0]

    return run


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (12, np.uint16), (16, np.uint16)])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_without_a_window_the_stored_bits_are_the_range(read, bits, dtype, syntax):
    pixels = RNG.integers(0, 2**bits, (7, 9)).astype(dtype)
    np.testing.assert_allclose(read(made(pixels, bits, syntax)), pixels / (2**bits - 1), atol=1e-12)


def test_signed_pixels_begin_at_their_lowest(read):
    pixels = RNG.integers(-2048, 2048, (7, 9)).astype(np.int16)
    np.testing.assert_allclose(read(made(pixels)), (pixels + 2048) / 4095, atol=1e-12)


@pytest.mark.parametrize(("slope", "intercept"), [(2.5, -1024), (-1, 4095), (0.1, 7)])
def test_rescaling_alone_changes_the_order_at_most(read, slope, intercept):
    expected = PIXELS / 4095 if slope > 0 else 1 - PIXELS / 4095
    found = read(made(RescaleSlope=slope, RescaleIntercept=intercept))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2.5, -1024)])
@pytest.mark.parametrize(("centre", "width"), [(2000, 1500), (900.5, 1), (300, 2), (-200, 4000)])
def test_windows_are_those_of_pydicom(read, function, slope, intercept, centre, width):
    dataset = made(RescaleSlope=slope, RescaleIntercept=intercept, WindowCenter=centre, WindowWidth=width)
    if function:
        dataset.VOILUTFunction = function
    with np.errstate(over="ignore"):
        oracle = apply_voi_lut(apply_modality_lut(PIXELS, dataset), dataset)
    low, high = intercept, 4095 * slope + intercept  # what pydicom maps a window to
    found = read(dataset)
    np.testing.assert_allclose(found, (oracle - low) / (high - low), atol=1e-9)
    assert 0 <= found.min() <= found.max() <= 1


def test_of_several_windows_the_first_is_taken(read):
    several = read(made(WindowCenter=[1000, 3000], WindowWidth=[800, 100]))
    np.testing.assert_array_equal(several, read(made(WindowCenter=1000, WindowWidth=800)))
    assert not np.array_equal(several, read(made(WindowCenter=3000, WindowWidth=100)))


def test_monochrome1_is_inverted_after_the_window(read):
    fields = {"WindowCenter": 1000, "WindowWidth": 1500}
    inverted = read(made(PhotometricInterpretation="MONOCHROME1", **fields))
    np.testing.assert_allclose(inverted, 1 - read(made(**fields)), atol=1e-12)


@pytest.mark.parametrize(("bits", "first", "entries"), [(8, 0, 4096), (8, 100, 300), (12, -5, 4096), (16, 1000, 1024)])
@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
def test_tables_are_looked_up_and_cut_at_their_ends(read, name, bits, first, entries):
    values = np.sort(RNG.integers(0, 2**bits, entries))
    dataset = made(PIXELS.astype(np.int16), 13, **{name: table(values.tolist(), first, bits)})
    dataset[name].value[0]["LUTData"].VR = "US"
    dataset[name].value[0]["LUTDescriptor"].VR = "SS"
    expected = np.interp(PIXELS.astype(int), first + np.arange(entries), values) / (2**bits - 1)
    np.testing.assert_allclose(read(dataset), expected, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2])
def test_tables_may_be_packed(read, size):
    values = np.arange(256)[::-1]
    dataset = made(PIXELS // 16, 8, VOILUTSequence=table([0], 0, 8))
    item = dataset.VOILUTSequence[0]
    item.LUTDescriptor = [256, 0, 8]
    item.add_new(0x00283006, "OW", values.astype(f"<u{size}").tobytes())
    np.testing.assert_allclose(read(dataset), 1 - PIXELS // 16 / 255, atol=1e-12)


def test_the_table_goes_before_the_window(read):
    dataset = made(VOILUTSequence=table(list(range(4096)), 0, 12), WindowCenter=100, WindowWidth=2)
    dataset.VOILUTSequence[0]["LUTData"].VR = dataset.VOILUTSequence[0]["LUTDescriptor"].VR = "US"
    np.testing.assert_allclose(read(dataset), PIXELS / 4095, atol=1e-12)


def test_colours_become_their_luma(read):
    pixels = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    luma = (0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]) / 255
    np.testing.assert_allclose(read(made(pixels, 8)), luma, atol=1e-12)


def test_run_length_coding_needs_no_plug_in(read):
    dataset = made(PIXELS)
    dataset.compress(RLELossless)
    np.testing.assert_allclose(read(dataset), PIXELS / 4095, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "spacing"),
    [
        ({}, None),
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"ImagerPixelSpacing": [0.3, 0.4]}, (0.3, 0.4)),
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.3, 0.4]}, (0.2, 0.1)),
        ({"PixelSpacing": [0, 0]}, None),
    ],
)
def test_spacing_is_along_y_and_x(tmp_path, fields, spacing):
    made(**fields).save_as(tmp_path / "x.dcm", enforce_file_format=True)
    assert read_dicom(tmp_path / "x.dcm")[1] == spacing


def cut(count):
    """Leave `count` bytes fewer of a file."""

    def change(path):
        path.write_bytes(path.read_bytes()[:-count])

    return change


def sequence_of(syntax):
    """A file that claims to be compressed, with bytes that are not looked at."""
    dataset = made(PIXELS)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\x00" * 64])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


@pytest.mark.parametrize(
    ("dataset", "damage", "words"),
    [
        (made(), cut(252), ["whole file"]),
        (made(), cut(100), ["140 vs 240 bytes"]),
        (made(), cut(300), ["lacks the size"]),
        (made(Rows=60000, Columns=60000), None, ["60000 x 60000", "Expected at most"]),
        (made(Rows=9000, Columns=9000), None, ["claims 162000000 bytes", "whole file"]),
        (made(Rows=14), None, ["cannot be read"]),
        (made(NumberOfFrames=3), None, ["3 frames", "one image"]),
        (made(PhotometricInterpretation="PALETTE COLOR"), None, ["PALETTE COLOR", "gray or RGB"]),
        (made(BitsStored=17), None, ["17 bits in 16"]),
        (made(BitsAllocated=1, BitsStored=1), None, ["1 bits in 1"]),
        (made(WindowCenter=5, WindowWidth=0.5), None, ["width 0.5", "at least 1"]),
        (made(WindowCenter=5, WindowWidth=0, VOILUTFunction="SIGMOID"), None, ["width 0", "above 0"]),
        (made(WindowCenter=5, WindowWidth=9, VOILUTFunction="CUBIC"), None, ["CUBIC", "SIGMOID"]),
        (made(RescaleSlope=0, RescaleIntercept=1), None, ["slope of 0"]),
        (sequence_of(JPEGLosslessSV1), None, ["JPEG Lossless", "plug-in", "gdcmconv"]),
        (sequence_of(JPEG2000Lossless), None, ["cannot be read"]),
        (sequence_of(RLELossless), None, ["cannot be read"]),
        (made(syntax=DeflatedExplicitVRLittleEndian), None, ["Deflated", "not deflated"]),
        (made(), lambda path: path.write_text("no image"), ["cannot be read", "DICOM"]),
        (made(), lambda path: path.write_bytes(b""), ["cannot be read", "DICOM"]),
    ],
    ids=[
        "pixels cut off", "truncated", "header cut off", "many pixels", "few bytes", "rows", "frames", "palette",
        "bits", "one bit", "window", "sigmoid", "function", "slope", "lossless JPEG", "JPEG 2000", "damaged RLE",
        "deflated", "no DICOM", "empty",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, refused, dataset, damage, words):
    root = tmp_path / "ShenzhenSet"
    for folder in ("CXR_png", "mask"):
        (root / folder).mkdir(parents=True)
    path = root / "CXR_png/CHNCXR_0001_0.dcm"
    dataset.save_as(path, enforce_file_format=True)
    Image.fromarray(np.zeros((12, 10), np.uint8)).save(root / "mask/CHNCXR_0001_0_mask.png")
    if damage:
        damage(path)
    error = refused("prepare_chest_xray", root, tmp_path / "out.h5", "--split", 1, 0, 0)
    assert "CHNCXR_0001_0.dcm" in error and all(word in error for word in words), error


def test_dicom_files_are_prepared_beside_images(tmp_path):
    from kseg.cli import main

    root = tmp_path / "ShenzhenSet"
    for folder in ("CXR_png", "mask"):
        (root / folder).mkdir(parents=True)
    pixels = RNG.integers(0, 4096, (64, 32)).astype(np.uint16)
    made(pixels, PixelSpacing=[0.2, 0.1], WindowCenter=2000, WindowWidth=3000).save_as(
        root / "CXR_png/CHNCXR_0002_1.dcm", enforce_file_format=True
    )
    Image.fromarray(RNG.integers(0, 256, (64, 32)).astype(np.uint8)).save(root / "CXR_png/CHNCXR_0001_0.png")
    for name in ("0001_0", "0002_1"):
        Image.fromarray(np.uint8(255) * (pixels > 2000)).save(root / f"mask/CHNCXR_{name}_mask.png")
    words = [root, tmp_path / "set.h5", "--size", 16, "--split", 1, 0, 0]
    assert main("prepare_chest_xray", [str(word) for word in words]) == 0
    with DataFile(tmp_path / "set.h5") as data:
        data.verify()
        images, _ = data.read("train")
        index = data.index("train")
    assert index["case"].tolist() == ["shenzhen_0001_0", "shenzhen_0002_1"]
    np.testing.assert_allclose(index["spacing"], [[np.nan, np.nan], [0.8, 0.2]], rtol=1e-6)
    shown = np.clip((pixels - 1999.5) / 2999 + 0.5, 0, 1).reshape(16, 4, 16, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(images[1, ..., 0], shown, atol=0.5 / 255 + 1e-6)
