"""Storage that fails in the middle, and processes that end there."""

from shared.tables.wire import Transport, WireResponse


class Failing:
    """Raises in place of the first write to a table or, with `landed`, after it."""

    def __init__(self, inner: Transport, table: str, error: BaseException, *, landed: bool = False):
        self.inner, self.table, self.error, self.landed, self.done = inner, table.encode(), error, landed, False

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        if not self.done and method != "GET" and self.table in url.encode() + (body or b""):
            self.done = True
            if self.landed:
                await self.inner.send(method, url, headers, body)
            raise self.error
        return await self.inner.send(method, url, headers, body)

    async def close(self) -> None:
        await self.inner.close()


class Killed(BaseException):
    """The end of the process at this point."""
