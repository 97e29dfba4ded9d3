"""Fixtures for tests of the whole path of a run, as the gateway's clients see it."""

from tests.functions.gateway.conftest import gateway

__all__ = ["gateway"]
