"""Make the snapshot that the app ships from a file of models.dev: `python -m <this package> api.json`."""

import sys
from pathlib import Path

from functions.ownpilot.core.catalogue.models_dev import SNAPSHOT, make_snapshot

SNAPSHOT.write_bytes(make_snapshot(Path(sys.argv[1]).read_bytes()).pack())
