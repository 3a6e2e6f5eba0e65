"""Which files are meant and what is written of them; nothing here needs a model."""

from pathlib import Path

import pytest

from kseg.inference.listing import list_files, plan_jobs


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.NII.GZ", "c.txt", ".hidden.png", "sub/d.png", "sub/e.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(words):
    files, left_out = list_files(words)
    return [path.name for path in files], left_out


def test_folders_patterns_and_files_are_listed_in_order(folder):
    assert names([folder]) == names(folder) == names(str(folder)) == (["a.NII.GZ", "b.png"], 1)
    assert names([folder / "sub/e.dcm", folder / "b.png"]) == (["e.dcm", "b.png"], 0)
    assert names([folder / "*.png", folder / "sub"]) == (["b.png", "d.png", "e.dcm"], 0)
    assert names([f"{folder}/**/*.png"]) == (["b.png", "d.png"], 0)


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    (tmp_path / "scan[1].png").touch()
    assert names([tmp_path / "scan[1].png"]) == (["scan[1].png"], 0)


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (["nowhere.png"], FileNotFoundError, "'nowhere.png' does not exist"),
        (["*.jpg"], FileNotFoundError, "does not exist"),
        (["empty"], FileNotFoundError, "holds no file that is read"),
        (["c.txt"], ValueError, "c.txt is of no kind that is read"),
        (["b.png", "./b.png"], ValueError, "given twice"),
        (["b.png", "*.png"], ValueError, "given twice"),
        (["sub/d.png", "link.png"], ValueError, "given twice, also as sub/d.png"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder, monkeypatch, words, kind, told):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "link.png").symlink_to(folder / "sub/d.png")
    with pytest.raises(kind, match=told):
        list_files(words)


def test_each_file_has_its_mask_and_what_else_is_asked():
    [job] = plan_jobs([Path("in/a.nii.gz")], "out", probabilities=True, overlays=True)
    assert list(map(str, job)) == [
        "in/a.nii.gz", "out/a.nii.gz", "out/probabilities/a.nii.gz", "out/overlays/a.png"
    ]  # fmt: skip
    [job] = plan_jobs([Path("a.jpg")], "out")
    assert job.written == [Path("out/a.png")]


@pytest.mark.parametrize(
    ("files", "output"),
    [(["x/a.png", "y/a.png"], "out"), (["a.jpg", "a.dcm"], "out"), (["A.png", "a.png"], "out")],
)
def test_two_files_with_one_mask_are_refused(files, output):
    with pytest.raises(ValueError, match="would both be written"):
        plan_jobs([Path(each) for each in files], output)


def test_a_result_never_takes_the_place_of_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match="a.png is one of the files to read"):
        plan_jobs([Path("a.png")], ".")
