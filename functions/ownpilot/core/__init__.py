"""What the rooms of the assistant share, and is no noun of a path."""
