"""How long to wait for a storage account that accepts calls and may not answer them.

An account that is frozen keeps every caller waiting. So after one call without an answer the following ones wait only
briefly, until one of them is answered: a request that makes several calls ends in time too.
"""

import time

PATIENCE = 4.0
"""Seconds within which one call is answered."""

BRIEF = 1.0
"""The same while the account is silent."""

WHOLE = 5.0
"""Seconds after its start until which an operation is tried again."""

_REMEMBERED = 10.0


class Patience:
    """What is known of one account: whether its last call has been left without an answer."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    @property
    def silent(self) -> bool:
        """Whether a call was given up in the last seconds, and no later one has been answered."""
        return time.monotonic() < self._silent_until

    @property
    def seconds(self) -> float:
        """How long to wait for the answer of one call."""
        return BRIEF if self.silent else PATIENCE

    @property
    def whole(self) -> float:
        """How long to try one operation."""
        return BRIEF if self.silent else WHOLE

    def answered(self) -> None:
        """Note an answer, whatever it says."""
        self._silent_until = 0.0

    def unanswered(self) -> None:
        """Note that a call was given up."""
        self._silent_until = time.monotonic() + _REMEMBERED


patience = Patience()
"""That of the account that this process uses: tables, blobs and queues belong to one account."""
