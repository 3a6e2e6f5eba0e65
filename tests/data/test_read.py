"""Files of many kinds as cases, and masks in the format that came in."""

import gzip
import io

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from kseg.data import read
from kseg.data.read import mask_name, probabilities_name, read_case, write_mask, write_probabilities

RNG = np.random.default_rng(1)
GRAY = RNG.integers(0, 256, (7, 9)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (7, 9, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 2**16, (7, 9)).astype(np.uint16)
VOLUME = RNG.integers(-900, 900, (4, 5, 6)).astype(np.int16)
# Axes of the file: the first to the left by 2 mm, the second to the front by 3, the third down by 4.
AFFINE = np.array([[-2, 0, 0, 9], [0, 3, 0, -8], [0, 0, -4, 7], [0, 0, 0, 1.0]])
SWAPPED = AFFINE[:, [2, 0, 1, 3]]


def image(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("a.png", GRAY), ("a.png", DEEP), ("a.png", COLOUR), ("a.BMP", COLOUR), ("a.tif", DEEP), ("a.TIFF", COLOUR),
     ("a.tif", (GRAY / 255).astype(np.float32)), ("a.bmp", GRAY)],
)  # fmt: skip
def test_images_keep_their_values_and_type(tmp_path, name, pixels):
    case = read_case(image(tmp_path / name, pixels))
    stored = pixels if pixels.ndim == 3 else pixels[..., None]
    np.testing.assert_array_equal(case.pixels[0], stored)
    assert case.pixels.dtype == pixels.dtype
    assert (case.spacing, case.slice_spacing, case.remarks) == (None, None, ())
    assert (case.origin.size, case.origin.slices, case.origin.axis) == ((7, 9), 1, None)


def test_jpeg_is_read(tmp_path):
    smooth = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    case = read_case(image(tmp_path / "a.jpg", smooth, quality=95))
    np.testing.assert_allclose(case.pixels[0, ..., 0], smooth, atol=3)


def test_transparency_is_dropped_and_told_where_there_is_some(tmp_path):
    half = np.dstack([COLOUR, GRAY])
    case = read_case(image(tmp_path / "a.png", half))
    np.testing.assert_array_equal(case.pixels[0], COLOUR)
    assert case.remarks == ("transparency was dropped",)
    assert read_case(image(tmp_path / "b.png", np.dstack([COLOUR, np.full_like(GRAY, 255)]))).remarks == ()
    case = read_case(image(tmp_path / "c.png", np.dstack([GRAY, GRAY])))
    np.testing.assert_array_equal(case.pixels[0, ..., 0], GRAY)
    assert case.remarks == ("transparency was dropped",)


def test_palettes_are_colours_in_images_and_numbers_in_masks(tmp_path):
    indexed = Image.new("P", (9, 7))
    indexed.putdata((GRAY % 3).ravel().tolist())
    indexed.putpalette([0, 0, 0, 200, 0, 0, 0, 150, 0])
    indexed.save(tmp_path / "a.png")
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 150, 0]])
    np.testing.assert_array_equal(read_case(tmp_path / "a.png").pixels[0], colours[GRAY % 3])
    np.testing.assert_array_equal(read_case(tmp_path / "a.png", labels=True).pixels[0, ..., 0], GRAY % 3)


def test_masks_with_a_palette_of_grays_hold_these(tmp_path):
    """Writers number the grays of a GIF anew, so that the same gray has another number in another file."""
    for name, levels in (("a.gif", (0, 128, 255)), ("b.gif", (0, 255)), ("c.png", (255, 0, 9))):
        path = image(tmp_path / name, np.array(levels, np.uint8)[GRAY % len(levels)])
        if name == "c.png":
            Image.open(path).convert("RGB").quantize().save(path)
        found = read_case(path, labels=True).pixels
        np.testing.assert_array_equal(found[0, ..., 0], np.array(levels)[GRAY % len(levels)])


def test_one_bit_is_black_and_white(tmp_path):
    case = read_case(image(tmp_path / "a.png", GRAY > 99))
    np.testing.assert_array_equal(case.pixels[0, ..., 0], 255 * (GRAY > 99))


def png16(path, pixels):
    """A PNG of 16-bit colours, which Pillow does not write."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_colours_of_16_bits_are_read_as_8_and_that_is_told(tmp_path):
    deep = RNG.integers(0, 2**16, (7, 9, 3)).astype(np.uint16)
    png16(tmp_path / "a.png", deep)
    case = read_case(tmp_path / "a.png")
    np.testing.assert_allclose(case.pixels[0], deep / 257, atol=1)
    assert case.remarks == ("of 16 bits of a colour the upper 8 were read",)


def test_a_turn_in_exif_is_told(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    case = read_case(image(tmp_path / "a.jpg", COLOUR, exif=exif))
    assert case.pixels.shape == (1, 7, 9, 3)
    assert case.remarks == ("the turn that Exif tells was not made",)


@pytest.fixture
def pages(tmp_path):
    path, arrays = tmp_path / "pages.tif", [GRAY, 255 - GRAY, GRAY // 2]
    others = [Image.fromarray(array) for array in arrays[1:]]
    Image.fromarray(arrays[0]).save(path, save_all=True, append_images=others)
    return path, np.stack(arrays)


def test_pages_of_a_tiff_are_slices(pages):
    path, arrays = pages
    case = read_case(path)
    np.testing.assert_array_equal(case.pixels[..., 0], arrays)
    assert (case.origin.slices, case.origin.axis) == (3, 0)
    np.testing.assert_array_equal(read_case(path, axis=2).pixels[..., 0], np.moveaxis(arrays, 2, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float32, np.float64, bool, ">i4"])
def test_arrays_keep_their_values_in_the_order_of_the_machine(tmp_path, dtype):
    np.save(tmp_path / "a.npy", (GRAY > 99 if dtype is bool else GRAY).astype(dtype))
    case = read_case(tmp_path / "a.npy")
    np.testing.assert_array_equal(case.pixels[0, ..., 0], GRAY > 99 if dtype is bool else GRAY)
    assert case.pixels.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    ("shape", "pixels", "axis"),
    [((7, 9), (1, 7, 9, 1), None), ((7, 9, 3), (1, 7, 9, 3), None), ((7, 9, 1), (1, 7, 9, 1), None),
     ((7, 9, 4), (7, 9, 4, 1), 0), ((4, 7, 9, 3), (4, 7, 9, 3), 0), ((4, 7, 9, 1), (4, 7, 9, 1), 0)],
)  # fmt: skip
def test_arrays_of_all_shapes(tmp_path, shape, pixels, axis):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    case = read_case(tmp_path / "a.npy")
    assert (case.pixels.shape, case.origin.axis) == (pixels, axis)


def nifti(path, affine=AFFINE, volume=VOLUME):
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)
    return path


def test_volumes_are_sliced_along_an_axis_with_their_spacing(tmp_path):
    path = nifti(tmp_path / "a.nii.gz")
    case = read_case(path)
    np.testing.assert_array_equal(case.pixels[..., 0], np.moveaxis(VOLUME, 2, 0))
    assert (case.spacing, case.slice_spacing, case.origin.orientation) == ((2, 3), 4, "LAI")
    case = read_case(path, axis=0)
    np.testing.assert_array_equal(case.pixels[..., 0], VOLUME)
    assert (case.spacing, case.slice_spacing) == ((3, 4), 2)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "ASL", "IRP"])
def test_volumes_are_turned_as_nibabel_turns_them(tmp_path, orientation):
    path = nifti(tmp_path / "a.nii", SWAPPED)
    case = read_case(path, orientation=orientation)
    own = nibabel.load(path)
    ways = (nibabel.io_orientation(own.affine), nibabel.orientations.axcodes2ornt(orientation))
    turned = own.as_reoriented(nibabel.orientations.ornt_transform(*ways))
    assert "".join(nibabel.aff2axcodes(turned.affine)) == orientation
    np.testing.assert_array_equal(case.pixels[..., 0], np.moveaxis(np.asarray(turned.dataobj), 2, 0))
    np.testing.assert_allclose((*case.spacing, case.slice_spacing), turned.header.get_zooms())


@pytest.mark.parametrize("affine", [AFFINE, SWAPPED])
@pytest.mark.parametrize("orientation", [None, "RAS", "ASL"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_masks_of_volumes_lie_where_the_volume_lies(tmp_path, affine, orientation, name):
    """A mask made of the voxels themselves has the bright voxels at the bright ones' places in the scanner."""
    path, out = nifti(tmp_path / name, affine), tmp_path / ("m_" + name)
    for axis in range(3):
        case = read_case(path, axis, orientation)
        write_mask(out, (case.pixels[..., 0] > 100).astype(np.uint8), case.origin)
        image, mask = nibabel.load(path), nibabel.load(out)
        np.testing.assert_array_equal(np.asarray(mask.dataobj), VOLUME > 100)
        np.testing.assert_array_equal(mask.affine, image.affine)
        assert mask.get_data_dtype() == np.uint8
        assert mask.header.get_zooms() == image.header.get_zooms()
        for code in ("sform_code", "qform_code"):
            assert mask.header[code] == image.header[code]
    assert (out.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_headers_with_scaling_extensions_and_comments_give_plain_masks(tmp_path):
    volume = nibabel.Nifti2Image(VOLUME, AFFINE)
    volume.header.set_slope_inter(0.5, 3)
    volume.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"name of a patient"))
    volume.header["cal_max"] = 900
    nibabel.save(volume, tmp_path / "a.nii")
    case = read_case(tmp_path / "a.nii")
    assert case.pixels.dtype == np.float64
    ids = RNG.integers(0, 3, (6, 4, 5)).astype(np.uint8)
    write_mask(tmp_path / "m.nii", ids, case.origin)
    mask = nibabel.load(tmp_path / "m.nii")
    assert isinstance(mask, nibabel.Nifti2Image)
    np.testing.assert_array_equal(mask.get_fdata(), np.moveaxis(ids, 0, 2))
    assert b"patient" not in (tmp_path / "m.nii").read_bytes() and mask.header["cal_max"] == 0


def test_volumes_whose_place_is_unknown_are_not_turned(tmp_path):
    volume = nibabel.Nifti1Image(VOLUME, None)
    nibabel.save(volume, tmp_path / "a.nii")
    case = read_case(tmp_path / "a.nii", orientation="RAS")
    np.testing.assert_array_equal(case.pixels[..., 0], np.moveaxis(VOLUME, 2, 0))
    assert "does not tell" in case.remarks[0]
    write_mask(tmp_path / "m.nii", np.zeros((6, 4, 5), np.uint8), case.origin)
    assert nibabel.load(tmp_path / "m.nii").header["sform_code"] == 0


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (4, 7, 9), (4, 7, 9, 3)])
def test_masks_of_arrays_have_the_shape_of_the_array(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    for axis in (None, 1):
        case = read_case(tmp_path / "a.npy", axis)
        ids = RNG.integers(0, 3, case.pixels.shape[:3]).astype(np.uint8)
        write_mask(tmp_path / "m.npy", ids, case.origin)
        spatial = shape[:-1] if shape[-1] == 3 else shape
        assert np.load(tmp_path / "m.npy").shape == spatial
        np.testing.assert_array_equal(read_case(tmp_path / "m.npy", axis).pixels[..., 0], ids)


def test_masks_of_images_are_png(tmp_path):
    ids = RNG.integers(0, 3, (1, 7, 9)).astype(np.uint8)
    for name in ("a.png", "a.jpg", "a.bmp"):
        case = read_case(image(tmp_path / name, COLOUR))
        write_mask(tmp_path / mask_name(name), ids, case.origin)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), ids[0])


def test_masks_of_tiff_are_tiff_of_as_many_pages(tmp_path, pages):
    for axis in (0, 1):
        case = read_case(pages[0], axis)
        ids = RNG.integers(0, 3, case.pixels.shape[:3]).astype(np.uint8)
        write_mask(tmp_path / "m.tif", ids, case.origin)
        with Image.open(tmp_path / "m.tif") as mask:
            assert (mask.n_frames, mask.size, mask.mode) == (3, (9, 7), "L")
        np.testing.assert_array_equal(read_case(tmp_path / "m.tif", axis).pixels[..., 0], ids)


def test_masks_of_dicom_are_png(tmp_path):
    from test_dicom import made

    made(syntax=ExplicitVRLittleEndian, PixelSpacing=[0.5, 0.25]).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    case = read_case(tmp_path / "a.dcm")
    assert case.pixels.shape == (1, 12, 10, 1) and case.spacing == (0.5, 0.25)
    assert 0 <= case.pixels.min() < case.pixels.max() <= 1
    write_mask(tmp_path / mask_name("a.dcm"), np.ones((1, 12, 10), np.uint8), case.origin)
    assert np.asarray(Image.open(tmp_path / "a.png")).all()


def test_probabilities_are_kept_exactly(tmp_path, pages):
    p = RNG.random((1, 7, 9, 4), dtype=np.float32)
    case = read_case(image(tmp_path / "a.jpg", COLOUR))
    write_probabilities(tmp_path / "a.npy", p, case.origin)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), p[0])
    case = read_case(nifti(tmp_path / "a.nii.gz", SWAPPED), 1, "RAS")
    p = RNG.random((*case.pixels.shape[:3], 4), dtype=np.float32)
    write_probabilities(tmp_path / "p.nii.gz", p, case.origin)
    found = nibabel.load(tmp_path / "p.nii.gz")
    assert found.shape == (*VOLUME.shape, 4) and found.header.get_zooms()[:3] == (4, 2, 3)
    for k in range(4):
        nibabel.save(nibabel.Nifti1Image(np.asarray(found.dataobj)[..., k], found.affine), tmp_path / "k.nii")
        np.testing.assert_array_equal(read_case(tmp_path / "k.nii", 1, "RAS").pixels[..., 0], p[..., k])
    case = read_case(pages[0])
    p = RNG.random((3, 7, 9, 2), dtype=np.float32)
    write_probabilities(tmp_path / "p.tif", p, case.origin)
    np.testing.assert_array_equal(read_case(tmp_path / "p.tif").pixels[..., 0], np.moveaxis(p, 3, 1).reshape(6, 7, 9))


@pytest.mark.parametrize(
    ("name", "mask", "probabilities"),
    [("x/a.nii.gz", "a.nii.gz", "a.nii.gz"), ("a.NII", "a.nii", "a.nii"), ("a.b.jpg", "a.b.png", "a.b.npy"),
     ("a.tif", "a.tif", "a.tif"), ("a.dcm", "a.png", "a.npy"), ("a.npy", "a.npy", "a.npy")],
)  # fmt: skip
def test_names_of_what_is_written(name, mask, probabilities):
    assert (mask_name(name), probabilities_name(name)) == (mask, probabilities)


def test_nothing_is_left_of_a_write_that_fails(tmp_path, monkeypatch):
    case = read_case(nifti(tmp_path / "a.nii.gz"))
    monkeypatch.setattr(gzip, "compress", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_mask(tmp_path / "m.nii.gz", np.zeros((6, 4, 5), np.uint8), case.origin)
    with pytest.raises(ValueError, match="Expected uint8 .6, 4, 5."):
        write_mask(tmp_path / "m.nii.gz", np.zeros((6, 5, 4), np.uint8), case.origin)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def bytes_of(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"no image", "cannot be read"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read"),
        ("a.tif", b"II*\0\x08\0\0\0", "cannot be read"),
        ("a.nii.gz", b"no volume", "cannot be read"),
        ("a.dcm", b"no DICOM", "cannot be read"),
        ("a.npy", b"no array", "no array file"),
        ("a.npy", bytes_of(np.zeros((2, 3, 4, 5, 6))), r"Expected \[H, W\]"),
        ("a.npy", bytes_of(np.zeros(9)), r"Expected \[H, W\]"),
        ("a.npy", bytes_of(np.array([[0, np.nan]])), "NaN"),
        ("a.npy", bytes_of(np.zeros((4, 4), complex)), "complex"),
        ("a.txt", b"words", "no kind that is read"),
        ("png", b"", "no kind that is read"),
    ],
)  # fmt: skip
def test_bad_files_are_told_in_one_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words) as refused:
        read_case(tmp_path / name)
    message = str(refused.value)
    assert "\n" not in message and "Expected" in message and name in message
    if name != "a.txt" and "." in name:
        with pytest.raises(FileNotFoundError, match="does not exist"):
            read_case(tmp_path / f"other{name[1:]}")


def test_other_kinds_of_images_under_a_known_name_are_not_opened(tmp_path):
    """Pillow would, and runs other programs for some of them."""
    with open(tmp_path / "a.png", "wb") as file:
        Image.fromarray(GRAY).save(file, format="PPM")
    with pytest.raises(ValueError, match="cannot be read"):
        read_case(tmp_path / "a.png")


def test_pickles_are_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(ValueError, match="object"):
        read_case(tmp_path / "a.npy")


def test_truncated_images_are_refused(tmp_path):
    path = image(tmp_path / "a.png", RNG.integers(0, 256, (99, 99)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ValueError, match="cannot be read"):
        read_case(path)


def test_what_is_too_large_is_refused_before_it_is_decoded(tmp_path, monkeypatch, pages):
    monkeypatch.setattr("kseg.data.images.LARGEST", 100)
    with pytest.raises(ValueError, match="3 pages of 7 x 9 pixels. Expected at most 100"):
        read_case(pages[0])
    monkeypatch.setattr(read, "LARGEST_VOLUME", 100)
    np.save(tmp_path / "a.npy", np.zeros((4, 7, 9), np.uint8))
    with pytest.raises(ValueError, match="Expected at most 100 values"):
        read_case(tmp_path / "a.npy")


def test_pages_of_differing_size_are_refused(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(GRAY[:5])])
    with pytest.raises(ValueError, match="pages of differing size"):
        read_case(tmp_path / "a.tif")
    Image.fromarray(GRAY).save(tmp_path / "b.tif", save_all=True, append_images=[Image.fromarray(DEEP)])
    with pytest.raises(ValueError, match="pages of differing size or kind"):
        read_case(tmp_path / "b.tif")
