"""Alarms that persist: how many of the last recordings must ring, and how often chance does it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.errors import InputError

DAYS_A_YEAR = 365.25


def persistent_alarms(flags: npt.ArrayLike, *, k: int, n: int) -> npt.NDArray[np.bool_]:
    """Say after which recordings at least k of the last n were anomalous.

    Parameters
    ----------
    flags : array_like of bool, shape (n_recordings,)
        Verdicts of one machine in the order of time.
    k, n : int
        1 <= k <= n.

    Returns
    -------
    ndarray of bool, shape (n_recordings,)

    Raises
    ------
    InputError
        When k or n is out of range.

    Examples
    --------
    >>> persistent_alarms([0, 1, 0, 1, 1, 0, 0, 0], k=2, n=3).astype(int).tolist()
    [0, 0, 0, 1, 1, 1, 0, 0]
    """
    if not 1 <= k <= n:
        raise InputError(f"k={k} of n={n} recordings: expected 1 <= k <= n.")
    counts = np.convolve(np.asarray(flags, dtype=np.int64), np.ones(n, np.int64))
    return np.asarray(counts[: len(np.asarray(flags))] >= k)


def alarm_begins(alarm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Say with which recordings an alarm begins (`persistent_alarms`)."""
    held = np.asarray(alarm, dtype=bool)
    return np.asarray(held & ~np.concatenate([[False], held[:-1]]))


def alarm_rate(rate: float, *, k: int, n: int) -> float:
    r"""Alarms per recording that chance alone raises.

    .. math:: \binom{n-1}{k-1} p^k (1 - p)^{n-k+1}

    An alarm begins where the newest recording rings, the one that leaves the window does not,
    and k - 1 of the n - 1 between them do.

    Parameters
    ----------
    rate : float
        p, the probability that a normal recording rings, from 0 to 1, independently of all
        others. Recordings of one bad day are not independent: the true rate is higher.
    k, n : int
        Alarm when k of the last n recordings ring.

    Returns
    -------
    float
        Beginnings of alarms per recording, in the long run.

    Examples
    --------
    >>> round(alarm_rate(0.1, k=2, n=2), 4)
    0.009
    """
    return math.comb(n - 1, k - 1) * rate**k * (1 - rate) ** (n - k + 1)


def choose_k(rate: float, *, n: int, per_day: float, alarms_a_year: float = 1.0) -> int:
    """Smallest k of n at which chance alone raises so few alarms a year.

    Parameters
    ----------
    rate : float
        Probability that a normal recording rings.
    n : int
        Recordings that are looked at together.
    per_day : float
        Recordings of the machine a day.
    alarms_a_year : float
        False alarms that are borne.

    Raises
    ------
    InputError
        When even n of n would raise more: a larger n or a lower rate is needed.
    """
    for k in range(1, n + 1):
        # Below the mean count, a window is nearly always in alarm and seldom begins one.
        if k > n * rate and alarm_rate(rate, k=k, n=n) * per_day * DAYS_A_YEAR <= alarms_a_year:
            return k
    raise InputError(
        f"{n} recordings of which {rate:.0%} ring by chance cannot keep to {alarms_a_year:g} "
        "false alarms a year: look at more of them (alarm_window) or promise fewer false alarms."
    )


def alarms_by_settings(
    percentile: npt.ArrayLike, *, rates: Sequence[float], rules: Sequence[tuple[int, int]]
) -> pd.DataFrame:
    """Count the alarms that begin, for every promised rate and rule.

    Parameters
    ----------
    percentile : array_like of float, shape (n_recordings,)
        Share of the training clips that score lower [%], in the order of time.
    rates : sequence of float
        Promised false-alarm rates: a recording rings above the percentile 100 (1 - rate).
    rules : sequence of (k, n)
        See `persistent_alarms`.

    Returns
    -------
    DataFrame
        Rates in the rows, rules in the columns.
    """
    counts = []
    for rate in rates:
        flags = np.asarray(percentile) > 100 * (1 - rate)
        alarms = [persistent_alarms(flags, k=k, n=n) for k, n in rules]
        counts.append([int(alarm_begins(own).sum()) for own in alarms])
    names = [f"{k} of {n}" for k, n in rules]
    return pd.DataFrame(counts, index=[f"{rate:.0%} promised" for rate in rates], columns=names)
