"""Writing a job's input files."""

import time
from base64 import b64decode
from pathlib import Path
from urllib.parse import urlsplit

from http11 import HttpConnection
from order import InputFile  # pyright: ignore[reportMissingImports] - see redaction in runner.py

PAUSES = (0.2, 1, 5, None)  # seconds after each attempt to download a file; None: it was the last one


def fetch(inputs: list[InputFile], directory: Path) -> None:
    """Write the inputs, downloading each with a few attempts. `OSError` when that fails."""
    for item in inputs:
        target = directory / item.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if item.url:
            download(item.path, item.url, target)
        else:
            target.write_bytes(b64decode(item.data))


def download(name: str, url: str, target: Path) -> None:
    """Write what a URL returns to a file. `OSError` when it is not returned as a whole in a few attempts."""
    place = urlsplit(url)
    for pause in PAUSES:
        connection = HttpConnection(place.scheme, place.netloc)
        try:
            with target.open("wb") as file:
                response = connection.request("GET", f"{place.path}?{place.query}")
                if response.status != 200:
                    raise OSError(f"storage answered {response.status}")
                while chunk := response.read(1 << 20):
                    file.write(chunk)
            return
        except OSError as error:
            if pause is None:
                raise OSError(f"{name}: {error}") from None  # the URL is a secret
            time.sleep(pause)
        finally:
            connection.close()
