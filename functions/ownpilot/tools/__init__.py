"""The tools of the assistant: what it can do, and doing it."""
