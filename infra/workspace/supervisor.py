"""Reports when somebody begins or ends to use a workspace: `python3 supervisor.py`, until it is ended.

It counts the established connections to the editor and to SSH. A change of a count is sent to the API that made the
workspace; without a change nothing is sent. A report that does not arrive is logged and not repeated: the next change
brings the next one.

Variables: ENVIRONMENT_ID (required), SUPERVISOR_AGENT_BASE_URL (without it, nothing is sent), SUPERVISOR_AGENT_API_KEY,
SUPERVISOR_MONITOR_INTERVAL (30s), and LOCAL_ADDRESS: count only connections to this address of a shared machine.
"""

import http.client
import json
import os
import re
import socket
import struct
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

EDITOR_PORT, SSH_PORT = 8080, 2222
ESTABLISHED = "01"
"""The state in the kernel's tables of connections."""
TABLES = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
NEVER = "0001-01-01T00:00:00Z"
PATIENCE = 5
"""Seconds to wait for the answer to a report."""
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """The seconds of a duration such as `30s` or `1m30s`. Raises ValueError for any other text and for 0."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    total = sum(float(number) * UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not total:
        raise ValueError(f"{text!r} is not a duration such as 30s or 1m30s")
    return total


def count(tables: Iterable[str], address: str = "") -> dict[int, int]:
    """How many established connections each local port has, in these tables of the kernel.

    `address`: only connections to this IPv4 address.
    """
    wanted = f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}" if address else ""
    found = {EDITOR_PORT: 0, SSH_PORT: 0}
    for table in tables:
        for line in table.splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            host, _, port = local.partition(":")
            # The end of an IPv6 address is the IPv4 address of a client of both families.
            if state == ESTABLISHED and int(port, 16) in found and host.endswith(wanted):
                found[int(port, 16)] += 1
    return found


def connections(address: str) -> dict[int, int]:
    """The connections of this moment."""
    return count((table.read_text() for table in TABLES if table.exists()), address)


class Connections:
    """What is known about the use of the workspace: the counts that were looked at last, and when each was not 0."""

    def __init__(self) -> None:
        self.counts = {EDITOR_PORT: 0, SSH_PORT: 0}
        self.seen = {EDITOR_PORT: NEVER, SSH_PORT: NEVER}

    def look(self, counts: dict[int, int], now: str) -> bool:
        """Take over the counts of this moment; returns whether one has changed."""
        for port in counts:
            if counts[port] or counts[port] != self.counts[port]:
                self.seen[port] = now
        changed = counts != self.counts
        self.counts = counts
        return changed

    def report(self, environment: str, now: str) -> dict[str, object]:
        """The body of a report."""
        snapshot = {
            "lastIDEActivity": self.seen[EDITOR_PORT],
            "lastSSHActivity": self.seen[SSH_PORT],
            "activeIDEConnections": self.counts[EDITOR_PORT],
            "activeSSHConnections": self.counts[SSH_PORT],
        }
        return {"environmentId": environment, "snapshot": snapshot, "timestamp": now}


def moment() -> str:
    """The present time."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def send(url: str, key: str, report: dict[str, object]) -> str:
    """Send a report; returns what went wrong, empty when it was accepted."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        request = urllib.request.Request(url, json.dumps(report).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE):
            return ""
    except urllib.error.HTTPError as refused:
        return f"the answer is {refused.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return repr(error)  # no answer, one that is not HTTP, or a wrong address


def main() -> None:
    environment = os.environ.get("ENVIRONMENT_ID", "")
    if not environment:
        sys.exit("supervisor: ENVIRONMENT_ID is not set")
    base, key = os.environ.get("SUPERVISOR_AGENT_BASE_URL", ""), os.environ.get("SUPERVISOR_AGENT_API_KEY", "")
    url = f"{base.rstrip('/')}/api/v1/environments/{environment}/activity"
    try:
        interval = seconds(os.environ.get("SUPERVISOR_MONITOR_INTERVAL") or "30s")
    except ValueError as error:
        sys.exit(f"supervisor: SUPERVISOR_MONITOR_INTERVAL: {error}")
    if not any(table.exists() for table in TABLES):
        sys.exit("supervisor: this system does not list connections in /proc/net/tcp; nothing is reported")
    known = Connections()
    while True:
        now = moment()
        has_changed = known.look(connections(os.environ.get("LOCAL_ADDRESS", "")), now)
        if has_changed and base and (problem := send(url, key, known.report(environment, now))):
            print(f"supervisor: the report of {now} was not accepted: {problem}", flush=True)
        time.sleep(interval)


if __name__ == "__main__":
    main()
