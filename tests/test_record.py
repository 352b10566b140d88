"""Classes of named values: what the library's dataclasses would do."""

from __future__ import annotations

import copy
import pickle

import pytest

from ftmigrate.record import field, is_record, names, record, replace


@record
class Point:
    x: int
    y: int = 0
    tags: dict[str, int] = field(default_factory=dict)


@record
class Named(Point):
    name: str = ""

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x")


@record
class Pair:
    x: int
    y: int = 0
    tags: dict[str, int] = field(default_factory=dict)


@record(frozen=False)
class Open:
    count: int = 0


def test_fields_are_given_by_place_or_name() -> None:
    assert (Point(1).x, Point(1).y, Point(1, y=2).y) == (1, 0, 2)
    assert Named(1, 2, {}, "a").name == "a"
    assert names(Named(1)) == ("x", "y", "tags", "name")
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]


def test_a_default_is_made_anew() -> None:
    first, second = Point(1), Point(1)
    assert first.tags == {}
    assert first.tags is not second.tags


def test_equal_are_records_of_one_class_only() -> None:
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(2)
    assert Point(1) != Pair(1)  # type: ignore[comparison-overlap]
    assert repr(Point(1)) == "Point(x=1, y=0, tags={})"


def test_frozen_and_open() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    value = Open()
    value.count += 1
    assert value == Open(1)
    with pytest.raises(AttributeError):
        value.other = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        hash(value)


def test_replaced_checked_matched_copied() -> None:
    assert replace(Point(1, 2), x=3) == Point(3, 2)
    with pytest.raises(TypeError):
        replace(Point(1), z=1)
    with pytest.raises(ValueError, match="x"):
        replace(Named(1), x=-1)
    match Point(1, 2):
        case Point(x, y=2):
            assert x == 1
        case _:
            pytest.fail("not matched")
    for made in (pickle.loads(pickle.dumps(Named(1, 2))), copy.deepcopy(Named(1, 2)), copy.copy(Named(1, 2))):
        assert made == Named(1, 2)
    assert is_record(Point(1))
    assert not is_record((1, 2))
