"""Tokens of an answer from reports that are sums."""

from collections.abc import Iterator

from functions.ownpilot.core.llm.vocabulary import Usage


class Sums:
    """The highest sums that a server has reported so far: some report once at the end, some with each chunk."""

    def __init__(self) -> None:
        self._input = self._output = 0

    def rise(self, input_tokens: int, output_tokens: int) -> Iterator[Usage]:
        """Return what the sums have risen by, if they have."""
        more = Usage(max(0, input_tokens - self._input), max(0, output_tokens - self._output))
        if more != Usage(0, 0):
            self._input += more.input_tokens
            self._output += more.output_tokens
            yield more
