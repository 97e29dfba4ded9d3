"""The pages of an API."""

from shared.http.api import Api
from shared.http.routes import router


def test_an_api_with_a_route_at_its_base_has_no_page_there():
    routes = router("", "home")

    @routes.get("/")
    async def own() -> dict[str, str]:
        return {}

    paths = {route.path: route.name for route in Api("sample", "Sample", "1", [routes]).own_routes}
    assert paths["/"] == "own"
    assert {"/docs", "/docs/{name}", "/openapi.json"} <= set(paths)
