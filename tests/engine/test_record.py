"""Records: quick dataclasses. The oracle is `dataclasses.dataclass` itself, of the same fields and options."""

import dataclasses
from typing import Any

import pytest

from chainrule.engine.record import record

FIELDS: list[Any] = [("x", int), ("y", tuple), ("z", str, "last")]


def pair(**options: Any) -> tuple[Any, Any]:
    plain = dataclasses.make_dataclass("Place", FIELDS)
    body = {"__annotations__": dict(plain.__annotations__), "__qualname__": "Place", "z": "last"}
    return record(frozen=True, slots=True, **options)(type("Place", (), body)), dataclasses.make_dataclass(
        "Place", FIELDS, frozen=True, slots=True, **options
    )


@pytest.mark.parametrize("other", [(1, (2, 3)), (1, (2, 4)), (2, (2, 3)), (1, (2, 3), "else")])
def test_equal_as_a_dataclass_is(other: tuple[Any, ...]) -> None:
    own, plain = pair()
    found, wanted = own(1, (2, 3)) == own(*other), plain(1, (2, 3)) == plain(*other)
    assert found is wanted
    if wanted:
        assert hash(own(1, (2, 3))) == hash(own(*other))
    assert own(1, (2, 3)) != plain(1, (2, 3))


def test_printed_and_replaced_as_a_dataclass_is() -> None:
    own, plain = pair()
    assert repr(own(1, (2, 3))) == repr(plain(1, (2, 3))) == "Place(x=1, y=(2, 3), z='last')"
    assert repr(dataclasses.replace(own(1, ()), x=5)) == repr(dataclasses.replace(plain(1, ()), x=5))
    assert [field.name for field in dataclasses.fields(own)] == [field.name for field in dataclasses.fields(plain)]


@pytest.mark.parametrize("given", [((), {}), ((1,), {}), ((1, 2, 3, 4), {}), ((1, 2), {"y": 3}), ((1, 2), {"w": 3})])
def test_what_does_not_fit_is_refused_as_by_a_dataclass(given: tuple[tuple[int, ...], dict[str, int]]) -> None:
    said = []
    for kind in pair():
        with pytest.raises(TypeError) as error:
            kind(*given[0], **given[1])
        said.append(str(error.value))
    assert said[0] == said[1]


def test_fields_by_name_and_by_default() -> None:
    own, plain = pair()
    assert repr(own(y=(), x=2)) == repr(plain(y=(), x=2))
    assert repr(own(y=(), z="z", x=2)) == repr(plain(y=(), z="z", x=2))


def test_without_values_to_compare_each_is_itself() -> None:
    own, plain = pair(eq=False)
    for kind in (own, plain):
        one = kind(1, ())
        assert one == one
        assert one != kind(1, ())
        assert {one: "there"}[one] == "there"


def test_slots_leave_no_room_for_other_names() -> None:
    own, _ = pair()
    with pytest.raises(AttributeError):
        own(1, ()).w = 1


def test_matched_by_position() -> None:
    own, _ = pair()
    match own(1, (2, 3)):
        case own(x, (2, y)):
            assert (x, y) == (1, 3)
