"""The ids of records, under their former address; they live in `shared.tables.ids`."""

from shared.tables.ids import derived_id, first_key, ids_of, new_id, row_key, time_of

__all__ = ["derived_id", "first_key", "ids_of", "new_id", "row_key", "time_of"]
