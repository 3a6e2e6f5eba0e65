"""The HDF5 schema of DESIGN section 4: written whole, read with care, verified on demand."""

import hashlib
import json

import h5py
import numpy as np
import pytest

from kseg.data import DataFile, Writer

ATTRIBUTES = {
    "name": "discs", "classes": ["background", "disc"], "value_range": (0, 1), "command": "by hand",
    "sources": [{"file": "a.png", "bytes": 3, "sha256": "0" * 64}], "split_rule": "by hand", "seed": 5,
}  # fmt: skip
ARRAYS = ("images", "masks", "case", "slice", "box", "spacing")


def rows(count, seed=0, size=(6, 5)):
    generator = np.random.default_rng(seed)
    images = generator.random((count, *size, 1), dtype=np.float32)
    return images, (images[..., 0] > 0.7).astype(np.uint8)


@pytest.fixture
def path(tmp_path):
    """A small file: two cases to train on, one to test."""
    path = tmp_path / "discs.h5"
    with Writer(path, **ATTRIBUTES) as writer:
        writer.add("train", "a", *rows(3, 1), box=(1, 5, 0, 4), spacing=(0.5, 2))
        writer.add("train", "b", *rows(2, 2), slices=[4, 7])
        writer.add("test", "c", *rows(1, 3))
    return path


def refusal(path):
    """The one line with which opening a file is refused."""
    with pytest.raises(ValueError) as refused:
        DataFile(path)
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message and "Expected" in message
    return message


def change(path):
    return h5py.File(path, "r+")


def test_file_holds_what_the_schema_says(path):
    with h5py.File(path) as file:
        assert set(file) == {"train", "test"}
        assert file.attrs["format"] == "kseg-1"
        assert set(file.attrs) == {"format", *ATTRIBUTES}
        assert json.loads(file.attrs["classes"]) == ["background", "disc"]
        assert json.loads(file.attrs["sources"]) == ATTRIBUTES["sources"]
        train = file["train"]
        assert set(train) == set(ARRAYS)
        assert {name: (train[name].shape, train[name].dtype) for name in ARRAYS if name != "case"} == {
            "images": ((5, 6, 5, 1), np.float32), "masks": ((5, 6, 5), np.uint8), "slice": ((5,), np.int32),
            "box": ((5, 4), np.int32), "spacing": ((5, 2), np.float32),
        }  # fmt: skip
        assert list(train["case"].asstr()) == ["a", "a", "a", "b", "b"]
        digest = hashlib.sha256(train["images"][:].tobytes()).hexdigest()
        assert train["images"].attrs["sha256"] == digest


def test_what_was_written_is_read_again(path):
    with DataFile(path) as data:
        assert (data.name, data.classes, data.value_range) == ("discs", ["background", "disc"], (0, 1))
        assert data.sizes == {"train": 5, "validation": 0, "test": 1}
        assert data.shape == (6, 5, 1)
        assert data.attributes()["sources"] == ATTRIBUTES["sources"]
        images, masks = data.read("train")
        np.testing.assert_array_equal(images, np.concatenate([rows(3, 1)[0], rows(2, 2)[0]]))
        np.testing.assert_array_equal(masks, np.concatenate([rows(3, 1)[1], rows(2, 2)[1]]))
        np.testing.assert_array_equal(data.read("train", 2, 4)[0], images[2:4])
        index = data.index("train")
        assert list(index["case"]) == ["a", "a", "a", "b", "b"]
        assert index["slice"].tolist() == [0, 1, 2, 4, 7]
        assert index["box"].tolist() == [[1, 5, 0, 4]] * 3 + [[0, 6, 0, 5]] * 2
        np.testing.assert_array_equal(index["spacing"], [[0.5, 2]] * 3 + [[np.nan, np.nan]] * 2)
        data.verify()


def test_bytes_are_read_with_their_scale(tmp_path):
    path = tmp_path / "bytes.h5"
    images = np.arange(30, dtype=np.uint8).reshape(1, 6, 5, 1)
    with Writer(path, **ATTRIBUTES, scale=1 / 255) as writer:
        writer.add("train", "a", images, np.zeros((1, 6, 5), np.uint8))
    with DataFile(path) as data:
        read = data.read("train")[0]
        data.verify()
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, images / 255, rtol=1e-6)


@pytest.mark.parametrize(("scale", "dtype"), [(None, np.uint8), (1 / 255, np.float32), (None, np.float64)])
def test_pixels_of_a_type_that_does_not_fit_the_scale_are_refused(tmp_path, scale, dtype):
    with pytest.raises(ValueError, match="Expected"), Writer(tmp_path / "a.h5", **ATTRIBUTES, scale=scale) as writer:
        writer.add("train", "a", np.zeros((1, 6, 5, 1), dtype), np.zeros((1, 6, 5), np.uint8))
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path / "new.h5", **ATTRIBUTES) as writer:
        writer.add("train", "a", *rows(2))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_the_file_that_was_to_be_replaced(path):
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), Writer(path, overwrite=True, **ATTRIBUTES) as writer:
        writer.add("train", "a", *rows(2))
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_name_appears_only_when_the_file_is_whole(tmp_path):
    path = tmp_path / "new.h5"
    with Writer(path, **ATTRIBUTES) as writer:
        writer.add("train", "a", *rows(2))
        assert not path.exists()
    assert path.exists()


def test_an_existing_file_is_replaced_only_when_told(path):
    with pytest.raises(FileExistsError, match="overwrite"):
        Writer(path, **ATTRIBUTES)
    with Writer(path, overwrite=True, **ATTRIBUTES) as writer:
        writer.add("train", "z", *rows(1))
    with DataFile(path) as data:
        assert data.sizes["train"] == 1


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (("train", "a"), "order"),
        (("train", "b"), "b comes twice"),
        (("test", "b"), "b comes twice"),
    ],
    ids=["descending", "twice", "in two splits"],
)
def test_cases_come_once_and_in_order(tmp_path, second, words):
    with pytest.raises(ValueError, match=words), Writer(tmp_path / "new.h5", **ATTRIBUTES) as writer:
        writer.add("train", "b", *rows(1))
        writer.add(*second, *rows(1))


@pytest.mark.parametrize(
    ("images", "masks", "words"),
    [
        (np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 4, 5), np.uint8), "differ in size"),
        (np.zeros((1, 4, 4, 1), np.float32), np.full((1, 4, 4), 2, np.uint8), "label 2.*Expected 0 to 1"),
        (np.zeros((1, 4, 5, 1), np.float32), np.zeros((1, 4, 5), np.uint8), "rows of"),
    ],
    ids=["sizes differ", "label outside the classes", "other size than before"],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, images, masks, words):
    with pytest.raises(ValueError, match=words), Writer(tmp_path / "new.h5", **ATTRIBUTES) as writer:
        writer.add("train", "a", np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 4, 4), np.uint8))
        writer.add("train", "b", images, masks)


@pytest.mark.parametrize("name", ARRAYS)
def test_checksums_find_one_changed_value(path, name):
    with change(path) as file:
        data = file["train"][name]
        if name == "case":
            data[4] = "bb"
        elif name == "box":
            data[3:, 2] = 1
        else:
            flat = data[:].ravel()
            flat[-1] = 9 if name == "slice" else (flat[-1] == 0)
            data[:] = flat.reshape(data.shape)
    with DataFile(path) as data, pytest.raises(ValueError, match=f"train/{name}.*SHA-256"):
        data.verify()


def test_checksums_look_at_every_split(path):
    with change(path) as file:
        file["test/masks"][0, 0, 0] ^= 1
    with DataFile(path) as data, pytest.raises(ValueError, match="test/masks"):
        data.verify()


def test_a_missing_file_names_the_fix(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a prepared HDF5 file.*prepare_"):
        DataFile(tmp_path / "none.h5")


@pytest.mark.parametrize("length", [0, 100, 4000, -1000])
def test_truncated_files_are_refused(path, length):
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    assert "truncated" in refusal(path)


def test_a_file_of_something_else_is_refused(path):
    path.write_text("not HDF5 at all\n" * 1000)
    assert "no HDF5 file" in refusal(path)


def test_hdf5_of_another_schema_is_refused(path):
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(3)
    assert "format None" in refusal(path)


def test_a_later_format_is_refused(path):
    with change(path) as file:
        file.attrs["format"] = "kseg-2"
    assert "'kseg-2'" in refusal(path)


@pytest.mark.parametrize("name", ["classes", "sources", "value_range"])
def test_missing_attributes_are_named(path, name):
    with change(path) as file:
        del file.attrs[name]
    assert name in refusal(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("classes", "[broken"), ("classes", "3"), ("value_range", 1.0), ("value_range", "wide")],
)
def test_attributes_that_make_no_sense_are_refused(path, name, value):
    with change(path) as file:
        file.attrs[name] = value
    refusal(path)


@pytest.mark.parametrize("name", ARRAYS)
def test_missing_arrays_are_named(path, name):
    with change(path) as file:
        del file["train"][name]
    assert f"train/{name}" in refusal(path)


def swap_rows(train):
    for array in train.values():
        rows = array[:]
        array[0], array[1] = rows[1], rows[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.attrs.__setitem__("classes", '["a"]'), "classes"),
        (lambda file: file.attrs.__setitem__("classes", '{"a": 1, "b": 2}'), "classes"),
        (lambda file: file.attrs.__setitem__("value_range", [1.0]), "value range"),
        (lambda file: file.attrs.__setitem__("format", np.arange(3)), "format"),
        (lambda file: file.attrs.__setitem__("classes", '["a", "a"]'), "classes"),
        (lambda file: file.attrs.__setitem__("classes", r'["a", "\u001b]0;b"]'), "classes"),
        (lambda file: file.attrs.__setitem__("value_range", [1.0, 0.0]), "value range"),
        (lambda file: file.attrs.__setitem__("value_range", [0.0, np.inf]), "value range"),
        (lambda file: file.attrs.__setitem__("sources", "[" * 10**5), "sources"),
        (lambda file: file.attrs.__setitem__("sources", "[1]"), "sources"),
        (lambda file: file.attrs.__setitem__("sources", '[{"file": "a", "bytes": 1}]'), "sources"),
        (lambda file: file["train/case"].__setitem__(slice(None), "a" * 1001), "more than 1000 bytes"),
        (lambda file: swap_rows(file["train"]), "not sorted"),
        (lambda file: file["test/case"].__setitem__(slice(None), "a"), "in train and test"),
        (lambda file: file["train/box"].__setitem__((slice(None), 1), 7), "outside its image"),
        (lambda file: file["train/box"].__setitem__((0, 2), 1), "two for one case"),
    ],
    ids=[
        "one class",
        "a dict",
        "range",
        "format",
        "class twice",
        "escape",
        "range turned",
        "endless range",
        "deep sources",
        "sources",
        "source without hash",
        "long case",
        "unsorted",
        "case twice",
        "box outside",
        "two boxes",
    ],
)
def test_what_the_schema_forbids_is_refused(path, damage, message):
    with change(path) as file:
        damage(file)
    assert message in refusal(path)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0, 0.0, [1.0, 2.0], "1"])
def test_scales_that_make_no_images_are_refused(path, scale):
    with change(path) as file:
        levels = np.zeros(file["test/images"].shape, np.uint8)
        del file["test/images"]
        file["test/images"] = levels
        file["test/images"].attrs["scale"] = scale
    assert "scale" in refusal(path)


def test_bytes_without_a_scale_are_refused(path):
    with change(path) as file:
        for split in ("train", "test"):
            images = file[split]["images"][:].astype(np.uint8)
            del file[split]["images"]
            file[split]["images"] = images
    assert "scale unknown" in refusal(path)


@pytest.mark.parametrize(("name", "value", "message"), [("images", np.nan, "NaN"), ("masks", 9, "label 9")])
def test_values_that_no_image_may_hold_are_found_whatever_the_checksum(path, name, value, message):
    with change(path) as file:
        data = file["train"][name]
        data[0, 0, 0] = value
        data.attrs["sha256"] = hashlib.sha256(data[:].tobytes()).hexdigest()
    with DataFile(path) as data, pytest.raises(ValueError, match=message):
        data.verify()


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_differing_length_are_refused(path, name):
    with change(path) as file:
        file["train"][name].resize(4, axis=0)
    assert "images (" in refusal(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", np.zeros((5, 6, 5), np.float32)),
        ("images", np.array([b"x"] * 5)),
        ("masks", np.zeros((5, 6, 4), np.uint8)),
        ("masks", np.zeros((5, 6, 5), np.float32)),
        ("case", np.zeros(5, np.int32)),
        ("slice", np.zeros((5, 2), np.int32)),
        ("box", np.zeros((5, 2), np.int32)),
        ("spacing", np.zeros(5, np.float32)),
    ],
)
def test_arrays_of_the_wrong_shape_or_type_are_refused(path, name, value):
    with change(path) as file:
        del file["train"][name]
        file["train"][name] = value
    refusal(path)


def test_a_split_that_is_no_group_is_refused(path):
    with change(path) as file:
        del file["test"]
        file["test"] = np.zeros(3)
    refusal(path)


def test_a_file_without_rows_is_refused(path):
    with Writer(path, overwrite=True, **ATTRIBUTES):
        pass
    assert "no rows" in refusal(path)


def test_arrays_that_claim_more_than_they_hold_are_refused(path):
    with change(path) as file:
        for name in ARRAYS:
            shape = file["train"][name].shape
            del file["train"][name]
            kind = {"images": np.float32, "masks": np.uint8, "case": h5py.string_dtype()}.get(name, np.int32)
            file["train"].create_dataset(name, (10**9, *shape[1:]), kind, chunks=True)
    assert "claims" in refusal(path)


def other_file(path):
    other = path.with_name("other.h5")
    other.write_bytes(path.read_bytes())
    return other


@pytest.mark.parametrize("name", ["train/images", "train/case", "train"])
@pytest.mark.parametrize("kind", ["soft", "external"])
def test_links_are_not_followed(path, name, kind):
    other = other_file(path)
    with change(path) as file:
        file.copy(name, "elsewhere")
        del file[name]
        file[name] = h5py.SoftLink("/elsewhere") if kind == "soft" else h5py.ExternalLink(str(other), name)
    refusal(path)


def test_arrays_kept_in_other_files_are_refused(path):
    raw = path.with_name("raw.bin")
    raw.write_bytes(bytes(150))
    with change(path) as file:
        del file["train/masks"]
        file["train"].create_dataset("masks", (5, 6, 5), np.uint8, external=[(str(raw), 0, 150)])
    assert "train/masks" in refusal(path)


def test_virtual_arrays_are_refused(path):
    other = other_file(path)
    with change(path) as file:
        del file["train/masks"]
        layout = h5py.VirtualLayout((5, 6, 5), np.uint8)
        layout[:] = h5py.VirtualSource(str(other), "train/masks", (5, 6, 5))
        file["train"].create_virtual_dataset("masks", layout)
    assert "train/masks" in refusal(path)


def test_a_list_of_sources_may_exceed_64_kib(tmp_path):
    sources = [{"file": f"imagesTr/{i}.nii.gz", "bytes": i, "sha256": f"{i:064x}"} for i in range(1500)]
    path = tmp_path / "many.h5"
    with Writer(path, **{**ATTRIBUTES, "sources": sources}) as writer:
        writer.add("train", "a", *rows(1))
    with DataFile(path) as data:
        assert data.attributes()["sources"] == sources
