"""What the README and the docstrings show runs as printed."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import kseg
from kseg.data import Writer

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
MODULES = [info.name for info in pkgutil.walk_packages(kseg.__path__, "kseg.")]


def test_examples_in_docstrings_run():
    results = [doctest.testmod(importlib.import_module(name)) for name in ["kseg", *MODULES]]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 10


def test_the_code_in_the_readme_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with Writer(
        "hippocampus.h5", name="set", classes=["background", "hippocampus"], value_range=(0, 0.2), command="",
        sources=[], split_rule="by hand", seed=0,
    ) as writer:  # fmt: skip
        for split in ("train", "test"):
            images = np.float32(0.2) * rng.random((3, 48, 64, 1), dtype=np.float32)
            writer.add(split, f"{split}-1", images, (images[..., 0] > 0.1).astype(np.uint8))
    first, second, third, fourth = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {}
    exec(first, names)
    assert names["masks"].shape == (3, 48, 64)
    exec(second, names)
    assert names["maps"].shape == (3, 48, 64, 1) and names["dice"].shape == (3, 3, 1)
    exec(third, names)
    assert (names["found"].loss_after > names["found"].loss_before).all()
    assert names["left"] == sorted(names["left"], reverse=True)
    assert (tmp_path / "unet.keras").is_file()
    exec(fourth, names)
    for model in (names["robust"], names["free"]):
        model.compile("sgd", kseg.losses.get("bce", from_logits=True))
        model.fit(names["images"], names["masks"], batch_size=3, verbose=0)


@pytest.mark.parametrize("name", kseg.losses.names())
def test_the_readme_names_every_loss(name):
    assert f"`{name}`" in README


@pytest.mark.parametrize("name", kseg.attacks.ATTACKS.names())
def test_the_readme_names_every_attack(name):
    assert f"`{name}`" in README
