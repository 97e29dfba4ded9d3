"""HTTP: FastAPI routes as Functions, errors, uploads and paging, as every API uses them."""
