"""Every exception that Duel raises on purpose.

    DuelError
    ├── UserError            something the person who started the run can mend (exit code 2)
    │   ├── SettingsError    a setting is unknown, out of range or contradicts another
    │   ├── DataError        a data set or an image in it is missing or broken
    │   └── RunError         a run directory cannot be opened, written or resumed
    └── ServiceError         a service or a model failed; trying again may help (exit code 1)
        ├── GeneratorError   the image generator gave no image
        └── JudgeError       the judge gave no usable grade

Bad model output (an empty description, an answer nobody can parse) is data, never an exception.
"""


class DuelError(Exception):
    """Base of all errors below."""


class UserError(DuelError):
    """The person who started the run can mend it; the message says what, where and how."""


class SettingsError(UserError):
    """A setting is unknown, out of range or contradicts another."""


class DataError(UserError):
    """A data set, or an image in it, is missing or broken."""


class RunError(UserError):
    """A run directory cannot be opened, written or resumed."""


class ServiceError(DuelError):
    """A service or a model failed; trying again may help."""


class GeneratorError(ServiceError):
    """The image generator gave no image."""


class JudgeError(ServiceError):
    """The judge gave no usable grade."""
