"""Which requests a local service refuses: those that a web page of another site makes a browser send.

A page can send requests to any port of the loopback interface; its browser adds the page's `Origin`. Or its own domain
name leads to 127.0.0.1 (DNS rebinding): then the origin is the same as the host, and `Host` tells.
"""

import argparse
import re
from dataclasses import dataclass

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:/@\[\]]+)(:[0-9]+)?", re.IGNORECASE)
_ORIGIN = re.compile(rf"https?://{_HOST.pattern}", re.IGNORECASE)


@dataclass(frozen=True)
class Origins:
    """The names under which a service may be called, and the pages that may call it, beside those of this machine.

    - `hosts`: names without a port; pages of these hosts may call everything.
    - `pages`: origins such as `https://app.example` that may call what the service offers to pages; `*` allows all.
    """

    hosts: frozenset[str] = LOOPBACK
    pages: frozenset[str] = frozenset()

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options from which `of_options` makes the value."""
        add = parser.add_argument
        add("--allow-host", action="append", default=[], metavar="NAME", help="answer requests to this host name too")
        add("--allow-origin", action="append", default=[], metavar="ORIGIN", help="answer pages of this origin too")

    @classmethod
    def of_options(cls, given: argparse.Namespace) -> "Origins":
        """What the parsed options allow."""
        return cls(LOOPBACK | {name.lower() for name in given.allow_host}, frozenset(given.allow_origin))

    def refusal(self, host: str | None, origin: str | None, *, for_pages: bool) -> tuple[int, str] | None:
        """Status and reason with which a request with these headers is refused; None when it is allowed.

        `for_pages`: the request is for something that `pages` may call.
        """
        named = _HOST.fullmatch(host or "")
        if not named or named[1].lower() not in self.hosts:
            return 421, f"This service does not answer for the host {host!r}.\n"
        page = _ORIGIN.fullmatch(origin) if origin is not None else None
        if origin is None or (page and page[1].lower() in self.hosts):
            return None
        if for_pages and not self.pages.isdisjoint({"*", origin}):
            return None
        return 403, f"Pages of the origin {origin!r} may not call this service.\n"
