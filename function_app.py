"""The composition root: every API and trigger of this app, each route a Function of its own."""

import gc
from importlib import import_module

import azure.durable_functions as df
import azure.functions as func

from shared.settings import settings
from shared.slices import add_slice
from shared.storage import connect

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
connect()

gc.disable()  # what is imported stays, so a search for garbage in it would only make the start longer
for name in ("home", "jobs", "realtime", "maintenance", *settings().api_names):
    add_slice(app, name, import_module(f"functions.{name}").SLICE)
gc.freeze()
gc.enable()
