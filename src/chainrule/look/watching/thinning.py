"""What was watched of a run, in bounded room: when it is full, every other step is given up.

So the whole run stays covered, evenly and in at least half of the room, however long it becomes. Keeping the last steps
instead would lose the beginning, where most goes wrong, and stopping when full the end.
"""

from __future__ import annotations

from itertools import pairwise

from chainrule.look.watching.reading import Reading
from chainrule.train.watched import Glance, Watched


class Thinned(Watched):
    """At most so many steps of a run, about evenly spread over all of it.

    A step is kept if it comes at least `every * stride` steps after the one kept before it; the stride begins at 1 and
    doubles when there is no room. Which steps are kept depends on their numbers alone, so that a run that goes on after
    an interruption keeps the same ones.

    Parameters
    ----------
    before
        What was watched so far, of a run that goes on.
    every
        How many steps lie between two that are watched.
    most
        How many are kept at most, from 4.

    Examples
    --------
    >>> seen = Thinned(Watched(), every=10, most=4)
    >>> for step in range(1, 102, 10):
    ...     seen.take(Glance(step, 1, 0.5, 0.1, {}))
    >>> seen.steps
    [1, 41, 81]
    """

    def __init__(self, before: Watched, every: int, most: int) -> None:
        super().__init__(before)
        self.every, self.most, self.stride = every, most, 1
        nearest = min((later - step for step, later in pairwise(self.steps)), default=every)
        while 2 * self.stride * every <= nearest:
            self.stride *= 2

    def take(self, step: Glance | Reading) -> None:
        """One more step, if it is far enough from the last that is kept."""
        while self._is_far(step) and len(self) >= self.most:
            self._thin()
        if not self._is_far(step):
            return
        if isinstance(step, Glance):
            self.glances.append(step)
        else:
            self.add(step)

    def _is_far(self, step: Glance | Reading) -> bool:
        """Whether it is far enough from the last that is kept."""
        kept = self._waiting or self._glances
        if not kept:
            return True
        last = kept[-1]
        assert isinstance(last, Glance | Reading), "only such are taken"
        return step.step - last.step >= self.every * self.stride

    def _thin(self) -> None:
        """Double the stride and give up the steps that are now too near to the one before; none is given a name."""
        self.stride *= 2
        kept: list[int] = []

        def is_far(step: int) -> bool:
            if kept and step - kept[-1] < self.every * self.stride:
                return False
            kept.append(step)
            return True

        self._glances = [glance for glance in self._glances if is_far(glance.step)]
        self._waiting = [step for step in self._waiting if isinstance(step, Reading) and is_far(step.step)]
