"""Raises alerts; work that is repeated after a crash raises no second alert for the same cause."""

from datetime import UTC, datetime

from functions.gateway import updates
from functions.gateway.records import Alert, AlertType, Run
from functions.gateway.redaction import redacted
from functions.gateway.store import alerts
from shared.tables.ids import derived_id

MAX_MESSAGE = 2000
"""Characters of an alert's message; the `error` of the run itself is not cut."""


async def run_failed(run: Run) -> None:
    """Raise the alert of a failed run; a repeat stores no second one."""
    assert run.completed_at
    await _raise(
        Alert(
            id=derived_id(run.completed_at, f"failed {run.id}"),
            created_at=run.completed_at,
            type=AlertType.ERROR,
            message=_alert_text(f"Run failed: {run.error or 'no reason was given'}"),
            run_id=run.id,
            client_id=run.client_id,
        )
    )


async def fault(cause: str, message: str, kind: AlertType = AlertType.WARNING) -> None:
    """Raise an alert about a fault of the platform, at most one an hour for each `cause`."""
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    await _raise(
        Alert(
            id=derived_id(hour, f"fault {cause}"),
            created_at=hour,
            type=kind,
            message=_alert_text(message),
            metadata={"cause": cause},
        ),
        publish_repeat=False,
    )


def _alert_text(message: str) -> str:
    """Return the message with secrets masked, cut to `MAX_MESSAGE` characters."""
    text = redacted(message)
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]} ..."


async def _raise(alert: Alert, *, publish_repeat: bool = True) -> None:
    """Store and publish an alert.

    `publish_repeat` also publishes an alert that was already stored: a crash may have come before its publication.
    """
    stored = await alerts.insert(alert)
    if publish_repeat or stored is alert:
        await updates.publish_alert(stored)
