"""The modules that declare tools, in the order in which lists show them."""

__all__: list[str] = []
