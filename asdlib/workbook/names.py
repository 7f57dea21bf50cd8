"""Names of runs; apart from the settings, so that the command line need not load torch."""

from asdlib.errors import InputError


def check_run_name(name: str) -> None:
    """Refuse a run name that could not be a folder's name everywhere.

    Raises
    ------
    InputError
        When it holds anything but letters, digits, ``.``, ``_`` and ``-``.
    """
    letters = name.replace(".", "").replace("_", "").replace("-", "")
    if not letters.isalnum():
        raise InputError(
            f"parameter run_name = {name!r}: expected letters, digits, '.', '_' and '-' alone."
        )
