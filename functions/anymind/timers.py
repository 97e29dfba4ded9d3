"""Anymind's hourly timer."""

from functions.anymind import lockout
from shared.workflows import WorkflowClient


async def purge_lockouts(workflows: WorkflowClient) -> str | None:
    """Every hour: delete the counts of failed logins that do not matter any more."""
    count = await lockout.purge()
    return f"Deleted {count} counts of failed logins" if count else None
