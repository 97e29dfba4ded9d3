"""HTTP for all APIs: FastAPI routes as Functions, errors, uploads and paging."""
