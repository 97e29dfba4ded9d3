"""Sealing: what opens where, what never shows, and the renewal of seals when the key changes."""

import base64
import logging
import traceback
from collections.abc import Callable

import pytest

from shared import sealing
from shared.sealing import Context, SealBroken, SealingNotConfigured, seal, unseal
from shared.settings import LOCAL_SEALING_KEYS, Settings
from shared.tables import Collection, Record

PLACE = Context("Providers", "0197f0c2", "api_key")
SECRET = "sk-very-secret-value"


def key(letter: str, key_id: str | None = None) -> str:
    return f"{key_id or letter}:{base64.b64encode(letter.encode() * 32).decode()}"


class Provider(Record):
    name: str
    api_key: str | None = None
    token: str | None = None


class OlderProvider(Provider):
    limits: dict[str, int] = {}


class NewerProvider(Provider):
    limits: dict[str, int | None] = {}


listed = Collection("SealedListed", Provider, plain=True)
unlisted = Collection("SealedUnlisted", Provider, view=["name"])
sealing.declare(listed, "api_key", "token")
sealing.declare(unlisted, "api_key")

Use = Callable[..., None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    def use(keys: str = LOCAL_SEALING_KEYS, url: str = "") -> None:
        values = {"RUNYARD_SEALING_KEYS": keys, "RUNYARD_PUBLIC_URL": url}
        given = Settings.model_validate(values)
        monkeypatch.setattr(sealing, "settings", lambda: given)

    use()
    return use


class TestSeal:
    @pytest.mark.parametrize("text", ["", SECRET, "grüße 🔑", "half \ud83d", "x" * 100_000])
    def test_opens_where_it_was_sealed(self, use: Use, text: str):
        sealed = seal(text, PLACE)
        assert sealed.startswith("local:")
        assert not text or text not in sealed
        assert unseal(sealed, PLACE) == text

    def test_twice_gives_two_results(self, use: Use):
        assert seal(SECRET, PLACE) != seal(SECRET, PLACE)

    @pytest.mark.parametrize("place", [
        PLACE._replace(table="Other"), PLACE._replace(record="other"), PLACE._replace(field="token"),
        Context("Provider", "s0197f0c2", "api_key"),
    ])  # fmt: skip
    def test_does_not_open_anywhere_else(self, use: Use, place: Context):
        with pytest.raises(SealBroken, match="altered, or sealed for another place"):
            unseal(seal(SECRET, PLACE), place)

    def test_does_not_open_when_any_character_is_altered(self, use: Use):
        sealed = seal("or", PLACE)  # 30 bytes with nonce and tag: every bit of the base64 counts
        for place in range(len(sealed)):
            other = "A" if sealed[place] != "A" else "B"
            with pytest.raises(SealBroken):
                unseal(sealed[:place] + other + sealed[place + 1 :], PLACE)

    @pytest.mark.parametrize(
        "text", ["", "local", "local:", "local:AAAA", "local:ä", "plain text", ":", "local:" + "A" * 40]
    )
    def test_what_is_no_sealed_text_does_not_open(self, use: Use, text: str):
        with pytest.raises(SealBroken):
            unseal(text, PLACE)

    def test_the_first_key_seals_and_all_open(self, use: Use):
        use(key("a"))
        old = seal(SECRET, PLACE)
        use(f"{key('b')}, {key('a')}")
        assert unseal(old, PLACE) == SECRET
        assert seal(SECRET, PLACE).startswith("b:")
        use(key("b"))
        with pytest.raises(SealBroken, match="not sealed with a key"):
            unseal(old, PLACE)

    def test_another_key_of_the_same_id_does_not_open(self, use: Use):
        use(key("a", "same"))
        old = seal(SECRET, PLACE)
        use(key("b", "same"))
        with pytest.raises(SealBroken):
            unseal(old, PLACE)


class TestSettings:
    @pytest.mark.parametrize("keys", [
        "", ",", "a", f"{key('a')},", f"{key('a')},{key('b', 'a')}", "a:c2hvcnQ=", f"with space:{key('a')[2:]}",
        "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/sealing-keys)",
    ])  # fmt: skip
    def test_keys_that_are_none_are_refused(self, use: Use, keys: str):
        use(keys)
        for attempt in (lambda: seal(SECRET, PLACE), lambda: unseal("local:AAAA", PLACE)):
            with pytest.raises(SealingNotConfigured, match="RUNYARD_SEALING_KEYS"):
                attempt()

    def test_the_published_key_is_refused_in_azure(self, use: Use):
        published = LOCAL_SEALING_KEYS.partition(":")[2]
        for keys in (LOCAL_SEALING_KEYS, f"renamed:{published}", f"{key('a')},{LOCAL_SEALING_KEYS}"):
            use(keys, url="https://acme.example")
            with pytest.raises(SealingNotConfigured, match="published key"):
                seal(SECRET, PLACE)
        use(key("a"), url="https://acme.example")
        assert unseal(seal(SECRET, PLACE), PLACE) == SECRET

    def test_no_representation_shows_the_keys(self):
        config = Settings.model_validate({"RUNYARD_SEALING_KEYS": key("a")})
        assert key("a")[2:] not in f"{config!r} {config}"

    def test_no_traceback_shows_a_key_or_the_text(self, use: Use):
        use(key("a"))
        sealed = seal(SECRET, PLACE)
        shown = ""
        for keys, text in [(key("a"), sealed[:-6]), (key("b"), sealed), (key("a") + "x", sealed)]:
            use(keys)
            with pytest.raises((SealBroken, SealingNotConfigured)) as raised:
                unseal(text, PLACE)
            shown += "".join(traceback.format_exception(raised.value)) + repr(raised.value)
        for hidden in (SECRET, key("a")[2:], key("b")[2:], sealed[10:40]):
            assert hidden not in shown


class TestDeclare:
    @pytest.mark.parametrize("field", ["missing", "created_at", "id"])
    def test_only_text_fields_can_be_sealed(self, field: str):
        with pytest.raises(ValueError, match=field):
            sealing.declare(listed, field)

    async def test_a_collection_without_sealed_fields_is_refused(self, use: Use):
        plain = Collection("SealedNothing", Provider, plain=True)
        with pytest.raises(ValueError, match="declares no sealed fields"):
            await sealing.reseal(plain)


async def stored(collection: Collection[Provider], **secrets: str) -> Provider:
    """A stored record with these secrets, sealed with today's first key."""
    provider = Provider(name="n")
    for field, text in secrets.items():
        setattr(provider, field, seal(text, Context(collection.table, provider.id, field)))
    return await collection.insert(provider)


class TestReseal:
    @pytest.mark.parametrize("collection", [listed, unlisted], ids=["in lists", "not in lists"])
    async def test_what_an_old_key_sealed_is_sealed_with_the_first(
        self, account: None, use: Use, collection: Collection[Provider]
    ):
        collection = collection.of("renewal")
        use(key("a"))
        old = [await stored(collection, api_key=f"{SECRET}{number}") for number in range(3)]
        await collection.insert(Provider(name="without"))
        use(f"{key('b')},{key('a')}")
        new = await stored(collection, api_key=SECRET)
        assert await sealing.reseal(collection) == sealing.Resealed(3, 0)
        assert (await collection.get(new.id)).api_key == new.api_key
        use(key("b"))
        for number, record in enumerate(old):
            sealed = (await collection.get(record.id)).api_key
            assert sealed and unseal(sealed, Context(collection.table, record.id, "api_key")) == f"{SECRET}{number}"
        assert await sealing.reseal(collection) == sealing.Resealed(0, 0)

    async def test_one_that_fails_for_a_record_seals_the_others_and_a_repeat_seals_what_is_left(
        self, account: None, use: Use, monkeypatch: pytest.MonkeyPatch
    ):
        collection = listed.of("interrupted")
        use(key("a"))
        for _ in range(4):
            await stored(collection, api_key=SECRET)
        use(f"{key('b')},{key('a')}")
        update, calls = type(collection).update, 0

        async def fails_at_the_third(self: Collection[Provider], *arguments: object) -> Provider:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise ConnectionError
            return await update(self, *arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(type(collection), "update", fails_at_the_third)
            with pytest.raises(RuntimeError, match="1 records of SealedListed could not be sealed anew"):
                await sealing.reseal(collection)
        assert calls == 4
        assert await sealing.reseal(collection) == sealing.Resealed(1, 0)

    async def test_a_record_that_cannot_be_read_is_a_failure_and_not_passed_over(self, account: None, use: Use):
        use(key("a"))
        newer = Collection("SealedVersions", NewerProvider, plain=True)
        await newer.insert(NewerProvider(name="n", limits={"day": None}, api_key=seal(SECRET, PLACE)))
        older = Collection("SealedVersions", OlderProvider, plain=True)
        sealing.declare(older, "api_key")
        use(f"{key('b')},{key('a')}")
        assert [each async for each in older.all()] == []
        with pytest.raises(RuntimeError, match="1 records of SealedVersions could not be sealed anew"):
            await sealing.reseal(older)

    async def test_one_that_does_not_open_stays_and_stops_no_other(
        self, account: None, use: Use, caplog: pytest.LogCaptureFixture
    ):
        collection = listed.of("broken")
        use(key("a"))
        broken = await stored(collection, api_key=SECRET, token="t")
        whole = await stored(collection, api_key=SECRET)
        await collection.update(broken.id, lambda record: setattr(record, "token", whole.api_key))
        use(f"{key('b')},{key('a')}")
        with caplog.at_level(logging.WARNING, "shared.sealing"):
            assert await sealing.reseal(collection) == sealing.Resealed(2, 1)
        assert [record.getMessage() for record in caplog.records] == [
            f"not sealed anew: token of {broken.id} in SealedListed was altered, or sealed for another place"
        ]
        after = await collection.get(broken.id)
        assert after.token == whole.api_key
        assert after.api_key and after.api_key.startswith("b:")

    async def test_a_record_deleted_meanwhile_is_passed_over(
        self, account: None, use: Use, monkeypatch: pytest.MonkeyPatch
    ):
        collection = listed.of("deleted")
        use(key("a"))
        gone = await stored(collection, api_key=SECRET)
        use(f"{key('b')},{key('a')}")
        update = type(collection).update

        async def too_late(self: Collection[Provider], record_id: str, change: object) -> Provider:
            await self.delete(gone.id)
            return await update(self, record_id, change)  # type: ignore[arg-type]

        monkeypatch.setattr(type(collection), "update", too_late)
        assert await sealing.reseal(collection) == sealing.Resealed(0, 0)
