"""Tables in this process's memory, for more records than the storage emulator can be filled with in a short time."""

import bisect
import re
from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from shared.tables.wire import PAGE, Row, WireResponse

_KEY = re.compile(r"(\w+)\(PartitionKey='([^']*)',RowKey='([^']*)'\)$")
_RANGE = re.compile(r"PartitionKey eq '([^']*)' and RowKey ge '([^']*)' and RowKey lt '([^']*)'")
_STAMP = b'"Timestamp":"2026-01-01T00:00:00Z"}'
_ETAG = "W/\"datetime'2026-01-01T00%3A00%3A00Z'\""


class Partition:
    """The rows of one partition as JSON, and their keys in order."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self._keys: list[str] = []

    def range(self, low: str, high: str) -> Iterator[tuple[str, bytes]]:
        """The rows from one key up to another, in order."""
        if len(self._keys) != len(self.rows):
            self._keys = sorted(self.rows)
        keys = self._keys
        for place in range(bisect.bisect_left(keys, low), bisect.bisect_left(keys, high)):
            yield keys[place], self.rows[keys[place]]


class MemoryTables:
    """A transport that stores rows itself. For one writer only: it checks no ETag, and refuses no write.

    NotImplementedError for requests that the benchmarks do not make.
    """

    def __init__(self) -> None:
        self._partitions: defaultdict[tuple[str, str], Partition] = defaultdict(Partition)

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        parts = urlsplit(url)
        name = unquote(parts.path.rsplit("/", 1)[1])
        if method == "POST" and name == "$batch":
            return self._transaction(body or b"")
        if method == "POST" and name == "Tables":
            return WireResponse(204, {}, b"")
        if method in ("POST", "PATCH", "PUT"):
            self._write(method, name, body or b"")
            return WireResponse(204, {"ETag": _ETAG}, b"")
        if method != "GET":
            raise NotImplementedError(f"{method} {url}")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if name.endswith("()"):
            return self._query(name[:-2], query)
        return self._get(name)

    async def close(self) -> None:
        pass

    def _get(self, name: str) -> WireResponse:
        found = _KEY.match(name)
        if found is None:
            raise NotImplementedError(name)
        row = self._partitions[found[1], found[2]].rows.get(found[3])
        if row is None:
            return WireResponse(404, {}, b"")
        return WireResponse(200, {"ETag": _ETAG}, row[:-1] + b"," + _STAMP)

    def _query(self, table: str, query: dict[str, str]) -> WireResponse:
        found = _RANGE.fullmatch(query["$filter"])
        if found is None:
            raise NotImplementedError(query["$filter"])
        partition, low, high = found.groups()
        top, names = int(query.get("$top", PAGE)), query.get("$select", "").split(",")
        rows: list[Row] = []
        for key, text in self._partitions[table, partition].range(max(low, query.get("NextRowKey", "")), high):
            if len(rows) == top:
                where = {"x-ms-continuation-NextPartitionKey": partition, "x-ms-continuation-NextRowKey": key}
                return WireResponse(200, where, orjson.dumps({"value": rows}))
            row = orjson.loads(text)
            rows.append({name: row.get(name) for name in names} if names != [""] else row)
        return WireResponse(200, {}, orjson.dumps({"value": rows}))

    def _transaction(self, body: bytes) -> WireResponse:
        answers = b""
        for part in body.split(b"Content-Transfer-Encoding: binary\r\n\r\n")[1:]:
            head, _, rest = part.partition(b"\r\n\r\n")
            verb, url = head.split(b" ", 2)[:2]
            name = unquote(urlsplit(url.decode()).path.rsplit("/", 1)[1])
            if verb == b"DELETE":
                self._delete(name)
                answers += b"HTTP/1.1 204 No Content\r\n\r\n"
                continue
            content = rest[: rest.index(b"\r\n--")]
            self._write(verb.decode(), name, content)
            answers += b"HTTP/1.1 204 No Content\r\nETag: " + _ETAG.encode() + b"\r\n\r\n"
        return WireResponse(202, {}, answers)

    def _write(self, verb: str, name: str, content: bytes) -> None:
        row = orjson.loads(content)
        plain = {key: value for key, value in row.items() if "@" not in key}
        rows = self._partitions[name.partition("(")[0], row["PartitionKey"]].rows
        if verb == "PATCH":  # merges
            plain = orjson.loads(rows[row["RowKey"]]) | plain
        rows[row["RowKey"]] = orjson.dumps(plain)

    def _delete(self, name: str) -> None:
        found = _KEY.match(name)
        assert found
        partition = self._partitions[found[1], found[2]]
        del partition.rows[found[3]]
        partition._keys = []
