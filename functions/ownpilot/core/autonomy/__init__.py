"""Autonomy: which actions the assistant may do by itself, and which wait for a person's word."""

from functions.ownpilot.core.autonomy.held import Held, admit

__all__ = ["Held", "admit"]
