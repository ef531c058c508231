"""compile: what makes a new program and what does not, what can go in and come out, and what is refused."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.compile import KEPT, RecompilationWarning

X = np.arange(3, dtype="f")


class Counted:
    """A function that counts how often its Python code runs, which is once for each program."""

    def __init__(self, f) -> None:
        self.f, self.runs = f, 0

    def __call__(self, *arguments, **named):
        self.runs += 1
        return self.f(*arguments, **named)


# --- Signatures ---


def test_a_function_is_traced_once_for_each_shape_and_data_type() -> None:
    counted = Counted(lambda x: x + x)
    f = cr.compile(counted)
    for x in (X, X + 1, cr.asarray(X), X.astype(np.float64), np.zeros((3, 1), "f"), X, np.zeros((3, 1), "f")):
        found = f(x)
        np.testing.assert_array_equal(found, np.asarray(x) * 2)
        assert found.dtype == np.asarray(x).dtype
    assert counted.runs == 3


def test_what_is_no_tensor_counts_by_its_value() -> None:
    counted = Counted(lambda x, power, *, scale=1.0, how="plain": (x**power * scale, how))
    f = cr.compile(counted)
    assert f(X, 2)[0].tolist() == [0.0, 1.0, 4.0]
    assert f(X, 3)[0].tolist() == [0.0, 1.0, 8.0]
    assert f(X, 2, scale=2.0)[0].tolist() == [0.0, 2.0, 8.0]
    assert f(X, 2, how="other")[1] == "other"
    assert counted.runs == 4
    assert f(X, 2)[0].tolist() == [0.0, 1.0, 4.0]
    assert counted.runs == 4


@pytest.mark.parametrize(("first", "second"), [(1, True), (1, 1.0), (0.0, -0.0), ("1", 1), (None, 0)])
def test_values_that_compare_equal_but_are_not_the_same_are_told_apart(first: object, second: object) -> None:
    f = cr.compile(lambda x, value: (x, value))
    for value in (first, second, first):
        found = f(X, value)[1]
        assert (type(found), repr(found)) == (type(value), repr(value))


def test_a_number_of_python_is_fixed_and_a_scalar_of_numpy_is_a_tensor() -> None:
    counted = Counted(lambda x, factor: x * factor)
    f = cr.compile(counted)
    assert [f(X, np.float32(n))[1].item() for n in (2, 3, 4)] == [2.0, 3.0, 4.0]
    assert counted.runs == 1
    assert f(X, 5.0)[1].item() == 5.0
    assert counted.runs == 2


def test_structures_of_arguments_and_results_keep_their_form() -> None:
    f = cr.compile(
        lambda batch, options: {"sum": batch["x"] + batch["y"][0], "more": [batch["y"][1] * 2, (options, None)]}
    )
    found = f({"x": X, "y": (X, X)}, ("a", 3))
    assert found["sum"].tolist() == [0.0, 2.0, 4.0]
    assert found["more"][0].tolist() == [0.0, 2.0, 4.0]
    assert found["more"][1] == (("a", 3), None)
    assert (type(found), type(found["more"]), type(found["more"][1])) == (dict, list, tuple)


def test_the_order_of_named_arguments_does_not_matter_for_what_is_computed() -> None:
    f = cr.compile(lambda *, a, b: a - b)
    assert f(a=X, b=X * 0).tolist() == f(b=X * 0, a=X).tolist() == X.tolist()


def test_a_result_may_be_an_argument_a_constant_or_the_same_twice() -> None:
    state = cr.State(X, "state")
    f = cr.compile(lambda x: (x, x, cr.asarray([1.0, 2.0]), state, cr.reshape(x, (3, 1)), x + 1, 7))
    found = f(X)
    assert [part.tolist() for part in found[:4]] == [X.tolist(), X.tolist(), [1.0, 2.0], X.tolist()]
    assert found[4].shape == (3, 1)
    assert found[6] == 7
    arrays = [np.asarray(part) for part in found[:5]]
    assert not any(np.shares_memory(one, X) for one in arrays)
    assert not any(np.shares_memory(one, other) for i, one in enumerate(arrays) for other in arrays[:i])


def test_a_function_without_arguments_or_results_compiles() -> None:
    count = cr.State(np.zeros((), "f"), "count")
    f = cr.compile(lambda: count.assign(count + 1))
    assert f() is None
    f()
    assert count.item() == 2.0


@cr.compile
def twice(x: cr.Tensor) -> cr.Tensor:
    return x * 2


def slow(x: cr.Tensor) -> cr.Tensor:
    return x * 3


class WithMethod(nn.Module):
    """A network that compiles a method of its own."""

    def __init__(self) -> None:
        self.layer = nn.Dense(3, 1)
        self.run = cr.compile(self.forward)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        return self.layer(x)


def test_it_is_copied_and_pickled_as_any_function_also_after_a_call() -> None:
    twice(X)
    assert copy.copy(twice) is copy.deepcopy(twice) is pickle.loads(pickle.dumps(twice)) is twice
    for one in (fast := cr.compile(slow), copy.copy(fast), copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert one(X).tolist() == (X * 3).tolist()
    holder = copy.deepcopy({"step": cr.compile(lambda x: x + 1), "x": X})
    assert holder["step"](holder["x"]).tolist() == (X + 1).tolist()
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(holder)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_compiled_method_goes_with_the_copy_of_its_object(copied) -> None:
    net = WithMethod()
    before = net.run(X[None]).tolist()
    other = copied(net)
    assert other.run(X[None]).tolist() == before
    other.layer.weight.assign(other.layer.weight + 1.0)
    assert other.run(X[None]).tolist() == other.forward(cr.asarray(X[None])).tolist() != before
    assert net.run(X[None]).tolist() == before


def test_a_state_is_itself_whatever_its_value() -> None:
    counted = Counted(lambda parameter, x: parameter * x)
    f = cr.compile(counted)
    one, other = cr.Parameter(X, "one"), cr.Parameter(X + 10, "other")
    assert f(one, X).tolist() == [0.0, 1.0, 4.0]
    one.assign(X * 0)
    assert f(one, X).tolist() == [0.0, 0.0, 0.0]
    assert counted.runs == 1
    assert f(other, X).tolist() == [0.0, 11.0, 24.0]
    assert counted.runs == 2


def test_it_decorates_methods_and_keeps_name_and_docstring() -> None:
    class Model:
        def __init__(self, scale: float) -> None:
            self.scale = cr.Parameter(np.float32(scale), "scale")

        @cr.compile
        def forward(self, x):
            """x, scaled."""
            return x * self.scale

        @cr.compile()
        def twice(self, x):
            return self.forward(self.forward(x))

    two, three = Model(2), Model(3)
    assert (two.forward(X).tolist(), three.forward(X).tolist()) == ([0.0, 2.0, 4.0], [0.0, 3.0, 6.0])
    assert three.twice(X).tolist() == [0.0, 9.0, 18.0]
    assert (Model.forward.__name__, Model.forward.__doc__) == ("forward", "x, scaled.")
    (tripled,) = three.forward.program(X)(X)
    assert tripled.tolist() == [0.0, 3.0, 6.0]


def test_an_array_that_is_returned_is_refused_with_what_to_do() -> None:
    with pytest.raises(cr.TraceError, match=r"can neither take nor return it.*cr\.asarray\(array\) makes a tensor"):
        cr.compile(lambda x: np.ones(3))(X)


def test_a_compiled_function_inside_another_becomes_a_part_of_it() -> None:
    inner = cr.compile(lambda x: cr.sum(x**2))
    outer = cr.compile(lambda x: cr.grad(inner)(x) + inner(x))
    assert outer(X).tolist() == [5.0, 7.0, 9.0]


def test_gradients_pass_through_a_compiled_function_only_inside() -> None:
    weight = cr.Parameter(X, "weight")
    f = cr.compile(lambda x: cr.backpropagate(cr.sum(weight * x))[weight])
    assert f(X + 1).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(cr.GradientError):
        cr.backpropagate(cr.sum(cr.compile(lambda x: weight * x)(X)))


# --- Compiling again and again ---


def test_a_warning_names_the_argument_whose_shape_keeps_changing() -> None:
    f = cr.compile(lambda x, y: x + cr.sum(y))
    for length in range(1, 5):
        f(X, np.zeros(length, "f"))
    with pytest.warns(
        RecompilationWarning, match=r"compiled 5 times.*argument y went from float32\[4\] to float32\[5\]"
    ):
        f(X, np.zeros(5, "f"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(X, np.zeros(6, "f"))  # said once


def test_a_warning_names_the_value_that_keeps_changing() -> None:
    f = cr.compile(lambda x, rate: x * rate)
    for number in range(1, 5):
        f(X, number / 10)
    with pytest.warns(RecompilationWarning, match=r"compiled 5 times.*argument rate became 0\.5"):
        f(X, 0.5)


def test_a_warning_names_a_part_of_an_argument_one_of_many_and_one_that_is_missing() -> None:
    def last_of(calls: list[tuple], f) -> str:
        compiled = cr.compile(f)
        for call in calls[:-1]:
            compiled(*call)
        with pytest.warns(RecompilationWarning) as said:
            compiled(*calls[-1])
        return str(said[0].message)

    def of_any(*parts):
        total = sum(map(cr.sum, parts))
        return total + 1

    lengths = [np.zeros(length, "f") for length in range(1, 6)]
    assert "argument pair.1 went from float32[4]" in last_of(
        [((X, x),) for x in lengths], lambda pair: pair[0] + pair[1][0]
    )
    assert "argument argument1 went from float32[4]" in last_of([(X, x) for x in lengths], of_any)
    assert "argument argument4 became something of another form" in last_of([(X,) * n for n in range(1, 6)], of_any)
    assert "fewer arguments were given" in last_of([(X,) * n for n in range(5, 0, -1)], of_any)


def test_a_warning_says_that_a_mode_changed() -> None:
    weights = [cr.Parameter(X) for _ in range(3)]
    f = cr.compile(lambda x: cr.sum(sum(weights) * x))

    def call(number: int) -> None:
        for place, weight in enumerate(weights):
            weight.trainable = bool(number >> place & 1)
        f(X)

    for number in range(4):
        call(number)
    with pytest.warns(RecompilationWarning, match=r"a mode \(train or eval, frozen or not\) changed"):
        call(4)


def test_training_and_evaluation_are_counted_apart() -> None:
    """Each with full, smaller and last batches is what an ordinary run has; the fifth for one of them is too many."""
    net = nn.Sequential(nn.Dense(3, 2), nn.Dropout(0.5))
    f = cr.compile(lambda x: net(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (8, 5, 4, 3):
            for mode in (net.train, net.eval):
                mode()
                f(np.ones((rows, 3), "f"))
    net.train()
    with pytest.warns(RecompilationWarning, match=r"compiled 5 times.*argument x went from float32\[3, 3\] to"):
        f(np.ones((2, 3), "f"))


def test_threads_that_call_with_many_signatures_get_their_results() -> None:
    """Programs are made, used and forgotten by several threads at once."""
    f = cr.compile(cr.sum)
    wrong: list[object] = []

    def work(seed: int) -> None:
        for length in np.random.default_rng(seed).integers(1, 2 * KEPT, 40):
            try:
                found = f(np.ones(length, "f")).item()
            except Exception as error:
                wrong.append(error)
            else:
                if found != length:
                    wrong.append(found)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecompilationWarning)
            threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def test_so_many_programs_are_kept_and_the_one_used_longest_ago_goes() -> None:
    counted = Counted(lambda x, number: x + number)
    f = cr.compile(counted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecompilationWarning)
        for number in range(KEPT):
            f(X, number)
    f(X, 0)
    f(X, KEPT)  # the program for 1 goes
    assert counted.runs == KEPT + 1
    f(X, 0)
    assert counted.runs == KEPT + 1
    f(X, 1)
    assert counted.runs == KEPT + 2


# --- What is refused ---


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x if x[0] > 0 else -x, r"test_compile.py:\d+.*cr\.where"),
        (lambda x: x * float(cr.sum(x)), r"test_compile.py:\d+"),
        (lambda x: cr.asarray(np.asarray(x) + 1), r"test_compile.py:\d+"),
        (lambda x: [x for _ in range(int(x[0]))], r"test_compile.py:\d+"),
        (lambda x: x[x > 1], r"x\[mask\] needs .* test_compile.py:\d+.*depend on the data: use cr\.where"),
        (lambda x: cr.nonzero(x), r"cr.nonzero needs .* test_compile.py:\d+.*depend on the data.* x != 0"),
        (lambda x: cr.unique_values(x), r"cr.unique_\* needs .* test_compile.py:\d+.*cr.one_hot"),
        (lambda x: cr.repeat(x, cr.astype(x, cr.int64)), r"cr.repeat needs .* test_compile.py:\d+"),
        (lambda x: np.log(x), r"np.log needs .* test_compile.py:\d+.* Write cr\.log, or compute it outside"),
        (lambda x: np.arctan2(X, x), r"np.arctan2 needs .* test_compile.py:\d+.* Write cr\.atan2"),
        (lambda x: np.add.reduce(x), r"np.add.reduce needs .* test_compile.py:\d+.* functions of chainrule"),
        (lambda x: np.add(x, 1, out=X.copy()), r"np.add needs .* test_compile.py:\d+.* no out="),
        (lambda x: np.max(x), r"np.max needs .* test_compile.py:\d+.* Write cr\.max"),
        (lambda x: np.stack([x, x]), r"np.stack needs .* test_compile.py:\d+.* Write cr\.stack"),
        (lambda x: np.concatenate([x, x]), r"np.concatenate needs .* test_compile.py:\d+.* Write cr\.concat,"),
        (lambda x: np.linalg.norm(x), r"np.linalg.norm needs .* test_compile.py:\d+.* functions of chainrule"),
        (lambda x: np.array_equal(x, x), r"np.array_equal needs .* test_compile.py:\d+"),
        (lambda x: np.testing.assert_allclose(x, x), r"a number is needed at test_compile.py:\d+"),
    ],
)
def test_what_needs_numbers_while_there_are_only_symbols_names_the_line(f, message: str) -> None:
    with pytest.raises(cr.TraceError, match=message):
        cr.compile(f)(X)


@pytest.mark.parametrize(
    ("result", "kind"), [(object(), "object"), (X, "ndarray"), ({"a": {1, 2}}, "set"), (np.float32(1), "float32")]
)
def test_a_result_that_is_no_tensor_is_refused(result: object, kind: str) -> None:
    with pytest.raises(cr.TraceError, match=kind):
        cr.compile(lambda x: (x, result))(X)


def test_an_argument_that_cannot_be_compared_is_refused() -> None:
    with pytest.raises(cr.TraceError, match="a bytearray can be neither computed with nor compared"):
        cr.compile(lambda x, other: x)(X, bytearray(3))


def test_an_error_of_the_function_itself_comes_through_and_the_next_call_works() -> None:
    def f(x, bad):
        if bad:
            raise KeyError("mine")
        return x @ x

    compiled = cr.compile(f)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            compiled(X, True)
        with pytest.raises(cr.ShapeError):
            compiled(np.zeros((2, 3), "f"), False)
    assert compiled(X, False).item() == 5.0


def test_a_failed_trace_assigns_nothing() -> None:
    state = cr.State(X, "state")

    def f(x):
        state.assign(x)
        return x if x[0] > 0 else -x

    with pytest.raises(cr.TraceError):
        cr.compile(f)(X + 5)
    assert state.tolist() == X.tolist()
    state.assign(X + 1)
    assert state.tolist() == [1.0, 2.0, 3.0]


def test_a_signature_that_is_called_all_the_time_is_not_forgotten() -> None:
    traced: list[tuple[int, ...]] = []

    @cr.compile
    def f(x):
        traced.append(x.shape)
        return x + 1

    often = np.zeros(3, "f")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cr.RecompilationWarning)  # that it is compiled often is what is tested
        for length in range(10, 10 + 2 * KEPT):
            f(often)
            f(often)
            f(np.zeros(length, "f"))
    assert traced.count((3,)) == 1


def test_a_compiled_function_can_be_differentiated() -> None:
    """As within a trace, the function itself runs where a gradient is wanted."""
    w = cr.Parameter(np.arange(4.0, dtype="f"))
    f = cr.compile(lambda x: cr.sum((w * x) ** 2))
    x = np.ones(4, "f")
    f(x)
    np.testing.assert_array_equal(cr.grad(f)(x), [0.0, 2.0, 8.0, 18.0])
    np.testing.assert_array_equal(cr.jacobian(cr.compile(lambda x: x * x))(x), 2 * np.eye(4))
    value, back = cr.vjp(f, x)
    assert value.item() == 14.0
    np.testing.assert_array_equal(back(1.0)[0], [0.0, 2.0, 8.0, 18.0])


def test_a_call_from_within_a_call_is_refused_and_does_not_hang() -> None:
    f = cr.compile(lambda x: x + 1)
    x = np.zeros(3, "f")
    f(x)
    run = f.program(x).ready()
    with run.lock, pytest.raises(cr.ChainruleError, match="signal handler"):
        f(x)
    np.testing.assert_array_equal(f(x), x + 1)


# --- A gradient through a result, which does not remember how it was made ---


def weights() -> tuple[cr.Parameter, cr.Parameter]:
    return cr.Parameter([1.0, 2.0], name="inner"), cr.Parameter([3.0, 1.0], name="outer")


MIXED = {
    "a term": lambda result, w, v: cr.sum(v * v) + result,
    "behind other ops": lambda result, w, v: cr.sum(v * v) * (1.0 + cr.exp(0.5 * cr.astype(result, cr.float64))),
    "nothing else": lambda result, w, v: result,
    "beside its own parameter": lambda result, w, v: cr.sum(w * w) + result,
}


@pytest.mark.parametrize("name", MIXED)
def test_a_gradient_of_which_a_part_would_be_missing_is_refused(name: str) -> None:
    w, v = weights()
    inner = cr.compile(lambda x: cr.sum(w * x))
    loss = MIXED[name](inner(cr.asarray([1.0, 1.0])), w, v)
    with pytest.raises(cr.GradientError, match=r'compiled function "<lambda>" \(test_compile.*which reads inner'):
        cr.backpropagate(loss)
    with pytest.raises(cr.GradientError, match=r"cr.stop_gradient\(result\)"):
        cr.backpropagate(loss, wrt=[w])


def test_a_gradient_that_needs_nothing_of_the_result_is_that_of_the_function_as_it_stands() -> None:
    w, v = weights()

    def plain(x):
        return cr.sum(w * x)

    x, compiled = cr.asarray([1.0, 1.0]), cr.compile(plain)
    whole = cr.backpropagate(cr.sum(v * v) * plain(x))[v].tolist()
    assert cr.backpropagate(cr.sum(v * v) * compiled(x), wrt=[v])[0].tolist() == whole
    assert cr.backpropagate(cr.sum(v * v) * cr.stop_gradient(compiled(x)))[v].tolist() == whole
    with cr.no_grad():
        kept = compiled(x)
    assert cr.backpropagate(cr.sum(v * v) * kept)[v].tolist() == whole
    w.trainable = False
    assert cr.backpropagate(cr.sum(v * v) * compiled(x))[v].tolist() == whole


def test_only_what_carries_a_gradient_is_asked_about() -> None:
    w, v = weights()

    @cr.compile
    def several(x):
        return cr.stop_gradient(w) * x, 2 * x, cr.argmax(w * x), {"on": w * x}

    stopped, doubled, best, rest = several(cr.asarray([1.0, 1.0]))
    masked = cr.where(rest["on"] > 0, v, 0.0)  # a gradient would not flow through the comparison either
    loss = cr.sum(v * stopped * doubled * cr.astype(best, cr.float32) + masked)
    assert cr.backpropagate(loss)[v].tolist() == [3.0, 5.0]
    with pytest.raises(cr.GradientError, match="several"):
        cr.backpropagate(cr.sum(v * rest["on"]))


def test_a_sum_of_results_remembers_no_history() -> None:
    w, _ = weights()
    step = cr.compile(lambda x: cr.sum(w * x))
    total = cr.zeros(())
    for _ in range(20):
        total = total + step(X[:2])
    assert total.node.inputs == ()
    assert len(total.node.owner.results) == 1
    with pytest.raises(cr.GradientError, match="inner"):
        cr.backpropagate(total)


def test_a_result_in_a_trace_is_found_as_well() -> None:
    w, v = weights()
    result = cr.compile(lambda x: cr.sum(w * x))(X[:2])

    @cr.compile
    def outer(x):
        return cr.backpropagate(cr.sum(v * x) * result)[v]

    with pytest.raises(cr.GradientError, match="which reads inner"):
        outer(X[:2])
