"""The categories of tools, in the order in which they are shown; each is a group that an agent can have, too."""

from typing import NamedTuple


class Category(NamedTuple):
    """What a page shows of a category; `source` is the part of the assistant that its tools belong to."""

    icon: str
    description: str
    source: str = "core"


CATEGORIES = {
    "core": Category("⚙️", "The time, arithmetic and identifiers"),
    "filesystem": Category("📁", "Files of a conversation: written, read and moved in its workspace"),
    "textUtils": Category("🔤", "Reading, changing and measuring texts"),
    "dateTime": Category("🕒", "Formatting dates and calculating with them"),
    "conversion": Category("🔁", "Units, currencies, encodings and formats"),
    "generation": Category("🎲", "Random numbers, texts, choices and passwords"),
    "other": Category("🧰", "Colors, comparisons, and short ways to keep something"),
    "tasks": Category("✅", "What there is to do, and by when", "personalData"),
    "extraction": Category("🔎", "Finding addresses and numbers in texts"),
    "listOps": Category("📋", "Sorting lists and drawing tables"),
    "validation": Category("☑️", "Checking addresses and patterns"),
    "mathStats": Category("📊", "Percentages, statistics and counts"),
    "bookmarks": Category("🔖", "Addresses that are kept", "personalData"),
    "memory": Category("🧠", "What is remembered about the user", "memory"),
    "goals": Category("🎯", "Goals and the steps towards them", "goals"),
    "customData": Category("🗃️", "Tables of the user's own", "customData"),
    "notes": Category("📝", "Texts that are kept", "personalData"),
    "calendar": Category("📅", "What takes place, and when", "personalData"),
    "customTools": Category("🛠️", "Tools that the user or the assistant has made", "custom"),
    "automation": Category("⏰", "What is done by itself: triggers and plans", "triggers"),
    "contacts": Category("👤", "The people whom the user knows", "personalData"),
    "plugins": Category("🧩", "What plugins bring: weather, news, e-mail, the web and more", "plugin"),
}
