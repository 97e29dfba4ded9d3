"""Channels: made and changed, webhooks and their proofs, the inbox, answers of the assistant and of people."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.asyncio.client import connect

from functions.ownpilot.channels import calls, delivery
from functions.ownpilot.channels.adapters import Address
from functions.ownpilot.channels.answering import APOLOGY, ownpilot_channel_message
from functions.ownpilot.channels.calls import ChannelFailed
from functions.ownpilot.channels.configs import SlackConfig
from functions.ownpilot.channels.records import Channel, channel_of, channels
from functions.ownpilot.channels.records import inbox as messages
from functions.ownpilot.channels.slack import Slack
from infra.local.environment import Environment
from shared import outbound
from tests.shared.standin import Connection, Received, standing_in
from tests.support.channels import DiscordService, Sent, Service, SlackService, TelegramService, WebchatService
from tests.support.ownpilot import Chatting, OwnPilot, chatting, refused, script
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
def telegram(me: OwnPilot, stack: Environment) -> TelegramService:
    return TelegramService(me, stack.ports["providers"])


@pytest.fixture
def services(me: OwnPilot, stack: Environment) -> list[Service]:
    port = stack.ports["providers"]
    return [TelegramService(me, port), SlackService(me, port), DiscordService(me, port), WebchatService(me, port)]


async def inbox(me: OwnPilot, **query: Any) -> list[dict[str, Any]]:
    return (await me.get("/channels/messages/inbox", **query))["messages"]


async def answers(me: OwnPilot, count: int) -> list[dict[str, Any]]:
    """What went out, as soon as there is so much of it."""

    async def sent() -> list[dict[str, Any]]:
        found = await inbox(me)
        return [each for each in found if each["direction"] == "outgoing" and each["status"] in ("sent", "failed")]

    return await eventually(sent, until=lambda found: len(found) == count)


async def set_answers(stack: Environment, answers: dict[str, Any]) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.put(f"http://127.0.0.1:{stack.ports['providers']}/local/answers", json=answers)


class TestChannels:
    async def test_a_telegram_bot_is_connected_shown_changed_and_deleted(self, telegram: TelegramService):
        me = telegram.me
        made = await telegram.open(allowedChats=["-5"])
        assert (made["status"], made["error"], made["name"]) == ("connected", None, "My telegram")
        assert made["botInfo"]["username"] == f"bot_{telegram.token.partition(':')[0]}"
        assert made["config"]["allowedUsers"] == ["42"]
        assert made["webhookUrl"].endswith(f"/ownpilot/api/v1/channels/{made['id']}/webhook?userId={quote(me.user)}")
        assert (await telegram.received(made["webhookUrl"]))[-1]["body"]["allowed_updates"]
        changed = await me.data("PATCH", f"/channels/{made['id']}", json={"name": "Mine"})
        assert changed["name"] == "Mine" and changed["config"] == made["config"]
        changed = await me.data("PATCH", f"/channels/{made['id']}", json={"config": {"allowedChats": None}})
        assert changed["config"]["allowedChats"] == [] and changed["config"]["allowedUsers"] == ["42"]
        tested = await me.data("POST", f"/channels/{made['id']}/test")
        assert tested["success"] is True and tested["latencyMs"] >= 0
        listed = await me.get("/channels")
        assert [each["id"] for each in listed["channels"]] == [made["id"]]
        assert listed["summary"]["total"] == listed["summary"]["connected"] == 1
        assert listed["availableTypes"] == ["telegram", "discord", "slack", "webchat"]
        shown = json.dumps([made, changed, tested, listed, await me.get(f"/channels/{made['id']}")])
        assert telegram.token not in shown and telegram.secret not in shown
        stored = await channels.of(me.user).get(Channel.id_of(made["id"]))
        assert telegram.token.partition(":")[2] not in stored.model_dump_json()
        assert stored.secrets() == {"botToken": telegram.token, "webhookSecret": telegram.secret}
        gone = await me.data("DELETE", f"/channels/{made['id']}")
        assert gone == {"id": made["id"], "disconnected": True, "deleted": True}
        paths = [
            each["path"].rpartition("/")[2] for each in await telegram.received("") if telegram.token in each["path"]
        ]
        assert paths[-1] == "deleteWebhook"
        refused(await me.send("GET", f"/channels/{made['id']}"), 404, "NOT_FOUND")
        events = (await me.get("/audit", resourceId=made["id"]))["events"]
        assert {"channel.connect", "channel.disconnect"} <= {each["type"] for each in events}
        assert telegram.token not in json.dumps(events)

    async def test_a_telegram_bot_that_is_replaced_is_disconnected_and_no_longer_heard(self, telegram: TelegramService):
        await telegram.open()
        me, path = telegram.me, f"/channels/{telegram.id}"
        before = telegram.sent(telegram.message("before", number=1))
        assert (await telegram.deliver(before)).status_code == 200
        other = TelegramService(me, telegram.providers, telegram.id)
        changed = await me.data("PATCH", path, json={"config": {"botToken": other.token}})
        assert changed["botInfo"]["username"] == f"bot_{other.token.partition(':')[0]}"
        told = [each["path"] for each in await telegram.received("") if telegram.token in each["path"]]
        assert told[-1].endswith("/deleteWebhook")
        refused(await telegram.deliver(before), 401)
        other.secret = (await other.received(changed["webhookUrl"]))[-1]["body"]["secret_token"]
        assert (await other.bring("after", number=1)).status_code == 200
        found = [each["content"] for each in await inbox(me) if each["direction"] == "incoming"]
        assert found == ["after", "before"]
        rotated = f"{other.token.partition(':')[0]}:{'x' * 30}"
        await me.data("PATCH", path, json={"config": {"botToken": rotated}})
        assert (await other.bring("with another token", number=2)).status_code == 200

    async def test_one_that_cannot_be_connected_stays_and_says_why_without_its_token(self, me: OwnPilot):
        body = {"id": "bot", "type": "telegram", "name": "n", "config": {"botToken": "no-bot-of-telegram"}}
        answer = await me.send("POST", "/channels", json=body)
        assert "Not Found" in refused(answer, 500, "CONNECTION_FAILED")
        found = await me.get("/channels/bot")
        assert (found["status"], found["error"]) == ("error", "Telegram: Not Found")
        assert (await me.get("/channels"))["summary"]["disconnected"] == 1
        assert (await me.data("POST", "/channels/bot/test"))["success"] is False
        refused(await me.send("POST", "/channels", json=body), 409, "CHANNEL_EXISTS")
        private = {"botToken": "1:abc", "apiBase": "http://127.0.0.1:1"}
        answer = await me.send("PATCH", "/channels/bot", json={"config": private})
        message = refused(answer, 500, "CONNECTION_FAILED")
        assert "127.0.0.1" in message and "1:abc" not in message
        fixed = await me.data("PATCH", "/channels/bot", json={"config": {"apiBase": None}})
        assert (fixed["status"], fixed["error"]) == ("connected", None)

    @pytest.mark.parametrize(
        ("body", "named"),
        [({"type": "matrix", "config": {}}, "type"), ({"type": "telegram", "config": {}}, "config.botToken"),
         ({"type": "telegram", "config": {"botToken": "secret/../x"}}, "config.botToken"),
         ({"type": "discord", "config": {"botToken": "t", "publicKey": "xyz"}}, "config.publicKey"),
         ({"type": "slack", "config": {"botToken": "t", "allowedChannels": "C1"}}, "config.allowedChannels"),
         ({"type": "webchat", "config": {"webhookSecret": "short"}}, "config.webhookSecret"),
         ({"type": "webchat"}, "config"), ({"type": "webchat", "config": {}, "id": "a/b"}, "id")],
    )  # fmt: skip
    async def test_a_wrong_channel_is_refused(self, me: OwnPilot, body: dict[str, Any], named: str):
        message = refused(await me.send("POST", "/channels", json={"name": "n", **body}), 400, "INVALID_REQUEST")
        assert message.startswith(f"{named}:") and "secret/.." not in message
        assert (await me.get("/channels"))["channels"] == []

    async def test_slack_and_discord_are_asked_who_the_bot_is(self, services: list[Service]):
        _, slack, discord, _ = services
        assert (await slack.open())["botInfo"]["teamId"] == "T0STANDIN"
        assert (await discord.open())["botInfo"]["username"] == "stand-in"
        body = {"type": "slack", "name": "n", "config": {"botToken": "xoxp-wrong"}}
        assert "invalid_auth" in refused(await slack.me.send("POST", "/channels", json=body), 500, "CONNECTION_FAILED")
        gone = await slack.me.data("DELETE", f"/channels/{slack.id}")
        assert gone["disconnected"] is True


def forged(service: Service, body: dict[str, Any]) -> list[Sent]:
    """Requests that look like one of the service, and are not."""
    good, other = service.sent(body), type(service)(service.me, service.providers).sent(body)
    [name] = [name for name in good.headers if "Secret" in name or name.endswith(("Signature", "Ed25519"))]
    proof = good.headers[name]
    found = [
        Sent(good.body, {"Content-Type": "application/json"}),
        Sent(good.body, {**good.headers, name: ""}),
        Sent(good.body, {**good.headers, name: f"{proof[:-1]}{'0' if proof[-1] != '0' else '1'}"}),
        Sent(good.body, {**good.headers, name: f"{proof}0"}),
        Sent(good.body, {**other.headers, name: other.headers.get(name) or "x"}),
    ]
    if isinstance(service, SlackService | DiscordService):
        [stamp] = [each for each in good.headers if each.endswith("Timestamp")]
        found += [
            Sent(good.body + b" ", good.headers),
            Sent(good.body, {**good.headers, stamp: str(int(good.headers[stamp]) + 1)}),
            Sent(good.body, {**good.headers, stamp: "x"}),
        ]
    if isinstance(service, SlackService):
        for at in (time.time() - 301, time.time() + 310, 999_999_999_999):
            found.append(Sent(good.body, {**good.headers, **service.sign(good.body, at)}))
    return found


class TestWebhooks:
    async def test_a_forged_request_is_401_and_leaves_nothing(self, services: list[Service]):
        for service in services:
            await service.open()
            for number, sent in enumerate(forged(service, service.message("forged"))):
                answer = await service.deliver(sent)
                assert answer.status_code == 401, (service.type, number, answer.text)
                refused(answer, 401, "UNAUTHORIZED")
            assert (await service.bring("true")).status_code == 200
        found = [each["content"] for each in await inbox(services[0].me) if each["direction"] == "incoming"]
        assert found == ["true"] * len(services)

    async def test_a_channel_without_a_secret_takes_nothing(self, me: OwnPilot):
        for type_, config in (("slack", {"botToken": "xoxb-1"}), ("discord", {"botToken": "t"}), ("webchat", {})):
            made = await me.post("/channels", type=type_, name="n", config=config)
            headers = {"X-Webhook-Secret": "", "X-Slack-Request-Timestamp": "1", "X-Signature-Timestamp": "1"}
            refused(await me.send("POST", f"/channels/{made['id']}/webhook", json={}, headers=headers), 401)

    def test_slacks_own_example_is_verified(self):
        """The request in Slack's page `Verifying requests from Slack`."""
        body = (
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
            b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
            b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
            b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
        )
        slack = Slack(SlackConfig(bot_token="xoxb-1", signing_secret="8f742231b10e8888abcd99yyyzzz85a5"))
        headers = {
            "x-slack-request-timestamp": "1531420618",
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        }
        now = datetime.fromtimestamp(1531420618, UTC)
        assert slack.verify(headers, body, now) and not slack.verify(headers, body + b"x", now)

    async def test_a_repeat_changes_nothing_and_the_order_does_not_matter(self, services: list[Service]):
        me = services[0].me
        for service in services:
            await service.open()
            bodies = [service.message(f"{service.type} {n}", number=n) for n in (3, 1, 2)]
            requests = [service.sent(body) for body in bodies]
            for sent in requests:
                assert (await service.deliver(sent)).status_code == 200
            again = await asyncio.gather(*(service.deliver(requests[0]) for _ in range(3)))
            assert {answer.status_code for answer in again} == {200}
            if service.type != "discord":
                assert len({answer.json()["data"]["messageId"] for answer in again}) == 1
        found = [each["content"] for each in await inbox(me) if each["direction"] == "incoming"]
        assert sorted(found) == sorted(f"{service.type} {n}" for service in services for n in (1, 2, 3))

    async def test_services_get_the_bare_answers_that_they_want(self, services: list[Service]):
        _, slack, discord, _ = services
        await slack.open()
        await discord.open()
        answer = await slack.deliver(slack.sent({"type": "url_verification", "challenge": "3eZb"}))
        assert (answer.status_code, answer.text) == (200, "3eZb")
        assert (await discord.deliver(discord.sent({"type": 1}))).json() == {"type": 1}
        assert (await discord.bring("x")).json() == {"type": 5}
        body = discord.message("x")
        foreign = await discord.deliver(discord.sent({**body, "id": "77", "guild_id": "2"}))
        assert (foreign.json()["type"], foreign.json()["data"]["flags"]) == (4, 64)

    async def test_what_is_no_message_is_taken_or_refused_but_never_a_fault(self, services: list[Service]):
        telegram, slack, discord, webchat = services
        for service in services:
            await service.open()
            for data in (b"{", b"[]", b"1", b"\xff", b'{"a":' * 500 + b"1" + b"}" * 500):
                answer = await service.deliver(Sent(data, service.sign(data)))
                assert answer.status_code in (200, 400), (service.type, data[:9], answer.text)
            big = await service.deliver(Sent(b" " * 1_100_000, service.sign(b"")))
            refused(big, 413)
        for service, body in (
            (telegram, {"update_id": 1, "poll": {}}), (telegram, {"update_id": 1, "message": {"chat": {"id": 1}}}),
            (slack, {"type": "event_callback", "event": {"type": "message", "bot_id": "B1", "text": "x"}}),
            (slack, {"type": "event_callback", "event": {"type": "message", "subtype": "channel_join"}}),
        ):  # fmt: skip
            answer = await service.deliver(service.sent(body))
            assert answer.json()["data"] == {"received": True}
        for service, body in (
            (telegram, {"update_id": "x", "message": {"text": "x", "chat": {"id": 1}, "message_id": 1}}),
            (telegram, {"message": {"text": "x"}}), (webchat, {"content": "x"}), (webchat, {"id": 1, "sender": 7}),
            (webchat, {"id": None, "content": "x"}), (webchat, {"id": "", "content": "x"}),
            (webchat, {"id": [1], "content": "x"}), (webchat, {"id": 1, "content": None}),
            (webchat, {"id": 1, "content": " "}), (webchat, {"id": 1, "content": {"text": "x"}}),
            (webchat, {"id": 1, "content": "x", "sender": {"id": True}}),
            (webchat, {"id": 1, "content": "x", "chatId": ["x"]}),
            (slack, {"type": "event_callback", "event": {"type": "message", "text": "x"}}),
            (discord, {"type": 3}), (discord, {"type": 2}),
        ):  # fmt: skip
            refused(await service.deliver(service.sent(body)), 400, "BAD_REQUEST")
        assert await inbox(telegram.me) == []

    async def test_files_captions_edits_and_buttons_of_telegram_are_messages_too(self, telegram: TelegramService):
        await telegram.open(allowedUsers=[1])
        base = telegram.message("")["message"]
        photo = {"photo": [{"file_id": "s"}, {"file_id": "l", "file_size": 9}], "caption": "Look"}
        updates = [
            {"update_id": 1, "message": base | {"text": None} | photo},
            {"update_id": 2, "message": base | {"text": None, "voice": {"file_id": "v", "mime_type": "audio/ogg"}}},
            {"update_id": 3, "edited_message": base | {"text": "Edited", "edit_date": base["date"] + 5}},
            {"update_id": 4, "callback_query": {"id": "1", "data": "yes", "message": base, "from": base["from"]}},
        ]
        for update in updates:
            assert (await telegram.deliver(telegram.sent(update))).json()["data"]["messageId"]
        pressed, edited, voice, picture = await inbox(telegram.me)
        assert [each["content"] for each in (pressed, edited, voice, picture)] == ["yes", "Edited", "", "Look"]
        assert picture["attachments"][0] | {"name": None} == {
            "type": "photo", "fileId": "l", "name": None, "mimeType": None, "size": 9,
        }  # fmt: skip
        assert voice["attachments"][0]["type"] == "voice"
        assert picture["sender"] == {"id": "42", "name": "Ann Lee"} and not picture["isAllowed"]
        assert picture["timestamp"] < edited["timestamp"] < datetime.now(UTC).isoformat()

    async def test_a_message_of_any_length_is_taken_and_its_beginning_kept(self, telegram: TelegramService):
        await telegram.open()
        long = telegram.message("x" * 200_000)
        long["message"]["document"] = {"file_id": "f", "file_name": "n" * 100_000, "mime_type": ["m" * 100_000]}
        assert (await telegram.deliver(telegram.sent(long))).status_code == 200
        [kept] = await inbox(telegram.me)
        assert kept["content"] == "x" * 20_000 + "... (the message is longer)"
        assert len(json.dumps(kept["attachments"])) < 1000


@pytest.fixture
async def talker(http: httpx.AsyncClient, stack: Environment) -> Chatting:
    """A person whose assistant has a provider."""
    return await chatting(http, stack.ports["providers"])


class TestAnswers:
    async def test_allowed_senders_are_answered_once_by_every_service(self, talker: Chatting, stack: Environment):
        port = stack.ports["providers"]
        services = TelegramService(talker, port), SlackService(talker, port), DiscordService(talker, port)
        telegram, slack, discord = services
        for service in services:
            await service.open()
        said = {each.type: f"**{each.type} {each.id}** says 1 < 2" for each in services}
        sent = [each.sent(each.message(script([said[each.type]]))) for each in services]
        for service, request in zip(services, sent, strict=True):
            for _ in range(2):
                assert (await service.deliver(request)).status_code == 200
        await telegram.bring(script(["Never said"]), chat=43)
        found = await answers(talker, 3)
        assert {each["content"] for each in found} == set(said.values())
        assert {(each["status"], each["attempts"], each["read"]) for each in found} == {("sent", 1, True)}
        [given] = await telegram.sent_to_it(f"telegram {telegram.id}</b>")
        assert given["body"]["text"] == f"<b>telegram {telegram.id}</b> says 1 &lt; 2"
        assert given["body"]["reply_parameters"]["message_id"] == 7 and given["body"]["chat_id"] == "42"
        [given] = await slack.sent_to_it(f"*slack {slack.id}*")
        assert given["body"]["text"].endswith("says 1 &lt; 2") and given["body"]["channel"] == "C1"
        assert given["body"]["thread_ts"] == json.loads(sent[1].body)["event"]["ts"]
        [given] = await discord.sent_to_it(f"**discord {discord.id}**")
        assert given["path"].endswith("/messages/@original") and given["body"]["allowed_mentions"] == {"parse": []}
        asked = {each["id"]: each for each in await inbox(talker) if each["direction"] == "incoming"}
        assert {each["replyToId"] for each in found} == {id_ for id_, each in asked.items() if each["replied"]}
        [stranger] = [each for each in asked.values() if not each["replied"]]
        assert (stranger["isAllowed"], stranger["chatId"]) == (False, "43")
        left = (await talker.get("/channels/messages/inbox", filter="unanswered"))["messages"]
        assert [each["id"] for each in left] == [stranger["id"]]

    async def test_each_chat_has_a_conversation_of_its_own(self, talker: Chatting, stack: Environment):
        telegram = TelegramService(talker, stack.ports["providers"])
        await telegram.open(allowedUsers=["*"])
        await telegram.bring("I am one", chat=1)
        await answers(talker, 1)
        await telegram.bring("I am two", chat=2)
        await telegram.bring("One again", chat=1)
        await answers(talker, 3)
        listed = (await talker.get("/chat/history"))["conversations"]
        assert sorted((each["title"], each["messageCount"]) for each in listed) == [("I am one", 4), ("I am two", 2)]

    async def test_nobody_is_answered_until_a_list_says_who(self, talker: Chatting, stack: Environment):
        telegram = TelegramService(talker, stack.ports["providers"])
        await telegram.open(allowedUsers=[])
        id_ = (await telegram.bring("Hello?")).json()["data"]["messageId"]
        await ownpilot_channel_message({"owner": talker.user, "message": id_})
        [found] = await inbox(talker)
        assert (found["isAllowed"], found["replied"]) == (False, False)

    async def test_a_failure_of_the_model_is_told_to_the_sender_and_noted(self, talker: Chatting, stack: Environment):
        telegram = TelegramService(talker, stack.ports["providers"])
        await telegram.open()
        await telegram.bring(script([{"error": 400, "message": "no such thing"}]))
        [answer] = await answers(talker, 1)
        assert answer["content"] == APOLOGY
        [asked] = [each for each in await inbox(talker) if each["direction"] == "incoming"]
        assert "no such thing" in asked["error"]

    async def test_what_was_interrupted_goes_on_and_the_model_is_not_asked_again(
        self, talker: Chatting, stack: Environment
    ):
        telegram = TelegramService(talker, stack.ports["providers"])
        await telegram.open()
        path = f"/telegram/bot{telegram.token}/sendMessage"
        await set_answers(stack, {path: {"status": 503, "text": "{}"}})
        try:
            prompt = script([f"An answer to {telegram.id}"])
            id_ = (await telegram.bring(prompt)).json()["data"]["messageId"]
            [failed] = await answers(talker, 1)
            assert (failed["status"], failed["error"]) == ("failed", "Telegram: status 503")
            with pytest.raises(ChannelFailed):
                await ownpilot_channel_message({"owner": talker.user, "message": id_})
        finally:
            await set_answers(stack, {})
        for _ in range(2):
            await ownpilot_channel_message({"owner": talker.user, "message": id_})
        [sent] = [each for each in await inbox(talker) if each["direction"] == "outgoing"]
        assert sent["id"] == failed["id"] and sent["status"] == "sent" and sent["attempts"] >= 3
        got = [each["path"] for each in await telegram.received(f"An answer to {telegram.id}")]
        assert got.count(path) == 1
        assert len([each for each in got if each.endswith("/chat/completions")]) == 1

    async def test_a_late_answer_to_a_command_of_discord_is_a_message(self, talker: Chatting, stack: Environment):
        discord = DiscordService(talker, stack.ports["providers"])
        await discord.open()
        await discord.bring(script([f"Late, {discord.id}"]), token="expired-1")
        await answers(talker, 1)
        paths = [each["path"].rpartition("v10")[2] for each in await discord.sent_to_it(f"Late, {discord.id}")]
        assert paths[-1] == "/channels/5/messages"

    async def test_a_long_answer_comes_in_parts(self, talker: Chatting, stack: Environment):
        telegram = TelegramService(talker, stack.ports["providers"])
        await telegram.open()
        text = "\n\n".join(f"{telegram.id} paragraph {n} " + "word " * 100 for n in range(20))
        await telegram.bring(script([text]))
        await answers(talker, 1)
        got = await telegram.sent_to_it(f"{telegram.id} paragraph")
        assert len(got) == 3 and [("reply_parameters" in each["body"]) for each in got] == [True, False, False]


class TestInbox:
    async def test_messages_are_filtered_counted_and_read(self, services: list[Service]):
        me, (telegram, _, _, webchat) = services[0].me, services
        await telegram.open()
        await webchat.open()
        ids = [(await each.bring("Hello", chat=1)).json()["data"]["messageId"] for each in (telegram, webchat, webchat)]
        found = await me.get("/channels/messages/inbox")
        assert [each["id"] for each in found["messages"]] == ids[::-1]
        assert (found["total"], found["unreadCount"]) == (3, 3)
        assert await me.data("POST", f"/channels/messages/{ids[1]}/read") == {"messageId": ids[1], "read": True}
        found = await me.get("/channels/messages/inbox", filter="unread", channelType="webchat", limit=1)
        assert (found["total"], found["unreadCount"]) == (1, 2) and found["messages"][0]["id"] == ids[2]
        assert (await me.get("/channels/messages/inbox", channelType="webchat"))["total"] == 2
        assert (await me.get("/channels/messages/inbox", channelType="", filter=""))["total"] == 3
        for name in ("filter", "channelType"):
            wrong = await me.send("GET", "/channels/messages/inbox", params={name: "odd"})
            assert refused(wrong, 400, "INVALID_REQUEST").startswith(f"{name}: ")
        stranger = OwnPilot(me.http)
        refused(await stranger.send("POST", f"/channels/messages/{ids[0]}/read"), 404, "NOT_FOUND")
        refused(await stranger.send("POST", f"/channels/{telegram.id}/webhook"), 404, "NOT_FOUND")

    async def test_people_answer_and_send_themselves(self, services: list[Service]):
        me, (telegram, slack, discord, webchat) = services[0].me, services
        for service in services:
            await service.open()
        for service in (telegram, slack, discord, webchat):
            given = {"team": "T9"} if service is slack else {"chat": 99}
            body = service.message("Hello", **given) | ({"guild_id": "9"} if service is discord else {})
            await service.deliver(service.sent(body))
        for message in await inbox(me):
            text = f"*Hi* & {message['channelId']}"
            done = await me.post(f"/channels/messages/{message['id']}/reply", content=text)
            assert (done["replied"], done["channelId"]) == (True, message["channelId"]) and done["sentMessageId"]
        assert (await me.get("/channels/messages/inbox", filter="unanswered"))["total"] == 0
        assert (await me.get("/channels/messages/inbox"))["unreadCount"] == 0
        assert [each["body"]["text"] for each in await slack.received(slack.id)] == [f"_Hi_ &amp; {slack.id}"]
        sent = await me.post(f"/channels/{telegram.id}/send", content=f"News of {telegram.id}")
        assert sent["sent"] is True and sent["messageId"]
        [given] = await telegram.received(f"News of {telegram.id}")
        assert given["body"] == {"chat_id": "42", "text": f"News of {telegram.id}", "parse_mode": "HTML"}
        refused(await me.send("POST", f"/channels/{slack.id}/send", json={"content": "x"}), 400, "INVALID_REQUEST")
        [newest, *_] = await inbox(me)
        refused(await me.send("POST", f"/channels/messages/{newest['id']}/reply", json={"content": "x"}), 400)
        events = (await me.get("/audit", types="channel.message_send"))["events"]
        assert len(events) == 5

    async def test_a_repeated_request_with_a_key_sends_once(self, telegram: TelegramService):
        await telegram.open()
        text, headers = f"Once, {telegram.id}", {"Idempotency-Key": telegram.id}
        for _ in range(2):
            answer = await telegram.me.send(
                "POST", f"/channels/{telegram.id}/send", json={"content": text}, headers=headers
            )
            assert answer.status_code == 200
        assert len(await telegram.received(text)) == 1

    async def test_a_service_that_refuses_is_502_and_the_message_is_kept(
        self, telegram: TelegramService, stack: Environment
    ):
        me = telegram.me
        await telegram.open()
        id_ = (await telegram.bring("Hello", chat=99)).json()["data"]["messageId"]
        said = json.dumps({"ok": False, "error_code": 403, "description": f"Forbidden for {telegram.token}"})
        await set_answers(stack, {f"/telegram/bot{telegram.token}/sendMessage": {"status": 403, "text": said}})
        try:
            for path in (f"/channels/messages/{id_}/reply", f"/channels/{telegram.id}/send"):
                answer = await me.send("POST", path, json={"content": "Hi", "chatId": "99"})
                assert refused(answer, 502, "SEND_FAILED") == "Telegram: Forbidden for ..."
        finally:
            await set_answers(stack, {})
        found = await inbox(me)
        assert [(each["status"], each["content"]) for each in found] == [
            ("failed", "Hi"), ("failed", "Hi"), ("received", "Hello"),
        ]  # fmt: skip
        assert found[2]["replied"] is False
        for path in ("reply", "read"):
            refused(await me.send("POST", f"/channels/messages/nothing/{path}", json={"content": "x"}), 404)

    async def test_sockets_and_the_audit_log_are_told(self, services: list[Service], stack: Environment):
        webchat, me = services[3], services[3].me
        await webchat.open()
        address = f"ws://127.0.0.1:{stack.ports['host']}/ownpilot/ws?userId={quote(me.user)}"
        async with connect(address, proxy=None) as socket, asyncio.timeout(60):
            assert json.loads(await socket.recv())["type"] == "connection:ready"
            number = 0
            told: dict[str, Any] = {}
            while not told:  # the socket joins its person's group after the greeting
                await webchat.bring(f"Message {(number := number + 1)}")
                try:
                    async with asyncio.timeout(3):
                        told = json.loads(await socket.recv())
                except TimeoutError:
                    continue
        assert told["type"] == "channel:message"
        assert (told["payload"]["channelId"], told["payload"]["direction"]) == (webchat.id, "incoming")
        found = await eventually(
            lambda: me.get("/audit", types="channel.message_receive"), until=lambda it: it["events"]
        )
        event = found["events"][0]
        assert event["resource"]["id"] == webchat.id and event["actor"]["id"] == "v1"

    async def test_triggers_may_wait_for_a_message(self, services: list[Service]):
        webchat, me = services[3], services[3].me
        await webchat.open()
        made = await me.post(
            "/triggers", name="n", type="event", action={"type": "notification", "payload": {"message": "m"}},
            config={"eventType": "channel_message", "filters": {"channelId": webchat.id, "senderName": "Vi"}},
        )  # fmt: skip
        sent = webchat.sent(webchat.message("Hello"))
        for _ in range(2):
            await webchat.deliver(sent)
        path = f"/triggers/{made['trigger']['id']}/history"
        assert await eventually(lambda: me.get(path), until=lambda found: found["history"])
        assert (await me.get(path))["count"] == 1

    async def test_a_deleted_channel_leaves_its_messages(self, services: list[Service]):
        webchat, me = services[3], services[3].me
        await webchat.open()
        id_ = (await webchat.bring("Hello")).json()["data"]["messageId"]
        await me.data("DELETE", f"/channels/{webchat.id}")
        assert [each["id"] for each in await inbox(me)] == [id_]
        answer = await me.send("POST", f"/channels/messages/{id_}/reply", json={"content": "x"})
        assert "no channel" in refused(answer, 404, "NOT_FOUND")


class TestServices:
    async def test_an_answer_that_is_not_understood_is_told_and_nothing_waits_for_it(
        self, services: list[Service], stack: Environment
    ):
        telegram, slack, *_ = services
        me = telegram.me
        assert isinstance(telegram, TelegramService)
        await telegram.open()
        await slack.open()
        bot, odd = f"/telegram/bot{telegram.token}", {"status": 200, "text": '{"ok": true, "result": true}'}
        none = {"status": 200, "text": '{"ok": true}'}
        strange = {f"{bot}/getMe": odd, f"{bot}/sendMessage": odd}
        await set_answers(stack, strange | {"/slack/api/auth.test": none, "/slack/api/chat.postMessage": none})
        try:
            for service in (telegram, slack):
                path = f"/channels/{service.id}"
                answer = await me.send("POST", f"{path}/send", json={"content": "x", "chatId": "1"})
                assert "is not understood" in refused(answer, 502, "SEND_FAILED")
                assert "is not understood" in (await me.data("POST", f"{path}/test"))["message"]
                assert (await me.get(path))["status"] == "error"
        finally:
            await set_answers(stack, {})
        assert [each["status"] for each in await inbox(me)] == ["failed", "failed"]

    async def test_what_a_killed_host_was_sending_or_connecting_has_failed_after_a_while(
        self, services: list[Service], monkeypatch: pytest.MonkeyPatch
    ):
        *_, webchat = services
        await webchat.open()
        channel = await channel_of(webchat.me.user, webchat.id)
        message = delivery.outgoing(webchat.me.user, channel, "v1", "Cut off")
        channel = channel.model_copy(update={"status": "connecting"})
        assert (delivery.shown(message)["status"], channel.state[0]) == ("sending", "connecting")
        message.updated_at -= delivery.GIVEN_UP
        channel.created_at -= timedelta(minutes=1)
        shown = delivery.shown(message)
        assert shown["status"] == "failed" and "interrupted" in shown["error"]
        assert channel.state == ("error", "Connecting was interrupted: test the channel")

    async def test_one_that_answers_byte_by_byte_is_given_up(self, monkeypatch: pytest.MonkeyPatch):
        async def drip(received: Received, connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                await connection.send(b" ")
                await asyncio.sleep(0.05)

        monkeypatch.setattr(calls, "PATIENCE", 0.3)
        async with standing_in(drip) as standin:
            with pytest.raises(ChannelFailed, match="takes too long"):
                await calls.call("GET", standin.url, user_given=False)
        await outbound.close()

    @pytest.mark.parametrize("token", ["ab=", "a:b@c$d/e f%é"])
    async def test_no_error_shows_the_token_of_a_command(self, token: str):
        async def break_off(received: Received, connection: Connection) -> None:
            connection.writer.close()

        secret = f"99/{quote(token, safe='')}"
        async with standing_in(break_off) as standin:
            with pytest.raises(ChannelFailed, match=r"/webhooks/\.\.\./messages:"):
                await calls.call("POST", f"{standin.url}/webhooks/{secret}/messages", user_given=False, secret=secret)
        await outbound.close()

    async def test_the_parts_that_were_not_sent_in_time_are_sent_by_the_next_call(
        self, services: list[Service], monkeypatch: pytest.MonkeyPatch
    ):
        *_, webchat = services
        await webchat.open()
        owner = webchat.me.user
        channel = await channel_of(owner, webchat.id)
        message = await messages.of(owner).insert(delivery.outgoing(owner, channel, "v1", "Late"))
        with monkeypatch.context() as patched:
            patched.setattr(delivery, "PATIENCE", -1)
            with pytest.raises(ChannelFailed, match="0 of 1 parts"):
                await delivery.deliver(owner, channel, message, Address("v1"))
        [failed] = await inbox(webchat.me)
        assert failed["status"] == "failed" and "0 of 1 parts" in failed["error"]
        assert (await delivery.deliver(owner, channel, message, Address("v1"))).status == "sent"
