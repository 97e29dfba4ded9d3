"""The modules that declare tools."""

from functions.ownpilot.tools import bookmarks, calendar, contacts, custom_data, goals, memory, notes, tasks

__all__ = ["bookmarks", "calendar", "contacts", "custom_data", "goals", "memory", "notes", "tasks"]
