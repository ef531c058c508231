"""Whether a team is quicker than one thread, here and now: found by trying, which costs nothing but a little time.

A program's results have the same bits for any number of threads, so the number is free to follow the machine. A team
that shares a busy machine waits at every barrier for whoever was kept away, and small steps do not earn that back.
"""

from __future__ import annotations

from math import inf

_TRIES = 4  # runs of each kind, in turns, before the first decision: the quickest of them counts
_TRIAL = 3  # runs of a later trial, of which the quickest counts: in the first a worker wakes up, and its cache is cold
_LOST = 8.0  # times as long as the better kind, from which one run is trial enough
_AGAIN = 16  # runs after which the other kind is tried again, at the soonest
_SHARE = 0.02  # of the time may go into such trials: a worker that is kept away can make a step a hundred times as long
_WEIGHT = 0.3  # of a new figure against those before


class Pace:
    """The seconds that a step takes with the team and alone, as they were lately.

    Attributes
    ----------
    alone
        Whether the next run should be made by one thread.
    is_trial
        Whether the next run only looks whether the other kind has become quicker.

    >>> pace = Pace()
    >>> for _ in range(8):
    ...     pace.note(pace.alone, 5.0 if pace.alone else 3.0)
    >>> pace.alone
    False
    """

    def __init__(self) -> None:
        self._seconds: dict[bool, float] = {}
        self._tries = {False: 0, True: 0}
        self._trial: list[float] = []  # the runs of the trial that is under way
        self._since = 0  # runs since the other kind was tried
        self._wait: float = _AGAIN  # runs until it is tried again
        self._best = self.alone = self.is_trial = False

    def note(self, alone: bool, seconds: float) -> None:
        """A run was made: how long each of its steps took."""
        before = self._seconds.get(alone, seconds)
        is_first = self._tries[alone] < _TRIES
        is_trial = not is_first and alone != self._best
        self._tries[alone] += 1
        if is_first:  # the first runs meet cold caches and sleeping workers
            self._seconds[alone] = min(before, seconds)
        elif not is_trial:
            self._seconds[alone] = before + _WEIGHT * (seconds - before)
        else:
            self._trial.append(seconds)
            best = max(1e-9, self._seconds[self._best])
            if len(self._trial) < _TRIAL and seconds < _LOST * best:
                return
            self._wait = max(_AGAIN, (sum(self._trial) / best - len(self._trial)) / _SHARE)
            self._seconds[alone], self._trial = min(self._trial), []
        self._since = 0 if is_first or is_trial else self._since + 1
        self._decide()

    def _decide(self) -> None:
        """What the next run is to be; asked for before every run, so it stands ready."""
        self._best = self._seconds.get(True, inf) < self._seconds.get(False, inf)
        with_team, alone = self._tries[False], self._tries[True]
        if min(with_team, alone) < _TRIES:
            self.alone = alone < with_team
        else:
            self.is_trial = self._since >= self._wait
            self.alone = self._best != self.is_trial
