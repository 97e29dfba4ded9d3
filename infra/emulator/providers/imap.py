"""IMAP: shows, marks and deletes the messages of the one account."""

import re
from datetime import datetime
from email import message_from_bytes

from infra.emulator.providers import KEY
from infra.emulator.providers.mailbox import USER, MailConnection, StoredMail, decoded


async def serve_imap(connection: MailConnection) -> None:
    """Serve IMAP4rev1: the commands that read, mark and delete messages."""
    servers, folder, is_known = connection.servers, "INBOX", False
    await connection.say("* OK stand-in IMAP4rev1")
    while True:
        line = await connection.hear()
        servers.commands.append(line)
        tag, _, command = line.partition(" ")
        verb, _, rest = command.partition(" ")
        verb = verb.upper()
        if verb == "UID":
            verb, _, rest = rest.partition(" ")
            verb = f"UID {verb.upper()}"
        here = [each for each in servers.stored if each.folder == folder]
        match verb:
            case "CAPABILITY":
                upgrade = " STARTTLS" if servers.tls and not servers.tls_first else ""
                await connection.say(f"* CAPABILITY IMAP4rev1 UIDPLUS AUTH=PLAIN{upgrade}")
            case "STARTTLS" if servers.tls:
                await connection.say(f"{tag} OK begin")
                await connection.upgrade()
                continue
            case "LOGIN" | "AUTHENTICATE":
                is_known = await _imap_login(connection, verb, rest)
                await connection.say(f"{tag} OK welcome" if is_known else f"{tag} NO [AUTHENTICATIONFAILED] wrong")
                continue
            case "LOGOUT":
                await connection.say(f"* BYE until then\r\n{tag} OK done")
                return
            case "NOOP":
                pass
            case _ if not is_known:
                await connection.say(f"{tag} NO log in first")
                continue
            case "SELECT" | "EXAMINE":
                wanted = _strings(rest)[0]
                if wanted not in ("INBOX", *(each.folder for each in servers.stored)):
                    await connection.say(f"{tag} NO there is no such folder")
                    continue
                folder = wanted
                await connection.say(f"* {sum(each.folder == folder for each in servers.stored)} EXISTS")
                await connection.say("* OK [UIDVALIDITY 1]")
            case "UID SEARCH":
                found = " ".join(str(each.uid) for each in here if _matches(each, rest))
                await connection.say(f"* SEARCH {found}".rstrip())
            case "UID FETCH":
                await _fetch(connection, here, rest)
            case "UID STORE":
                uids, _, flags = rest.partition(" ")
                for each in here:
                    if str(each.uid) in uids.split(","):
                        each.flags |= set(re.findall(r"\\\w+", flags))
            case "EXPUNGE" | "UID EXPUNGE":
                uids = rest.split(",") if verb.startswith("UID") else [str(each.uid) for each in here]
                gone = [each for each in here if r"\Deleted" in each.flags and str(each.uid) in uids]
                servers.stored[:] = [each for each in servers.stored if each not in gone]
            case _:
                await connection.say(f"{tag} BAD {verb} is not implemented by the emulator")
                continue
        await connection.say(f"{tag} OK done")


async def _imap_login(connection: MailConnection, verb: str, rest: str) -> bool:
    if verb == "LOGIN":
        return _strings(rest) == [USER, KEY]
    await connection.say("+ ")
    return decoded(await connection.hear()).split("\0")[1:] == [USER, KEY]


def _strings(text: str) -> list[str]:
    """Return the words of a command, quoted ones too."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|([^\s()]+)', text)
    return [re.sub(r"\\(.)", r"\1", quoted) or plain for quoted, plain in found]


def _matches(stored: StoredMail, criteria: str) -> bool:
    """Whether a message has all that is looked for: `ALL`, `TEXT`, `FROM` and `SINCE`."""
    words = iter(_strings(criteria))
    parsed = message_from_bytes(stored.data)
    text = f"{parsed['Subject']}\n{parsed.as_string()}".lower()
    for word in words:
        match word.upper():
            case "ALL":
                continue
            case "CHARSET":
                next(words)
            case "TEXT" if next(words).lower() not in text:
                return False
            case "FROM" if next(words).lower() not in str(parsed["From"]).lower():
                return False
            case "SINCE" if stored.received.date() < datetime.strptime(next(words), "%d-%b-%Y").date():
                return False
            case _:
                continue
    return True


async def _fetch(connection: MailConnection, here: list[StoredMail], rest: str) -> None:
    uids, _, parts = rest.partition(" ")
    for place, each in enumerate(here, 1):
        if str(each.uid) not in uids.split(","):
            continue
        is_header = "[HEADER]" in parts
        data = each.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if is_header else each.data
        if ".PEEK" not in parts:
            each.flags.add(r"\Seen")
        name = "BODY[HEADER]" if is_header else "BODY[]"
        size = 10**10 if connection.servers.behaviour == "flood" else len(data)
        about = f"UID {each.uid} FLAGS ({' '.join(sorted(each.flags))}) RFC822.SIZE {len(each.data)}"
        await connection.say(f"* {place} FETCH ({about} {name} {{{size}}}")
        while connection.servers.behaviour == "flood":
            await connection.say(b"x" * 65_536)
        await connection.say(data + b")")
