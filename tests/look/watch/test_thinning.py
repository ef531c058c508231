"""What was watched stays in bounded room and covers the whole run."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.look.watching.thinning import Thinned
from chainrule.train.watched import Glance, Watched
from look.watch.runs import OPTIMIZERS, STEPS, plain, trained


def glance(step: int) -> Glance:
    return Glance(step, 1, 0.5, 0.1, {})


@given(steps=st.integers(1, 3000), every=st.integers(1, 12), most=st.integers(4, 40))
def test_it_is_bounded_even_and_covers_the_run(steps: int, every: int, most: int) -> None:
    seen = Thinned(Watched(), every, most)
    watched = range(1, steps + 1, every)
    for step in watched:
        seen.take(glance(step))
    assert seen.steps[0] == 1
    assert min(most // 2, len(watched)) <= len(seen) <= most
    distances = {later - step for step, later in pairwise(seen.steps)}
    assert distances <= {every * seen.stride}
    assert steps - seen.steps[-1] < every * seen.stride
    if len(watched) <= most:
        assert seen.steps == list(watched)


@given(steps=st.integers(2, 800), stop=st.integers(1, 800), every=st.integers(1, 12), most=st.integers(4, 40))
def test_a_run_that_goes_on_keeps_the_same_steps(steps: int, stop: int, every: int, most: int) -> None:
    whole = Thinned(Watched(), every, most)
    parts = Thinned(Watched(), every, most)
    for step in range(1, steps + 1, every):
        whole.take(glance(step))
        if step > stop and step - every <= stop:
            parts = Thinned(Watched(parts.glances), every, most)
        parts.take(glance(step))
    assert parts.steps == whole.steps
    assert parts.stride == whole.stride


@given(gaps=st.lists(st.integers(1, 90), min_size=1, max_size=200), most=st.integers(4, 12))
def test_steps_that_were_left_out_do_not_break_the_bound(gaps: list[int], most: int) -> None:
    seen = Thinned(Watched(), 10, most)
    for step in np.cumsum(gaps):
        seen.take(glance(int(step)))
        assert len(seen) <= most
    assert all(later - step >= 10 * seen.stride for step, later in pairwise(seen.steps))


def test_a_watched_run_keeps_at_most_so_many() -> None:
    short = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=1, most=4))[2].watched
    assert short.steps == [1, 5, 9, 13]
    whole = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=1, most=None))[2].watched
    assert whole.steps == list(range(1, 3 * STEPS + 1))
    for figure in ("gradient_norm", "signal_to_noise"):  # as they were, from all the steps between
        expected = whole.column(figure, "2")[[0, 4, 8, 12]]
        assert np.array_equal(short.column(figure, "2"), expected, equal_nan=True)


def test_an_interrupted_run_goes_on_with_the_same_steps(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=1, most=6), cr.Checkpoint(path), epochs=2)
    resumed = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=1, most=6), epochs=4, resume=path)[2]
    whole = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=1, most=6), epochs=4)[2]
    assert resumed.watched.steps == whole.watched.steps == [1, 5, 9, 13, 17]


@pytest.mark.parametrize("wrong", [0, 3, 2.5, "10", True])
def test_the_room_is_a_whole_number(wrong: object) -> None:
    with pytest.raises(cr.ArgumentError, match="Watch: most must be a whole number from 4, but is"):
        cr.look.Watch(most=wrong)
