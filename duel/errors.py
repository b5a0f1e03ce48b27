"""Duel's exceptions, by who can fix them.

    DuelError
    ├── UserError            the user can fix it (exit code 2)
    │   ├── SettingsError    a setting is unknown, out of range or contradicts another
    │   ├── DataError        a data set or an image in it is missing or broken
    │   └── RunError         a run directory cannot be opened, written or resumed
    └── ServiceError         a service or model failed; a retry may succeed (exit code 1)
        ├── GeneratorError   no image was obtained from the image generator
        └── JudgeError       no usable grade was obtained from the judge

Bad model output (an empty description, an unparseable answer) is data, never an exception.
"""


class DuelError(Exception):
    """Base class of Duel's exceptions."""


class UserError(DuelError):
    """The user can fix it; the message says what was got, what was expected, and what to do."""


class SettingsError(UserError):
    """A setting is unknown, out of range or contradicts another."""


class DataError(UserError):
    """A data set, or an image in it, is missing or broken."""


class RunError(UserError):
    """A run directory cannot be opened, written or resumed."""


class ServiceError(DuelError):
    """A service or model failed; a retry may succeed."""


class GeneratorError(ServiceError):
    """No image was obtained from the image generator."""


class JudgeError(ServiceError):
    """No usable grade was obtained from the judge."""
