"""The pages of an API: its OpenAPI document, and Swagger UI, which works offline."""

from functools import cache
from importlib.resources import files

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response

from shared.http.errors import NotFound
from shared.http.routes import Route, options, router

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
"""The files of Swagger UI in the package fastapi-offline, with their content types."""

DAY = 86_400

routes = router("", "pages", include_in_schema=False)


def of_every_api() -> list[Route]:
    """Return the pages; an API that has a route at the path of one serves that in its place."""
    return [route for route in routes.routes if isinstance(route, Route)]


@cache
def asset(name: str) -> bytes:
    """Return the content of one of `ASSETS`."""
    return files("fastapi_offline").joinpath("static", name).read_bytes()


@routes.get("/", name="base")
@routes.get("/docs")
async def docs(request: Request) -> Response:
    """Swagger UI: read this API's description and try its routes."""
    base = f"/{request.app.prefix}"
    return get_swagger_ui_html(
        title=f"{request.app.title} {request.app.version}",
        openapi_url=f"{base}/openapi.json",
        swagger_js_url=f"{base}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{base}/docs/swagger-ui.css",
        swagger_favicon_url=f"{base}/docs/favicon.png",
        # Without `validatorUrl: null` the page lets a public server validate the document.
        swagger_ui_parameters={"persistAuthorization": True, "tryItOutEnabled": True, "validatorUrl": None},
    )


@routes.get("/docs/{name}")
@options(counted=False)
async def docs_asset(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in ASSETS:
        raise NotFound("Resource not found")
    return Response(asset(name), media_type=ASSETS[name], headers={"Cache-Control": f"public, max-age={DAY}"})


@routes.get("/openapi.json")
@options(enveloped=False)
async def openapi(request: Request) -> Response:
    """The OpenAPI document of this API."""
    return Response(await request.app.description_json(), media_type="application/json")
