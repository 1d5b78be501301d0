from typing import Literal

import pytest

from ganforge import OptionError, PluginError
from ganforge.plugins.options import check_options, coerce, read_options


class Example:
    """An example.

    Args:
        size: Pixels along
            an edge.
        mode: How.
    """

    def __init__(
        self, data: object, *, size: int = 8, mode: Literal["a", "b"] = "a", widths: tuple[int, ...] = (1, 2)
    ) -> None:
        self.size = size


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("64", int, 64),
        ("500k", int, 500_000),
        ("1.5M", int, 1_500_000),
        (64.0, int, 64),
        ("-3", int, -3),
        ("1e-4", float, 1e-4),
        (1, float, 1.0),
        ("true", bool, True),
        ("No", bool, False),
        ("b", Literal["a", "b"], "b"),
        ("16", Literal[8, 16], 16),
        ("none", int | None, None),
        ("5", int | None, 5),
        ("1,2,3", tuple[int, ...], (1, 2, 3)),
        ([1, 2], tuple[int, ...], (1, 2)),
        (7, tuple[int, ...], (7,)),
        ("text", str, "text"),
        ("9007199254740993", int, 9007199254740993),  # which a float would round
        (2**63 - 1, int, 2**63 - 1),
    ],
)
def test_values_are_read_as_a_user_writes_them(text, annotation, value):
    result = coerce(text, annotation, "here")
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("abc", int),
        ("1.5", int),
        (1.5, int),
        (True, int),
        ("", int),
        ("nan", float),
        ("inf", float),
        ("1e400", float),
        ("1e39", float),  # infinite in float32
        ("1e300", int),
        (2**63, int),
        (10**400, int),
        ("9" * 5000, int),
        (False, float),
        ("maybe", bool),
        (2, bool),
        ("c", Literal["a", "b"]),
        ("1,x", tuple[int, ...]),
        (3, str),
        (None, int),
        ({}, int),
    ],
)
def test_wrong_values_name_the_place_and_the_value(text, annotation):
    with pytest.raises(OptionError, match="generator 'x', option 'y'") as error:
        coerce(text, annotation, "generator 'x', option 'y'")
    assert repr(text) in error.value.message or (isinstance(text, str) and text.split(",")[-1] in error.value.message)
    assert error.value.hint


def test_options_are_the_keyword_only_arguments_with_their_help():
    options = read_options(Example)
    assert list(options) == ["size", "mode", "widths"]
    assert (options["size"].default, options["size"].help) == (8, "Pixels along an edge.")
    assert (options["mode"].type_name, options["widths"].type_name) == ("a|b", "int,...")


def test_an_unknown_option_suggests_the_nearest():
    with pytest.raises(OptionError, match=r"generator 'x' has no option 'sise' \(did you mean 'size'"):
        check_options({"sise": 3}, read_options(Example), "generator 'x'")


def test_an_option_without_annotation_is_the_authors_mistake():
    def factory(*, size=8):
        return size

    with pytest.raises(PluginError, match="option 'size' .* needs an annotation and a default"):
        read_options(factory)
