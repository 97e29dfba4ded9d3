"""The page at `/`: names the APIs of this app and their addresses."""

from html import escape

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request as HttpV2Request
from starlette.responses import HTMLResponse, Response

from shared.http.api import Api
from shared.http.bridge import LiveResponse
from shared.settings import settings
from shared.slices import Slice, slices

ROOT = "{ignored:maxlength(0)?}"
"""The route of `/`. Functions reads an empty route as the function's name, and shows a page of its own at `/`."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Runyard</title>
<style>body {{ font: 1rem/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}</style>
<h1>Runyard</h1>
<p>This app serves the following APIs.</p>
{apis}
<h2>Two commands</h2>
<p>In a copy of the source, these need Python and Node.js, but no cloud account:</p>
<dl>
<dt><code>make demo</code></dt><dd>submits a real run and prints its live events, its result and its artifacts</dd>
<dt><code>make test</code></dt><dd>runs all tests</dd>
</dl>
</html>
"""
SECTION = """<h2>{title}</h2>
{description}
<ul>
<li>Base URL: <code>{base}</code></li>
<li>Documentation, to read and to try: <a href="/{prefix}/docs">/{prefix}/docs</a></li>
<li>OpenAPI document: <a href="/{prefix}/openapi.json">/{prefix}/openapi.json</a></li>
<li>Health: {health}</li>
</ul>"""

bp = df.Blueprint()


@bp.route(route=ROOT, methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def home(req: HttpV2Request) -> Response:
    """Show the APIs that this app serves."""
    served = [slices[name].api for name in settings().api_names]
    page = PAGE.format(apis="\n".join(_section(api) for api in served if api))
    return await LiveResponse(HTMLResponse(page), req.scope, req.receive).ready()


def _section(api: Api) -> str:
    health = [f"/{api.prefix}{route.path}" for route in api.own_routes if route.path.endswith("/health")]
    return SECTION.format(
        title=escape(api.title),
        description=f"<p>{escape(api.description)}</p>" if api.description else "",
        base=escape(f"{settings().base_url}/{api.prefix}"),
        prefix=api.prefix,
        health=", ".join(f'<a href="{path}">{path}</a>' for path in health),
    )


SLICE = Slice(blueprints=[bp])
