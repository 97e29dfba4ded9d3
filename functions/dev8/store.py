"""Dev8's collections."""

from functions.dev8.records import DevEnvironment, Orphan, TakenPlace
from shared.tables import Collection
from shared.tables.counted import CountedCollection

environments = Collection(
    "Dev8Environments",
    DevEnvironment,
    indexes=["user_id", "status"],
    counters=["user_id"],
    orders=["idle_since"],
    view=[name for name in DevEnvironment.model_fields if name not in ("id", "token_hash", "failure")],
)
places = CountedCollection("Dev8Places", TakenPlace, bounded=True)
orphans = Collection("Dev8Orphans", Orphan, plain=True)
