"""Every error unetmm raises on purpose.

UnetmmError
├── BudgetError     the run cannot fit the memory budget
├── ImageError      an image cannot be read, written or understood
├── WeightsError    a weight file is missing, damaged or does not fit its net
├── ShapeError      an array has a shape, dtype or config that cannot be used
├── DeviceError     a GPU failed while it computed
├── MissingPackageError  a package that this needs is not installed
└── ResumeError     a half-done output belongs to another run
    ├── LockedError another process is writing it just now
    └── WidthError  it was begun with vectors of another width

A message says what was asked, what was found and what would work.
"""


class UnetmmError(Exception):
    """Base of all errors that a user can cause and mend."""


class BudgetError(UnetmmError):
    """The run cannot fit the memory budget.

    Attributes
    ----------
    budget_bytes : what was allowed.
    needed_bytes : the smallest budget that would do.
    of_device : whether this is about the memory of a GPU.
    """

    def __init__(
        self, message: str, *, budget_bytes: int, needed_bytes: int, of_device: bool = False
    ) -> None:
        super().__init__(message)
        self.budget_bytes = budget_bytes
        self.needed_bytes = needed_bytes
        self.of_device = of_device


class ImageError(UnetmmError):
    """An image cannot be read, written or understood."""


class WeightsError(UnetmmError):
    """A weight file is missing, damaged, or does not fit its net."""


class ShapeError(UnetmmError):
    """An array or config has a shape, dtype or value that cannot be used."""


class DeviceError(UnetmmError):
    """A GPU was lost or failed while it computed; this process cannot use it any more."""


class MissingPackageError(UnetmmError):
    """A package that only this needs is not installed."""


class ResumeError(UnetmmError):
    """A half-done output was made by a run with other settings."""


class LockedError(ResumeError):
    """Another process is writing the same share of an output just now."""


class WidthError(ResumeError):
    """A half-done output was begun with vectors of another width than this process has.

    Attributes
    ----------
    lanes : floats per vector that it was begun with; a process with so many can go on.
    """

    def __init__(self, message: str, *, lanes: int) -> None:
        super().__init__(message)
        self.lanes = lanes
