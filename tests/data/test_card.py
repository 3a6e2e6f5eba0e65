"""The data cards: complete heads, and numbers that are those of the data."""

import re
from pathlib import Path

import pytest
import yaml

from kseg.data import BUILT_IN, card, open_data

FOLDER = Path(__file__).parents[2] / "data_cards"
CARDS = sorted(path for path in FOLDER.glob("*.md") if path.name != "TEMPLATE.md")
FIELDS = {
    "name", "version", "licence", "licence_url", "homepage", "citation", "task", "modality", "classes", "access",
    "script", "sources",
}  # fmt: skip


def head_of(path):
    """The YAML head of a card, its keys with underscores."""
    start, head, _ = path.read_text(encoding="utf-8").split("---\n", 2)
    assert start == ""
    return {key.lower().replace(" ", "_").replace("-", "_"): value for key, value in yaml.safe_load(head).items()}


def test_there_are_cards():
    assert {"hippocampus.md", *(f"{name}.md" for name in BUILT_IN.names())} <= {path.name for path in CARDS}


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_head_has_every_field(path):
    head = head_of(path)
    assert set(head) >= FIELDS
    assert all(head[field] not in (None, "") for field in FIELDS)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_card_has_every_section(path):
    text = path.read_text(encoding="utf-8").lower()
    sections = [line for line in text.splitlines() if line.startswith("#")]
    names = (
        "at a glance", "motivation", "composition", "collection", "annotation", "preparation", "splits", "uses",
        "bias", "terms", "maintenance",
    )  # fmt: skip
    assert [name for name in names if not any(name in line for line in sections)] == []


@pytest.mark.parametrize("name", BUILT_IN.names())
def test_cards_of_built_in_sets_have_their_numbers_and_classes(name):
    path, data = FOLDER / f"{name}.md", open_data(name)
    block = path.read_text(encoding="utf-8").partition(card.BEGIN)[2].partition(card.END)[0]
    assert block.strip() == card.numbers(data)
    assert head_of(path)["classes"] == list(data.classes)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_pictures_of_a_card_are_there_and_small(path):
    for name in re.findall(r"!\[.*?\]\((.+?)\)", path.read_text(encoding="utf-8")):
        assert (FOLDER / name).stat().st_size < (300_000 if "docs" in name else 100_000)


def test_numbers_are_counted_right(prepared):
    """Against a count by hand: masks of 16 x 16, 12 labelled pixels in every slice but the first."""
    lines = card.numbers(open_data(prepared)).splitlines()
    table = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines[2:6]}
    slices = [3, 4, 5, 3, 4, 5, 6, 3, 4]
    share = 100 * 12 * (sum(slices) - 9) / (sum(slices) * 256)
    expected = ["9", "37", f"9 ({100 * 9 / 37:.1f} %)", f"{100 - share:.2f} %", f"{share:.2f} %"]
    assert table["all"] == expected
    assert [sum(int(table[split][i]) for split in ("train", "validation", "test")) for i in (0, 1)] == [9, 37]


def test_a_card_without_marks_is_refused(tmp_path):
    path = tmp_path / "card.md"
    path.write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        card.update(path, open_data("toy"))
    with pytest.raises(FileNotFoundError, match="TEMPLATE"):
        card.update(tmp_path / "none.md", open_data("toy"))
    assert path.read_text() == "no marks"
    assert list(tmp_path.iterdir()) == [path]
