import pytest

from kseg.registry import Registry, unknown


@pytest.fixture
def fruits():
    registry = Registry("fruit")

    @registry.register("apple", colour="red")
    class Apple:
        pass

    registry.register("pear", colour="green")("a pear")
    return registry


def test_a_registered_object_comes_back_under_its_name(fruits):
    assert fruits.get("apple").__name__ == "Apple"
    assert fruits.get("pear") == "a pear"
    assert fruits.names() == ["apple", "pear"]


def test_facts_are_a_copy(fruits):
    fruits.facts("pear")["colour"] = "blue"
    assert fruits.facts("pear") == {"colour": "green"}


def test_an_unknown_name_gives_the_value_the_choices_and_the_nearest(fruits):
    for ask in (fruits.get, fruits.facts):
        with pytest.raises(ValueError) as caught:
            ask("appel")
        assert str(caught.value) == "fruit 'appel' is not known. Expected one of: apple, pear. Did you mean 'apple'?"


def test_a_name_far_from_all_gives_no_hint(fruits):
    with pytest.raises(ValueError, match="Expected one of: apple, pear.$"):
        fruits.get("xyz")


def test_a_name_is_given_once(fruits):
    with pytest.raises(ValueError, match="fruit 'apple' is registered twice"):
        fruits.register("apple")(object())
    assert fruits.get("apple").__name__ == "Apple"


def test_what_is_no_string_is_unknown_too():
    assert str(unknown("head", None, ["auto"])) == "head None is not known. Expected one of: auto."
