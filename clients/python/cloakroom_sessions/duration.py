"""Durations, as a caller gives them and as the scripts take them."""

from __future__ import annotations

import math
from datetime import timedelta

from .errors import Invalid

#: A `timedelta`, or seconds.
Duration = timedelta | float

_MS = timedelta(milliseconds=1)
#: Ten years: the longest idle time and lifetime, and how long the contract stays noted.
LONGEST_MS = 10 * 365 * 24 * 3600 * 1000


def duration_ms(field: str, value: Duration, least_ms: int = 1, most_ms: int = LONGEST_MS) -> int:
    """A duration within its limits, in whole milliseconds."""
    if isinstance(value, timedelta):
        ms = value // _MS
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid(field, "must be a timedelta, or seconds")
    elif not math.isfinite(value):
        raise Invalid(field, f"is {value}, must be a number of seconds")
    else:
        # By the shortest decimal that is this number: 0.29 seconds are 290 milliseconds, and not 289.
        ms = math.floor(round(value * 1000, 6))
    if not least_ms <= ms <= most_ms:
        raise Invalid(field, f"is {ms / 1000:.12g} seconds, must be {least_ms / 1000:.12g} to {most_ms / 1000:.12g}")
    return ms


def optional_ms(field: str, value: Duration | None, least_ms: int = 1) -> int | None:
    """The same of what need not be given."""
    return None if value is None else duration_ms(field, value, least_ms)


def of_ms(ms: int) -> timedelta:
    """A duration as a caller gets it."""
    return timedelta(milliseconds=ms)
