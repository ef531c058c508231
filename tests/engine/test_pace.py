"""A program finds out by itself whether its team is worth its barriers."""

from chainrule.engine.pace import Pace


def run(pace: Pace, count: int, seconds: dict[bool, float]) -> list[bool]:
    """The kinds of `count` runs on a machine where a step takes so long with the team (False) and alone (True)."""
    made = []
    for _ in range(count):
        made.append(pace.alone)
        pace.note(made[-1], seconds[made[-1]])
    return made


def test_both_are_tried_and_the_quicker_stays() -> None:
    made = run(Pace(), 30, {False: 1.0, True: 2.0})
    assert made[:4] == [False, False, True, True]
    assert not any(made[4:])


def test_the_other_is_tried_again_now_and_then() -> None:
    made = run(Pace(), 200, {False: 2.0, True: 1.0})
    assert 3 <= made[4:].count(False) <= 8


def test_a_machine_that_becomes_busy_is_noticed() -> None:
    pace = Pace()
    run(pace, 40, {False: 1.0, True: 2.0})
    busy = run(pace, 40, {False: 5.0, True: 2.0})
    assert busy[-20:].count(True) >= 18


def test_one_slow_run_changes_nothing() -> None:
    pace = Pace()
    run(pace, 10, {False: 1.0, True: 2.0})
    pace.note(False, 3.0)
    assert pace.alone is False
