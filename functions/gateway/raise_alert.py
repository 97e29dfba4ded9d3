"""Raising alerts: each cause once, however often its work is repeated."""

from datetime import UTC, datetime

from functions.gateway import updates
from functions.gateway.records import Alert, AlertType, Run
from functions.gateway.redaction import redacted
from functions.gateway.store import alerts
from shared.tables.ids import derived_id

MAX_MESSAGE = 2000
"""Characters; the run's own error is whole."""


async def run_failed(run: Run) -> None:
    """The one alert of a failed run."""
    assert run.completed_at
    await _raise(
        Alert(
            id=derived_id(run.completed_at, f"failed {run.id}"),
            created_at=run.completed_at,
            type=AlertType.ERROR,
            message=_shown(f"Run failed: {run.error or 'no reason was given'}"),
            run_id=run.id,
            client_id=run.client_id,
        )
    )


async def fault(cause: str, message: str, kind: AlertType = AlertType.WARNING) -> None:
    """A fault of the platform; the same cause is told once in an hour."""
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    await _raise(
        Alert(
            id=derived_id(hour, f"fault {cause}"),
            created_at=hour,
            type=kind,
            message=_shown(message),
            metadata={"cause": cause},
        ),
        again=False,
    )


def _shown(message: str) -> str:
    """The message without secrets, cut to what a person reads and a list can hold."""
    text = redacted(message)
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]} ..."


async def _raise(alert: Alert, *, again: bool = True) -> None:
    """Store an alert and tell of it; one that is stored already is told `again`, since nobody knows if it was."""
    stored = await alerts.insert(alert)
    if again or stored is alert:
        await updates.alert_raised(stored)
