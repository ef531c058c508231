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
    assert made[:8] == [False, True] * 4
    assert made[8:].count(True) == 3  # one trial


def test_the_other_is_tried_again_now_and_then() -> None:
    pace = Pace()
    made = run(pace, 200, {False: 2.0, True: 1.0})
    assert 3 <= made[8:].count(False) <= 9  # soon at first, as the first decision rests on few runs
    later = run(pace, 10_000, {False: 2.0, True: 1.0})
    assert 3 <= later.count(False) <= 200  # a fiftieth of the time


def test_a_trial_that_costs_much_is_repeated_rarely() -> None:
    made = run(Pace(), 100_000, {False: 100.0, True: 1.0})
    assert 10 <= made[8:].count(False) <= 60  # the time of a trial is a fiftieth of that between two


def test_the_first_run_of_a_trial_may_be_slow() -> None:
    """A worker that was not asked for long has to wake up."""
    pace = Pace()
    run(pace, 30, {False: 5.0, True: 2.0})
    made, asleep = [], True
    for _ in range(800):
        made.append(pace.alone)
        pace.note(pace.alone, 2.0 if pace.alone else (4.0 if asleep else 1.0))
        asleep = pace.alone
    assert made[-20:] == [False] * 20


def test_a_machine_that_becomes_busy_is_noticed() -> None:
    pace = Pace()
    run(pace, 40, {False: 1.0, True: 2.0})
    busy = run(pace, 40, {False: 5.0, True: 2.0})
    assert busy[-20:].count(True) >= 17  # but for a trial


def test_one_slow_run_changes_nothing() -> None:
    pace = Pace()
    run(pace, 20, {False: 1.0, True: 2.0})
    pace.note(False, 3.0)
    assert pace.alone is False


def test_one_long_run_that_is_disturbed_changes_nothing() -> None:
    """Such as while another program has the core for a moment."""
    pace = Pace()
    run(pace, 40, {False: 10e-3, True: 14e-3})
    made = []
    for number in range(1000):
        made.append(pace.alone)
        pace.note(pace.alone, (14e-3 if pace.alone else 10e-3) * (4 if number % 50 == 0 else 1), 100)
    assert made.count(True) < 50  # trials, and hardly more


def test_a_trial_that_was_disturbed_is_soon_repeated() -> None:
    """It looks as if the team were very slow; so it is not believed at once."""
    pace = Pace()
    run(pace, 8, {False: 30e-3, True: 24e-3})
    disturbed = run(pace, 6, {False: 300e-3, True: 24e-3})
    assert disturbed.count(False) == 1
    made = run(pace, 100, {False: 14e-3, True: 24e-3})
    assert made[70:].count(True) <= 3  # a trial


def test_a_beginning_that_was_disturbed_all_the_time_is_soon_forgotten() -> None:
    pace = Pace()
    run(pace, 8, {False: 30e-3, True: 24e-3})
    made = run(pace, 20, {False: 14e-3, True: 24e-3})
    assert made[0] is True
    assert made[8:].count(True) <= 3  # a trial


def test_after_a_moment_of_disturbance_the_team_is_soon_back() -> None:
    """However long the trials of one thread had been put off by then."""
    pace, seconds = Pace(), {False: 14e-3, True: 24e-3}
    run(pace, 2000, seconds)
    disturbed = run(pace, 6, {False: 80e-3, True: 24e-3})
    assert disturbed[-1] is True
    made = run(pace, 60, seconds)
    assert made[20:].count(True) <= 3  # a trial


def test_a_disturbed_beginning_decides_nothing() -> None:
    pace = Pace()
    for number in range(8):  # the team is kept away in its first three runs
        pace.note(pace.alone, 2.0 if pace.alone else (9.0 if number < 6 else 1.0))
    assert pace.alone is False


def test_short_runs_that_are_disturbed_now_and_then_stay_with_the_team() -> None:
    pace = Pace()
    run(pace, 12, {False: 50e-6, True: 60e-6})
    made = []
    for number in range(1000):
        made.append(pace.alone)
        pace.note(pace.alone, (60e-6 if pace.alone else 50e-6) * (3 if number % 50 == 0 else 1))
    assert made.count(True) < 100  # trials, and hardly more


def test_short_runs_on_a_machine_that_becomes_busy_are_noticed_too() -> None:
    pace = Pace()
    run(pace, 40, {False: 50e-6, True: 60e-6})
    busy = run(pace, 60, {False: 200e-6, True: 60e-6})
    assert busy[-40:].count(True) >= 36


def test_many_short_steps_in_one_run_count_as_a_long_one() -> None:
    pace = Pace()
    run(pace, 12, {False: 1e-6, True: 2e-6})
    for _ in range(4):
        pace.note(False, 3e-6, 1_000_000)
    assert pace.alone is True
