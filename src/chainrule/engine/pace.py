"""Whether a team is quicker than one thread, here and now: found by trying, which costs nothing but a little time.

A program's results have the same bits for any number of threads, so the number is free to follow the machine. A team
that shares a busy machine waits at every barrier for whoever was kept away, and small steps do not earn that back.
"""

from __future__ import annotations

from math import inf

_TRIES = 4  # runs of each kind, in turns, before the first decision: the quickest of them counts
_TRIAL = 3  # runs of a later trial, of which the quickest counts: in the first a worker wakes up, and its cache is cold
_LOST = 8.0  # times as long as the better kind, from which one run is trial enough
_AGAIN = 4  # runs after which the other kind is tried again, at the soonest
_PAUSE = 0.004  # seconds of runs between trials: after one, what the threads had near must come back to their cores
_SHARE = 0.02  # of the time may go into trials of the team: a worker that is kept away can make steps very long
_LESS = 0.005  # likewise into trials of one thread: where the team becomes slow, its own runs tell
_LONGER = 4  # times as long it may be until the team is tried once more, after each trial of it in vain
_MANY = 16  # of these, from which on they are not counted
_WEIGHT = 0.3  # of a new figure against those before
_LIGHT = 0.05  # likewise of a short run, which is soon followed by others: now and then one of them is disturbed
_SHORT = 1e-3  # seconds of a run up to which it is short


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
        self._seconds = [inf, inf]  # of the team, and alone
        self._tries = [0, 0]
        self._trial: list[float] = []  # the runs of the trial that is under way
        self._last = inf  # seconds of the run before
        self._since = 0  # runs since the other kind was tried
        self._wait: float = _AGAIN  # runs until it is tried again
        self._in_vain = 0  # trials, one after the other
        self._is_settled = self._best = self.alone = self.is_trial = False

    def note(self, alone: bool, seconds: float, steps: int = 1) -> None:
        """A run of some steps was made: how long each of them took."""
        if not self._is_settled:  # the first runs meet cold caches and sleeping workers
            self._tries[alone] += 1
            self._seconds[alone] = min(self._seconds[alone], seconds)
            self._decide()
        elif alone == self._best:
            before = self._seconds[alone]
            if before * steps < _SHORT:
                latest = before + _LIGHT * (seconds - before)
            else:  # one run that was disturbed does not count: of two the quicker does
                latest = before + _WEIGHT * (min(seconds, self._last) - before)
            self._seconds[alone], self._last = latest, seconds
            self._since += 1
            if latest > self._seconds[not alone]:  # perhaps only for a moment: so it is tried again soon
                self._wait, self._since, self._in_vain = self._soonest(seconds * steps), 0, 0
                self._decide()
            elif self._since >= self._wait:
                self._decide()
        else:
            self._trial.append(seconds)
            best = max(1e-9, self._seconds[self._best])
            if len(self._trial) < _TRIAL and seconds < _LOST * best:
                return
            lost = sum(self._trial) / best - len(self._trial)
            self._in_vain = 0 if min(self._trial) < best else min(_MANY, self._in_vain + 1)
            # What looks lost may come from a moment of disturbance, so it is not believed at once.
            wait = lost / _LESS if alone else min(lost / _SHARE, _AGAIN * _LONGER**self._in_vain)
            self._wait = max(self._soonest(best * steps), wait)
            self._seconds[alone], self._trial = min(self._trial), []
            self._since = 0
            self._decide()

    @staticmethod
    def _soonest(seconds: float) -> float:
        """Runs, each of so many seconds, until the next trial at the soonest."""
        return max(_AGAIN, _PAUSE / max(1e-9, seconds))

    def _decide(self) -> None:
        """What the next run is to be; asked for before every run, so it stands ready."""
        with_team, alone = self._tries
        self._is_settled = min(with_team, alone) >= _TRIES
        self._best = self._seconds[True] < self._seconds[False]
        if self._is_settled:
            self.is_trial = self._since >= self._wait
            self.alone = self._best != self.is_trial
        else:
            self.alone = alone < with_team
