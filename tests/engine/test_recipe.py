"""Recipes: the next process runs what this one compiled without a stage of the compiler, and shows the same."""

import json
import marshal
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import cache, native, recipe, target
from chainrule.engine.graph import Graph
from chainrule.engine.program import Program
from chainrule.engine.recipe import Recipe, recipe_key
from chainrule.engine.state import State
from chainrule.engine.target import KINDS, host, named
from chainrule.engine.trace import trace


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, not made yet."""
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- In the next process ---

USER = """
import hashlib, pathlib, sys
import numpy as np
import chainrule as cr
from chainrule import nn

cr.random.seed(0)
net = nn.Sequential(nn.Dense(7, 80), nn.ReLU(), nn.Dropout(0.2), nn.Dense(80, 4))
optimizer = cr.optim.Adam(0.01)
numbers = np.random.default_rng(0)
X, y = numbers.normal(size=(200, 7)).astype("f"), numbers.integers(0, 4, 200)
brought = numbers.normal(size=(50, 7)).astype("f")
large = numbers.normal(size=(200, 7)).astype("f")

@cr.compile
def step(x, y):
    loss = cr.losses.cross_entropy(net(x + brought * cr.exp(cr.asarray(brought[:, :1])) + large[:50]), y)
    optimizer.update(cr.backpropagate(loss))
    return loss

table = cr.Parameter(X[:5], name="table")
looked_up = cr.compile(lambda i: cr.take(table, i, axis=0))
found = [step(X[:50], y[:50]).item()]
found.append(step.program(X[:50], y[:50]).loop([X, y], np.arange(200).reshape(4, 50))[0].tolist())
history = cr.fit(net, (X, y), loss="cross_entropy", epochs=2, batch_size=32, progress=False)
found.append(hashlib.sha256(b"".join(each.value.tobytes() for each in net.parameters())).hexdigest())
try:
    looked_up(np.array([1, 7]))
except cr.ShapeError as error:
    found.append(str(error))
looked_up_there = cr.compile(lambda i: cr.take(table, cr.argsort(i) + 4, axis=0))
try:
    looked_up_there(np.array([1, 7]))
except cr.ArgumentError as error:
    found.append(str(error))
try:
    cr.fit(net, (X * 1e30, y), loss="cross_entropy", epochs=1, progress=False, optimizer=cr.optim.SGD(1e9))
except cr.ChainruleError as error:
    found.append(str(error))
print(found)
compiler = {"llvmlite", "chainrule.engine.fuse", "chainrule.engine.loop", "chainrule.engine.stages"}
maps = pathlib.Path("/proc/self/maps")
mapped = {"libllvmlite"} if maps.exists() and "libllvmlite" in maps.read_text() else set()
print(sorted(compiler & {*sys.modules} | mapped))
"""


def process(folder: Path, code: str = USER, *arguments: str, **environment: str) -> list[str]:
    script = folder.parent / "user.py"
    script.write_text(code)
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    return [*run.stdout.splitlines(), *run.stderr.splitlines()]


def test_it_computes_the_same_and_names_the_same_without_the_compiler(folder: Path) -> None:
    cold, warm = process(folder), process(folder, PYTHONHASHSEED="1")
    assert warm[0] == cold[0]
    assert "user.py:22: take: 7 at (1,) is out of range for length 5" in cold[0]
    assert "user.py:31: an index is out of bounds for axis 0 of length 5" in cold[0]
    assert "chainrule.engine.stages" in cold[1]
    if sys.platform == "linux":
        assert "libllvmlite" in cold[1]
    if sys.platform == "linux" and host().name != "neon":
        assert warm[1] == "[]"
    assert process(folder, CHAINRULE_CACHE="off") == cold


def test_what_is_shown_is_the_same(folder: Path) -> None:
    shows = {"CHAINRULE_SHOW": "graph,kernels,memory,llvm"}
    cold = process(folder, **shows)
    assert process(folder, **shows) == cold
    assert any("--- kernels ---" in line for line in cold)


def test_an_error_names_the_line_where_the_code_stands_now(folder: Path) -> None:
    cold, moved = process(folder), process(folder, "\n\n" + USER)
    assert moved[0] == re.sub(r"user.py:(\d+)", lambda found: f"user.py:{int(found[1]) + 2}", cold[0])
    if sys.platform == "linux" and host().name != "neon":
        assert moved[1] == "[]"


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-1], lambda content: content[:-9] + b"x" * 9, lambda _: b""]
)
def test_what_is_damaged_is_made_again(folder: Path, damage) -> None:
    cold = process(folder)
    for entry in folder.iterdir():
        entry.write_bytes(damage(entry.read_bytes()))
    assert process(folder) == cold


# --- In one process ---

X = np.arange(12, dtype="f").reshape(4, 3)
LARGE = np.arange(3000, dtype="f").reshape(1000, 3)


def example(x):
    """Constants that are brought along, large and small, computed ahead, and an index that may be wrong."""
    return cr.take(LARGE + x[0], cr.astype(x[:, 0], cr.int64), axis=0) * cr.exp(cr.asarray(X[1])), cr.sum(x @ X.T)


def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in another process: no machine code is loaded."""
    monkeypatch.setattr(native, "_engines", type(native._engines)())


def test_every_stage_is_there_when_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    cold = Program(trace(example, X))
    expected = [array.tobytes() for array in cold(X)]
    forgotten(monkeypatch)
    warm = Program(trace(example, X))
    assert [array.tobytes() for array in warm(X)] == expected
    assert "_made" not in vars(warm)
    for look in (
        lambda program: str(program.graph),
        lambda program: str(program.kernels),
        lambda program: str(program.memory),
        lambda program: program.module.signature,
        lambda program: program.module.text,
        lambda program: program.llvm_ir,
        lambda program: (program.plan.arena, len(program.plan.constants), len(program.plan.homes)),
        lambda program: [(each.flops, each.bytes) for each in program.profile(X).kernels],
    ):
        assert look(warm) == look(cold)
    for program in (cold, warm):
        with pytest.raises(
            cr.ShapeError, match=r"test_recipe.py:\d+: take: 5000 at \(0,\) is out of range for length 1000"
        ):
            program(X + 5000)


def test_a_recipe_without_its_code_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten(monkeypatch)
    first = Program(trace(example, X))
    expected = [array.tobytes() for array in first(X)]
    (folder / f"{first._recipe.code}.o").unlink()
    forgotten(monkeypatch)
    assert [array.tobytes() for array in Program(trace(example, X))(X)] == expected
    assert (folder / f"{first._recipe.code}.o").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"{}", b'{"code": 1}', b'{"constants": 7}'])
def test_what_is_no_recipe_is_none(content: bytes) -> None:
    cache.store("a" * 64, content)
    assert recipe.load("a" * 64) is None


def test_a_recipe_comes_back_as_it_was() -> None:
    program = Program(trace(example, X))
    made = Recipe.of(program.module, program.traced)
    recipe.store("a" * 64, made)
    found = recipe.load("a" * 64)
    assert json.dumps(found) == json.dumps(made)
    for read, own in zip(found.arrays(program.traced), program.plan.constants, strict=True):
        np.testing.assert_array_equal(read, own.value, strict=True)
    assert {type(each) for each in found.constants} >= {int}


def test_what_is_only_looked_at_leaves_no_recipe() -> None:
    program = Program(trace(example, X))
    print(program.kernels)
    key = recipe.recipe_key(program.traced, host())
    assert recipe.load(key) is None
    program(X)
    assert recipe.load(key) is not None


# --- The key ---

A, B = np.ones((2, 3), "f"), np.full((2, 3), 2, "f")
SWAPPED = [cr.State(np.zeros((2, 3), "f"), "s"), cr.State(np.zeros((2, 3), "f"), "s")]


def assigning(first: State, second: State):
    def step(x):
        read = first + 2 * second
        second.assign(read)
        return read + x

    return step


def key(function, *arguments, target_name: str | None = None) -> str | None:
    return recipe_key(trace(function, *arguments), named(target_name) if target_name else host())


def test_equal_traces_have_one_key() -> None:
    assert key(example, X) == key(example, X.copy())
    assert key(lambda x: x + A, A) == key(lambda x: x + A.copy(), B)
    assert key(assigning(*SWAPPED), A) == key(assigning(*SWAPPED), A)


OTHERS = {
    "an op": lambda x: x - A,
    "a constant": lambda x: x + B,
    "one element of a large constant": lambda x: x + (LARGE + (np.arange(3000) == 2999).reshape(1000, 3))[998:],
    "the sign of a zero": lambda x: x * np.float32(-0.0),
    "a zero": lambda x: x * np.float32(0.0),
    "a data type": lambda x: x + A.astype(np.float64),
    "the order of results": lambda x: (x + A, x),
    "other results": lambda x: (x, x + A),
    "an attribute": lambda x: cr.sum(x, axis=0),
    "another attribute": lambda x: cr.sum(x, axis=1),
    "inputs": lambda x: x - x * A,
    "inputs the other way round": lambda x: x * A - x,
    "a state that is read": lambda x: x + SWAPPED[0],
    "a state that is assigned": assigning(*SWAPPED),
    "the other one": assigning(SWAPPED[0], SWAPPED[0]),
    "two constants": lambda x: x + LARGE[:2] + LARGE[:2].copy(),
}


def test_what_differs_has_another_key() -> None:
    keys = [key(lambda x: x + A, A), key(lambda x: x + A, np.ones((1, 3), "f")), key(lambda x: x + A, A.astype("d"))]
    keys += [key(function, A) for function in OTHERS.values()]
    keys += [key(lambda x: x + A, A, target_name=name) for name in {*KINDS} - {host().name}]
    assert None not in keys
    assert len({*keys}) == len(keys)


def test_where_a_gradient_comes_from_counts() -> None:
    """It names the line of its forward node, which an equal graph may not have."""
    traced = trace(lambda x: x * 2 + 1, A)
    moved = replace(traced, graph=Graph.of([replace(node) for node in traced.graph.outputs], traced.graph.inputs))
    assert recipe_key(moved, host()) == recipe_key(traced, host())
    last = replace(traced.graph.outputs[0], provenance=traced.graph.outputs[0].inputs[0].provenance)
    shared = replace(traced, graph=Graph.of([last], traced.graph.inputs))
    assert recipe_key(shared, host()) != recipe_key(traced, host())


def test_one_element_of_a_large_constant_counts() -> None:
    other = LARGE.copy()
    other[999, 2] += 1
    assert key(lambda x: cr.sum(x) + LARGE, A) != key(lambda x: cr.sum(x) + other, A)


def test_a_number_everywhere_is_not_written_out() -> None:
    everywhere = np.broadcast_to(np.float32(1), (2**40, 2, 3))
    assert recipe._digest(everywhere) == recipe._digest(np.broadcast_to(np.float32(1), everywhere.shape))
    assert recipe._digest(everywhere) != recipe._digest(np.broadcast_to(np.float32(2), everywhere.shape))


@pytest.mark.parametrize("place", ["_SOURCES", "FORMAT", "versions", "_NUMPY"])
def test_sources_and_versions_are_part_of_the_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(example, X)
    owner = {"_SOURCES": native, "FORMAT": cache, "versions": native, "_NUMPY": recipe}[place]
    monkeypatch.setattr(owner, place, (lambda: "another") if place == "versions" else "another")
    assert key(example, X) != before


def test_what_was_made_of_sources_that_changed_meanwhile_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host()
    before = set(os.listdir(folder)) if folder.exists() else set()
    monkeypatch.setattr(native, "_sources", lambda: "edited")
    forgotten(monkeypatch)
    Program(trace(example, X))(X)
    assert (set(os.listdir(folder)) if folder.exists() else set()) == before


def test_an_attribute_that_cannot_be_written_down_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = trace(lambda x: cr.sum(x, axis=0), X)
    monkeypatch.setattr(recipe, "_written", lambda value: recipe._UNKNOWN)
    assert recipe_key(traced, host()) is None
    assert Program(traced)(X)[0].tolist() == X.sum(axis=0).tolist()


# --- The processor ---


def test_what_llvm_says_of_the_processor_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_processor", lambda: "this one")
    asked = target._names()
    monkeypatch.setattr(target, "_asked", lambda: ("sse2", "t", "c", "f"))
    assert target._names() == asked
    monkeypatch.setattr(target, "_processor", lambda: "another")
    assert target._names() == ("sse2", "t", "c", "f")
    monkeypatch.setattr(target, "_processor", lambda: None)  # nothing tells which it is
    before = sorted(os.listdir(folder))
    assert target._names() == ("sse2", "t", "c", "f")
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'["vax", "t", "c", "f"]', b"[1, 2]", b"7"])
def test_nonsense_about_the_processor_is_not_believed(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "load", lambda key: content)
    assert target._names() == target._asked()


# --- When a process is forked ---

FORKING = """
import os, sys, threading
import numpy as np
import chainrule as cr

x, slow, begins = np.ones(3, "f"), sys.argv[1], sys.argv[2] == "begins"
if not begins:
    cr.compile(lambda x: x + 1)(x)
loading, forked = threading.Event(), threading.Event()

class Slow:
    def find_spec(name, path, target=None):
        if name == slow:
            loading.set()
            forked.wait(0.5)  # nobody should fork before the module is loaded

if len(sys.argv) > 3:
    assert slow not in sys.modules
    sys.meta_path.insert(0, Slow)
    thread = threading.Thread(target=cr.compile(lambda x: x * 2), args=(x,))
    thread.start()
    loading.wait()
    child = os.fork()
    if not child:
        threading.Timer(20, os._exit, [1]).start()  # it must not wait for ever
        print(cr.compile(lambda x: x - 3)(x).tolist(), flush=True)
        os._exit(0)
    forked.set()
    thread.join()
    print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize(
    ("slow", "when"),
    [
        ("chainrule.engine.program", "begins"),
        ("chainrule.engine.run", "begins"),
        ("chainrule.engine.fuse", "goes on"),  # by the stages, which are loaded for the first step that is not kept
    ],
)
def test_a_child_forked_while_the_compiler_is_being_loaded_compiles(folder: Path, slow: str, when: str) -> None:
    process(folder, FORKING, slow, when)
    assert process(folder, FORKING, slow, when, "again") == ["[-2.0, -2.0, -2.0]", "0"]


@pytest.mark.parametrize("value", [object(), (1, object()), (1, (2, [3])), np.zeros(2), 1j, {1: 2}])
def test_only_plain_data_can_be_written_down(value: object) -> None:
    assert recipe._written(value) is recipe._UNKNOWN


def test_attributes_of_different_types_have_different_keys() -> None:
    """1, 1.0 and True are equal in Python."""
    values = [1, 1.0, True, "1", np.int64(1), np.float32(1), (1,), None, -0.0, 0.0]
    assert len({marshal.dumps(recipe._written(value), recipe._PLAIN) for value in values}) == len(values)


def test_equal_data_is_marshalled_alike_whoever_refers_to_it() -> None:
    name, number = sys.intern("axes"), 10**9
    again, other = "".join(["ax", "es"]), int("1000000000")
    assert again is not name
    assert other is not number
    shared, apart = [(name, number), (name, number)], [(again, other), (name, number)]
    assert marshal.dumps(shared, recipe._PLAIN) == marshal.dumps(apart, recipe._PLAIN)
