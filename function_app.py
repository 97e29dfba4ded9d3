"""The composition root: every API and trigger of this app, each route a Function of its own."""

from importlib import import_module

import azure.durable_functions as df
import azure.functions as func

from shared.http.bridge import register
from shared.settings import settings
from shared.storage import connect

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
connect()

for name in ("jobs", "realtime", "maintenance", *settings().apis.split(",")):
    part = import_module(f"functions.{name.strip()}")
    if hasattr(part, "api"):
        register(app, part.api)
    for blueprint in part.blueprints:
        app.register_functions(blueprint)
