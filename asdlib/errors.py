"""The one error type for bad input."""


class InputError(ValueError):
    """Something that was handed in cannot be used.

    The message names the file or value, says what was expected and what to do about it.
    Nothing half-written is left behind when it is raised.
    """
