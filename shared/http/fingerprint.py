"""What a request sent, as one hash: forms with the same fields and files have the same, whatever their boundaries."""

import hashlib
import json

from shared.http.errors import BadRequest
from shared.http.multipart import MAX_BOUNDARY, FormParser, boundary_of


class Fingerprint:
    """The SHA-256 of a body that is read in pieces.

    Of a form, it covers the names, file names, types and contents of its parts; parts of one name in their order. A
    body is a form when it begins with a boundary, whatever its content type says.
    """

    def __init__(self) -> None:
        self._start: bytes | None = b""
        self._form: FormParser | None = None
        self._whole = hashlib.sha256()
        self._part = hashlib.sha256()
        self._parts: list[tuple[str, str]] = []

    def feed(self, data: bytes) -> None:
        """Read the next piece."""
        if self._start is not None:
            self._start += data
            if b"--".startswith(self._start[:2]) and b"\n" not in self._start and len(self._start) <= MAX_BOUNDARY + 4:
                return
            data, self._start = self._start, None if self._start else b""
            if boundary := boundary_of(data):
                self._form = FormParser(boundary)
        if self._form is None:
            self._whole.update(data)
            return
        try:
            for part, chunk in self._form.feed(data):
                if chunk is not None:
                    self._part.update(chunk)
                    continue
                sent = [part.name, part.filename, part.content_type, self._part.hexdigest()]
                self._parts.append((part.name, json.dumps(sent)))
                self._part = hashlib.sha256()
        except BadRequest:  # not a form: the handler refuses it
            self._form = None
            self._whole.update(data)

    def digest(self) -> str:
        """Return the SHA-256, in hex, of what has been read."""
        whole = self._whole.copy()
        whole.update((self._start or b"") + self._part.digest())
        for _, sent in sorted(self._parts, key=lambda part: part[0]):
            whole.update(sent.encode())
        return whole.hexdigest()
