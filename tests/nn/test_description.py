"""Descriptions: every layer there and back through JSON, and nothing from a hostile one."""

import contextlib
import functools
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.nn.description import LAYERS, build, describe

LAYER_EXAMPLES = [
    nn.Dense(4, 3),
    nn.Dense(4, 3, bias=False, activation="gelu", init="orthogonal"),
    nn.Dense(4, 3, init=functools.partial(nn.initializers.normal, std=0.02)),
    nn.Dense(4, 3, init=nn.initializers.he_normal),
    nn.Dense(4, 3, generator=cr.random.Generator(3)),
    nn.Flatten(),
    nn.Dropout(0.25),
    nn.BatchNorm(4, momentum=0.5),
    nn.LayerNorm((2, 4), bias=False),
    nn.RMSNorm(4),
    nn.Standardize(4).fitted(np.linspace(-9, 5, 24).reshape(6, 4)),
    nn.Standardize(undo=True),
    nn.Embedding(7, 2),
    nn.EmbeddedColumns([3, 5], [2, 4]),
    nn.Lambda(cr.tanh, name="squash"),
    nn.Residual(nn.Dense(4, 4), shortcut=nn.Dense(4, 4)),
    nn.Sequential(),
    nn.Sequential(nn.Dense(4, 4), nn.Sequential(nn.ReLU(), nn.Dropout())),
    nn.LeakyReLU(0.3),
    nn.ELU(alpha=2),
    nn.GELU(approximate=True),
    *(LAYERS[name]() for name in ("ReLU", "SELU", "SiLU", "Sigmoid", "Tanh", "Softplus", "Softmax", "LogSoftmax")),
    *(LAYERS[name]() for name in ("HardSigmoid", "HardTanh", "HardSiLU")),
]


@pytest.mark.parametrize("layer", LAYER_EXAMPLES, ids=lambda layer: json.dumps(describe(layer))[:60])
def test_a_layer_comes_back_from_json_and_computes_the_same(layer: nn.Module) -> None:
    text = json.dumps(describe(layer), allow_nan=False)
    other = build(json.loads(text), blank=True)
    assert json.dumps(describe(other)) == text
    other.load_arrays(layer.arrays())
    shape = (3, 2, 4)
    x: Any = (
        np.ones(shape, np.int64)
        if isinstance(layer, nn.Embedding)
        else np.linspace(-3, 3, 24, dtype="f4").reshape(shape)
    )
    if isinstance(layer, nn.EmbeddedColumns):
        x = np.array([[0.5, -1.0, 2, 4], [0.25, 3.0, 0, 1]], np.float32)
    np.testing.assert_array_equal(layer(x), other(x))


def test_every_layer_is_in_the_examples() -> None:
    assert {type(layer).__name__ for layer in LAYER_EXAMPLES} == set(LAYERS)


def test_building_draws_fresh_values_as_constructing_does() -> None:
    cr.random.seed(4)
    made = nn.Sequential(nn.Dense(3, 4), nn.ReLU(), nn.Dropout(0.5))
    cr.random.seed(4)
    built = build(describe(made))
    for name, array in made.arrays().items():
        np.testing.assert_array_equal(built.arrays()[name], array)


def test_a_blank_network_moves_no_random_stream() -> None:
    description = describe(nn.Sequential(nn.Dense(3, 4, init="orthogonal"), nn.Dropout(0.5), nn.Embedding(3, 4)))
    cr.random.seed(4)
    net = build(description, blank=True)
    after = cr.random.uniform((2,)).tolist()
    cr.random.seed(4)
    assert cr.random.uniform((2,)).tolist() == after
    assert not any(parameter.value.any() for parameter in net.parameters())


def test_a_layer_given_twice_is_shared_again() -> None:
    shared = nn.Dense(3, 3)
    net = build(json.loads(json.dumps(describe(nn.Sequential(shared, nn.Residual(nn.Sequential(nn.Tanh(), shared)))))))
    assert net[0] is net[1].inner[1]
    assert len(net.parameters()) == 2


class Tower(nn.Module):
    def __init__(self, widths: list[int], *, heads: dict[str, nn.Module], **options: float) -> None:
        self.blocks = [nn.Dense(a, b) for a, b in itertools.pairwise(widths)]
        self.heads = heads
        self.options = options

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.heads["value"](x)


def test_a_class_of_the_caller_comes_back_when_it_is_named() -> None:
    net = Tower([4, 3, 2], heads={"value": nn.Dense(2, 1)}, slope=0.5)
    text = json.dumps(describe(net))
    other = build(json.loads(text), classes=[Tower])
    other.load_arrays(net.arrays())
    assert other.options == {"slope": 0.5}
    assert other(cr.ones((1, 4))).tolist() == net(cr.ones((1, 4))).tolist()
    with pytest.raises(cr.FileFormatError, match="network: 'Tower' is no layer that is known here"):
        build(json.loads(text))


def test_a_class_of_the_caller_may_not_take_the_name_of_a_layer() -> None:
    own = type("Dense", (nn.Module,), {})
    with pytest.raises(cr.ArgumentError, match="a name of its own"):
        build({"class": "Dense", "arguments": {}}, classes=[own])


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Lambda(lambda x: x), r"Lambda\.function is <function <lambda>.*cannot be written"),
        (nn.Lambda(np.tanh), r"Lambda\.function is <ufunc 'tanh'>"),
        (nn.Sequential(nn.ReLU(), nn.Lambda(cr.concat)), r"Sequential\.layers\.1\.function is <function concat"),
        (nn.Dense(2, 2, init=lambda shape, generator: cr.ones(shape)), r"Dense\.init is <function"),
    ],
)
def test_what_cannot_be_written_is_named(net: nn.Module, message: str) -> None:
    with pytest.raises(cr.ArgumentError, match=message):
        describe(net)


def test_too_deep_a_network_is_not_described() -> None:
    net: nn.Module = nn.ReLU()
    for _ in range(80):
        net = nn.Sequential(net)
    with pytest.raises(cr.ArgumentError, match="nested more than 64 levels"):
        describe(net)


def test_whatever_can_be_described_can_be_built() -> None:
    net: nn.Module = nn.ReLU()
    described = []
    for _ in range(80):
        net = nn.Sequential(net)
        try:
            described.append(describe(net))
        except cr.ArgumentError:
            break
    assert json.dumps(describe(build(described[-1]))) == json.dumps(described[-1])


def dense(**arguments: Any) -> dict[str, Any]:
    return {"class": "Dense", "arguments": {"inputs": 2, "outputs": 2} | arguments}


def nested(levels: int, wrap: Any) -> Any:
    value: Any = {"class": "ReLU", "arguments": {}}
    for _ in range(levels):
        value = wrap(value)
    return value


HOSTILE = {
    "nothing": None,
    "a number": 3,
    "a list": [dense()],
    "an empty mapping": {},
    "a mapping": {"mapping": {"a": 1}},
    "an unknown class": {"class": "os.system", "arguments": {"command": "true"}},
    "a class that is no name": {"class": ["Dense"], "arguments": {}},
    "a base class": {"class": "Module", "arguments": {}},
    "something besides class and arguments": {**dense(), "code": "1"},
    "arguments that are a list": {"class": "Dense", "arguments": [2, 2]},
    "missing arguments": {"class": "Dense", "arguments": {}},
    "an unknown argument": dense(__class__="x"),
    "self": {"class": "ReLU", "arguments": {"self": 1}},
    "a string for a number": dense(inputs="2"),
    "a fraction for a number": dense(inputs=2.5),
    "a negative number": dense(inputs=-1),
    "a boolean for a number": dense(inputs=True),
    "a layer for a number": dense(inputs=dense()),
    "a list for a name": dense(activation=["relu"]),
    "a mapping for a name": dense(activation={"mapping": {}}),
    "an unknown initializer": dense(init="__import__"),
    "an initializer with a text": dense(init={"initializer": "normal", "arguments": {"std": "1"}}),
    "an initializer with another shape": dense(init={"initializer": "normal", "arguments": {"shape": [10**12]}}),
    "an initializer with a negative deviation": dense(init={"initializer": "normal", "arguments": {"std": -1}}),
    "a number as generator": dense(generator=3),
    "a huge weight": dense(inputs=10**9, outputs=10**9),
    "a huge number": dense(inputs=10**400),
    "a huge embedding": {"class": "Embedding", "arguments": {"count": 10**12, "width": 1}},
    "a huge norm": {"class": "LayerNorm", "arguments": {"features": [10**6, 10**6]}},
    "a huge batch norm": {"class": "BatchNorm", "arguments": {"features": 10**12}},
    "many large weights": {
        "class": "Sequential",
        "arguments": {"layers": [dense(inputs=4096, outputs=4096) for _ in range(20)]},
    },
    "an endless number": {"class": "Dropout", "arguments": {"p": float("nan")}},
    "layers that are no list": {"class": "Sequential", "arguments": {"layers": {"class": "ReLU", "arguments": {}}}},
    "layers that are numbers": {"class": "Sequential", "arguments": {"layers": [1]}},
    "a function that is no layer's": {"class": "Lambda", "arguments": {"function": {"function": "__getitem__"}}},
    "a function by module": {"class": "Lambda", "arguments": {"function": {"function": "sys.exit"}}},
    "a module not yet made": {"class": "Sequential", "arguments": {"layers": [{"same": 0}]}},
    "a module that never comes": {"same": 7},
    "names that are numbers": {"class": "Dense", "arguments": {1: 2}},
    "deep residuals": nested(100_000, lambda value: {"class": "Residual", "arguments": {"inner": value}}),
    "deep lists": nested(100_000, lambda value: [value]),
    "many parts": {"class": "Sequential", "arguments": {"layers": [None] * 200_000}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_description_is_refused_before_anything_is_allocated(name: str) -> None:
    # The bound is far below the default, so that a failure to keep it is cheap; the sizes above exceed both.
    with pytest.raises(cr.FileFormatError):
        build(HOSTILE[name], most_elements=2**18 if name == "many large weights" else 2**28, blank=True)


def test_the_bound_counts_all_layers_together() -> None:
    pair = {"class": "Sequential", "arguments": {"layers": [dense(), dense()]}}  # 6 elements each
    assert build(pair, most_elements=12)
    with pytest.raises(cr.FileFormatError, match=r"network\.layers\.1: .*more elements than are allowed"):
        build(pair, most_elements=11)
    assert nn.Dense(10, 10).weight.size == 100  # outside, there is no bound


@pytest.mark.parametrize("levels", [20, 60, 84, 85, 127, 128, 255, 256])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: {"class": "Sequential", "arguments": {"layers": [value]}},
        lambda value: {"class": "Residual", "arguments": {"inner": value}},
        lambda value: {"mapping": {"a": value}},
        lambda value: [value],
    ],
)
def test_nesting_is_built_or_refused_at_any_depth(levels: int, wrap: Any) -> None:
    with contextlib.suppress(cr.FileFormatError):
        assert isinstance(build(nested(levels, wrap)), nn.Module)


def test_layers_shared_within_shared_layers_take_no_longer_to_build() -> None:
    value: Any = {"class": "Sequential", "arguments": {"layers": [{"class": "ReLU", "arguments": {}}]}}
    levels = 60  # written out, 2**60 layers
    for level in range(levels):
        inner = {"same": levels - level}  # modules are numbered in the order in which they open
        value = {"class": "Sequential", "arguments": {"layers": [value, inner]}}
    assert len(build(value).named_modules()) == levels + 2


NAMES = st.sampled_from(
    ["class", "arguments", "layers", "inner", "inputs", "outputs", "function", "same", "mapping", "p"]
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*LAYERS, "relu", "he_normal"])
ANYTHING = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
CALLS = st.fixed_dictionaries({"class": st.sampled_from(list(LAYERS)), "arguments": st.dictionaries(NAMES, ANYTHING)})


@settings(max_examples=200, deadline=None)
@given(ANYTHING | CALLS)
def test_any_json_is_built_or_refused(value: Any) -> None:
    with contextlib.suppress(cr.FileFormatError):
        assert isinstance(build(value, most_elements=10_000, blank=True), nn.Module)


def layers_of(width: int) -> st.SearchStrategy[nn.Module]:
    """Random modules from `width` features to `width` features."""
    simple = st.sampled_from(
        [
            lambda: nn.Dense(width, width),
            lambda: nn.Dense(width, width, bias=False, activation="tanh", init="he_normal"),
            lambda: nn.LayerNorm(width),
            lambda: nn.BatchNorm(width),
            lambda: nn.Dropout(0.5),
            lambda: nn.GELU(),
            lambda: nn.Lambda(cr.sin),
        ]
    ).map(lambda make: make())
    return st.recursive(
        simple,
        lambda inner: st.lists(inner, max_size=4).map(lambda found: nn.Sequential(*found)) | inner.map(nn.Residual),
    )


@settings(max_examples=50, deadline=None)
@given(layers_of(3))
def test_any_network_comes_back_from_json_with_the_same_outputs(net: nn.Module) -> None:
    other = build(json.loads(json.dumps(describe(net))), blank=True)
    other.load_arrays(net.arrays())
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)
    assert repr(other) == repr(net)
    np.testing.assert_array_equal(net(x), other(x))
