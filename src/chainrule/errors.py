"""Every exception that chainrule raises on purpose.

ChainruleError
 ├─ ShapeError        shapes that do not fit each other            (also a ValueError)
 ├─ DTypeError        a data type that an operation cannot take    (also a TypeError)
 ├─ GradientError     a gradient that does not exist
 ├─ ArgumentError     an argument out of its range                 (also a ValueError)
 ├─ DataError         what the user gave as data: files, columns, cells (also a ValueError)
 ├─ FileFormatError   a model file that is damaged, foreign or newer    (also a ValueError)
 ├─ TraceError        something that a traced function cannot do
 ├─ ResourceError     a program that needs more memory than there is
 └─ TrainingError     training that cannot go on
     └─ NonFiniteError    a loss, gradient or parameter became infinite or NaN

A message says what happened, where, what was expected, and what to do. The command line prints it as one sentence.
"""

import typing


class ChainruleError(Exception):
    """The root: catch this to catch everything that chainrule raises on purpose."""


class ShapeError(ChainruleError, ValueError):
    """Shapes that do not fit each other, the layer, or the operation."""


class DTypeError(ChainruleError, TypeError):
    """A data type that the operation cannot take."""


class GradientError(ChainruleError):
    """A gradient that does not exist: the loss is no scalar, depends on nothing, or was made outside."""


class ArgumentError(ChainruleError, ValueError):
    """An argument of a public function that is out of its range."""


class DataError(ChainruleError, ValueError):
    """Data that cannot be read or learned from: the message names the file, row and column."""


class FileFormatError(ChainruleError, ValueError):
    """A model file that is damaged, was made by another program, or by a newer chainrule."""


class TraceError(ChainruleError):
    """Something that needs a number while a function is being traced, when there are only symbols."""


class ResourceError(ChainruleError):
    """A program that needs more memory than the machine has."""


class TrainingError(ChainruleError):
    """Training that cannot go on."""


class NonFiniteError(TrainingError):
    """A loss, a gradient or a parameter that became infinite or NaN.

    Attributes
    ----------
    culprit
        The op that made the first such number, with its layer, phase, example and inputs; None if it is not known.
    step, epoch
        Of the step that went wrong, both from 1.
    history
        The epochs before it, and in `history.findings` what the diagnosis found, where `fit` was to make one; None
        unless `fit` raised it.
    """

    def __init__(self, message: str, culprit: object = None, step: int = 0, epoch: int = 0) -> None:
        super().__init__(message)
        self.culprit, self.step, self.epoch = culprit, step, epoch
        self.history: typing.Any = None
