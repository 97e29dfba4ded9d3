"""The JSON texts exchanged with entity functions: a batch of operations, and its results."""

import json

Operation = tuple[int, str, str | None, str | None]  # number, name, input, id of the reply event


def batch(id: str, state: str | None, operations: list[Operation]) -> tuple[str, str]:
    """The name of the entity function and its trigger payload; `state` is JSON text, None when it does not exist."""
    _, name, key = id.split("@", 2)
    request = {
        "self": {"name": name, "key": key},
        "exists": state is not None,
        "state": state,
        "batch": [
            {"name": operation, "input": data, "isSignal": not reply} for _, operation, data, reply in operations
        ],
    }
    return name, json.dumps(request)


def results(answer: str | None, operations: list[Operation]) -> tuple[str | None, dict[int, str]]:
    """The new state and the reply to each operation. Raises ValueError when `answer` does not follow the protocol."""
    try:
        response = json.loads(answer or "null")
        outcomes = response["results"]
        state = response["entityState"] if response["entityExists"] else None
        replies = [_reply(outcome["result"], outcome["isError"]) for outcome in outcomes]
    except (KeyError, TypeError) as error:
        raise ValueError(f"its answer does not follow the protocol: {error!r}") from error
    if len(replies) != len(operations):
        raise ValueError(f"{len(operations)} operations got {len(replies)} results")
    return state, {number: reply for (number, *_), reply in zip(operations, replies, strict=True)}


def failures(message: str, operations: list[Operation]) -> dict[int, str]:
    """The same error in reply to every operation."""
    return {number: _reply(json.dumps(message), is_error=True) for number, *_ in operations}


def _reply(result: str, is_error: bool) -> str:
    return json.dumps({"result": result, "exceptionType": "Error"} if is_error else {"result": result})
