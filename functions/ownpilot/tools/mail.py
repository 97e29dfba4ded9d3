"""The tools of the plugin that sends and reads e-mail."""

from datetime import UTC
from email.message import EmailMessage
from email.utils import formataddr, formatdate, getaddresses, make_msgid
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools import smtp
from functions.ownpilot.tools.imap import in_mailbox
from functions.ownpilot.tools.mail_server import mail_server
from functions.ownpilot.tools.page_text import plain_text
from functions.ownpilot.tools.parameters import Text
from functions.ownpilot.tools.plugin_tool import plugin_settings, plugin_tool
from functions.ownpilot.tools.records import Limit, When, present
from functions.ownpilot.tools.validation import problem_of

if TYPE_CHECKING:
    from imap_tools import BaseMailBox, MailMessage

T = TypeVar("T")

PLUGIN = "email-assistant"
INBOX = "INBOX"
MAX_RECIPIENTS = 50
MAX_MESSAGE = 10_000_000
"""Bytes of an e-mail that is read."""

MAX_TEXT = 50_000
"""Characters of an e-mail that are shown."""

_LINE = r"^[^\x00-\x1f\x7f\x85\u2028\u2029]*$"  # nothing that could end a line of the protocol or of a header
Line = Annotated[str, Field(max_length=500, pattern=_LINE)]
Addresses = Annotated[
    str, Field(max_length=5000, pattern=_LINE, description="One address or several, separated by commas")
]
Folder = Annotated[str, Field(min_length=1, max_length=200, pattern=_LINE, description="Such as INBOX or Sent")]
Uid = Annotated[int, Field(ge=1, lt=2**32, description="The number that lists give to an e-mail")]


@plugin_tool(PLUGIN, tags=("mail", "write", "message"))
async def email_send(
    context: ToolContext,
    to: Addresses,
    subject: Line,
    body: Text,
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    html: Annotated[bool, Field(description="Whether the body is HTML")] = False,
) -> dict[str, Any]:
    """Send an e-mail from the user's account."""
    server = await mail_server(context.owner, "smtp")
    if problem_of(server.sender):
        raise ToolError("The config service smtp needs from_address, as its user is no e-mail address.")
    parts = {"To": _recipients("to", to), "Cc": _recipients("cc", cc), "Bcc": _recipients("bcc", bcc)}
    recipients = [*dict.fromkeys(address for part in parts.values() for _, address in part)]
    if not parts["To"] or len(recipients) > MAX_RECIPIENTS:
        raise ToolError(f"to: there must be a recipient, and {MAX_RECIPIENTS} at most in all")
    message = EmailMessage()
    message["From"], message["Subject"], message["Date"] = server.sender, subject, formatdate()
    message["Message-ID"] = make_msgid(domain=server.sender.rpartition("@")[2])
    for name in ("To", "Cc"):
        if parts[name]:
            message[name] = ", ".join(map(formataddr, parts[name]))
    if html:
        message.set_content(plain_text(body))
        message.add_alternative(body, subtype="html")
    else:
        signature = (await plugin_settings(context.owner, PLUGIN))["signature"]
        message.set_content(f"{body}\n\n-- \n{signature}" if signature else body)
    refused = await smtp.send(server, message, recipients)
    sent = [each for each in recipients if each not in refused]
    return {"sent": sent, "messageId": message["Message-ID"]} | ({"refused": refused} if refused else {})


def _recipients(parameter: str, given: str | None) -> list[tuple[str, str]]:
    """Return names and addresses. `ToolError`."""
    found = [(name, address) for name, address in getaddresses([(given or "").replace(";", ",")]) if name or address]
    if given and given.strip() and not found:
        raise ToolError(f"{parameter}: this is not an e-mail address")
    for name, address in found:
        if (problem := problem_of(address)) or not name.isprintable():
            raise ToolError(f"{parameter}: {address[:100]!r} is not an e-mail address ({problem or 'its name'})")
    return found


@plugin_tool(PLUGIN, tags=("mail", "inbox", "messages"))
async def email_read(context: ToolContext, folder: Folder = INBOX, limit: Limit = 10) -> dict[str, Any]:
    """List the newest e-mails of a folder, the newest first, without their texts; they stay unread."""
    return await _listed(context.owner, folder, "ALL", limit)


@plugin_tool(PLUGIN, tags=("mail", "inbox", "find"))
async def email_search(
    context: ToolContext,
    query: Annotated[Line, Field(description="A text in headers or body; empty: any")],
    folder: Folder = INBOX,
    from_: Annotated[Line | None, Field(description="A part of the sender")] = None,
    since: When = None,
    limit: Limit = 10,
) -> dict[str, Any]:
    """Find e-mails in a folder, the newest first, without their texts."""
    from imap_tools import AND

    wanted = present(text=query or None, from_=from_ or None, date_gte=since and since.date())
    return await _listed(context.owner, folder, str(AND(**wanted)) if wanted else "ALL", limit)


async def _listed(owner: str, folder: str, criteria: str, limit: int) -> dict[str, Any]:
    def work(mailbox: "BaseMailBox") -> dict[str, Any]:
        uids = mailbox.uids(criteria, None if criteria.isascii() else "UTF-8")
        newest = sorted(map(int, uids))[-limit:]
        found = _fetched(mailbox, newest, headers_only=True) if newest else []
        return {"emails": [_shown(each) for each in reversed(found)], "total": len(uids)}

    return await in_mailbox(await mail_server(owner, "imap"), folder, work)


@plugin_tool(PLUGIN, tags=("mail", "open", "text", "attachments"))
async def email_get_content(context: ToolContext, uid: Uid, folder: Folder = INBOX) -> dict[str, Any]:
    """Read the text of an e-mail, and the names of what is attached to it; it stays unread."""

    def work(mailbox: "BaseMailBox") -> dict[str, Any]:
        size = _one(mailbox, uid, headers_only=True).size_rfc822
        if size > MAX_MESSAGE:
            raise ToolError(f"The e-mail has {size} bytes; at most {MAX_MESSAGE} are read.")
        message = _one(mailbox, uid, headers_only=False)
        text = _read(message, "text", "").strip() or plain_text(_read(message, "html", ""))
        attached = [
            {"name": name, "type": each.content_type, "bytes": _read(each, "size", 0)}
            for each in _read(message, "attachments", [])
            if (name := _read(each, "filename", "attachment"))
        ]
        left = len(text) - MAX_TEXT
        shown = {"cc": [*_read(message, "cc", ())], "text": text[:MAX_TEXT], "attachments": attached}
        return _shown(message) | shown | ({"charactersLeftOut": left} if left > 0 else {})

    return await in_mailbox(await mail_server(context.owner, "imap"), folder, work)


@plugin_tool(PLUGIN, tags=("mail", "remove"))
async def email_delete(context: ToolContext, uid: Uid, folder: Folder = INBOX) -> str:
    """Delete an e-mail for good."""

    def work(mailbox: "BaseMailBox") -> str:
        subject = _subject(_one(mailbox, uid, headers_only=True))
        # The library's own way removes what other programs have marked, too; so does EXPUNGE where UIDPLUS is missing.
        client = mailbox.client
        done = [client.uid("STORE", str(uid), "+FLAGS", r"(\Deleted)")]
        done.append(client.uid("EXPUNGE", str(uid)) if "UIDPLUS" in client.capabilities else client.expunge())
        if any(status != "OK" for status, _ in done):
            raise ToolError("The mail server does not delete this e-mail.")
        return f"The e-mail {subject[:200]!r} was deleted."

    return await in_mailbox(await mail_server(context.owner, "imap"), folder, work)


def _fetched(mailbox: "BaseMailBox", uids: list[int], *, headers_only: bool) -> "list[MailMessage]":
    """Return e-mails by their numbers, in the order of these."""
    given = [*mailbox.fetch(uid_list=[*map(str, uids)], mark_seen=False, headers_only=headers_only, bulk=True)]
    return sorted((each for each in given if each.uid), key=lambda each: int(each.uid or 0))


def _one(mailbox: "BaseMailBox", uid: int, *, headers_only: bool) -> "MailMessage":
    for each in _fetched(mailbox, [uid], headers_only=headers_only):
        if each.uid == str(uid):
            return each
    raise ToolError(f"There is no e-mail with the number {uid} in this folder.")


def _shown(message: "MailMessage") -> dict[str, Any]:
    return {
        "uid": int(message.uid or 0), "from": _read(message, "from_", "")[:500], "to": [*_read(message, "to", ())],
        "subject": _subject(message)[:500], "date": _date(message),
        "read": r"\Seen" in message.flags, "bytes": message.size_rfc822,
    }  # fmt: skip


def _subject(message: "MailMessage") -> str:
    return _read(message, "subject", str(message.obj["Subject"]))


def _date(message: "MailMessage") -> str | None:
    at = message.date
    try:
        return iso(at if at.tzinfo else at.replace(tzinfo=UTC)) if at.year > 1900 else None
    except OverflowError:  # the zone moves it before the first year or after the last one
        return None


def _read(of: Any, name: str, otherwise: T) -> T:
    """Return what the library reads of an e-mail; it fails in many ways over what is malformed."""
    try:
        return getattr(of, name)
    except Exception:
        return otherwise
