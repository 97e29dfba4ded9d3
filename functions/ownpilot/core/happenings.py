"""What happens inside the app, told to the triggers of a user that wait for it."""

from typing import Any


async def happened(owner: str, event_type: str, data: dict[str, Any], event_id: str | None = None) -> list[str]:
    """Fire the user's enabled triggers on this type of event whose filters match `data`; return their ids.

    The actions run later, off the caller's path. `data` is JSON without secrets. With `event_id` a repeat of the same
    event fires nothing again. 1 query, at most once in five seconds for each user; 1 queue message for each trigger.
    """
    raise NotImplementedError
