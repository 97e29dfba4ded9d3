"""Forms: read as their content type says, or, where a route allows it, as their first line says."""

import httpx
import pytest

FORM = b'--edge\r\nContent-Disposition: form-data; name="name"\r\n\r\nme\r\n' + (
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nfour\r\n--edge--\r\n'
)


@pytest.mark.parametrize("kind", ["own", "any"])
async def test_a_form_of_its_own_type(sample: httpx.AsyncClient, kind: str):
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    response = await sample.put(f"/things/form/{kind}", content=FORM, headers=headers)
    assert response.json()["data"]["id"] == "me 4"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data", ""])
async def test_a_form_under_another_type_is_read_where_the_route_allows_it(
    sample: httpx.AsyncClient, content_type: str
):
    headers = {"Content-Type": content_type}
    response = await sample.put("/things/form/any", content=FORM, headers=headers)
    assert response.json()["data"]["id"] == "me 4"
    response = await sample.put("/things/form/own", content=FORM, headers=headers)
    assert (response.status_code, response.json()["message"]) == (400, "Body must be multipart/form-data")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"--", b"--\r\n", b"--edge", b"-- edge\r\n", b"--" + b"x" * 300 + b"\r\n", b"\xff" * 500]
)
async def test_another_body_is_refused(sample: httpx.AsyncClient, body: bytes):
    response = await sample.put("/things/form/any", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


async def test_a_boundary_that_is_too_long_is_refused(sample: httpx.AsyncClient):
    headers = {"Content-Type": f"multipart/form-data; boundary={'x' * 300}"}
    response = await sample.put("/things/form/own", content=FORM, headers=headers)
    assert (response.status_code, response.json()["message"]) == (400, "Body must be multipart/form-data")
