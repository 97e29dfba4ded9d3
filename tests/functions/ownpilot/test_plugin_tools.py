"""The tools of plugins that need nothing from outside: what each answers, and what it refuses."""

import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.ownpilot.core.pomodoro_sessions import sessions
from functions.ownpilot.tools import code, feeds, mail, outside, reminders
from functions.ownpilot.tools.languages import guess
from functions.ownpilot.tools.python_layout import indented, tidied
from tests.support.outside import failed, run
from tests.support.ownpilot import OwnPilot

TIDY = (
    'def f(a,\n      b):\n  # inner\n  if a:   \n    x = """one\n  two   \n"""\n    return [a,\n            b]  # end\n'
)
TIDIED = (
    'def f(a,\n      b):\n    # inner\n    if a:\n        x = """one\n  two   \n"""\n        return [a,\n'
    "                b]  # end\n"
)


@pytest.mark.usefixtures("app")
class TestCode:
    async def test_python_and_json_are_laid_out_anew(self, me: OwnPilot):
        made = await run(me, "code_format", code=TIDY)
        assert (made["language"], made["changed"]) == ("python", True)
        assert made["code"] == TIDIED
        crossed = TIDY.replace("\n", "\r\n")
        assert (await run(me, "code_format", code=crossed, language="py"))["code"] == TIDIED
        made = await run(me, "code_format", code='{"a":[1,2]}', language="JSON")
        assert made["code"] == '{\n    "a": [\n        1,\n        2\n    ]\n}\n'
        made = await run(me, "code_format", code="let a = 1;  \n\n\n\n\nlet b;", language="javascript")
        assert made["code"] == "let a = 1;\n\n\nlet b;\n" and "not understood" in made["note"]

    @pytest.mark.parametrize(
        ("language", "code", "problem"),
        [("python", "def f(:\n  pass", "line 1"), ("json", "{", "not JSON"), ("python", "a\x00b", "This is not"),
         ("python", "a" + ".b" * 20_000, "too deeply"), ("python", "(" * 1000, "not valid"),
         ("json", "[" * 50_000, "not JSON"), ("json", "[1e400]", "too large"), ("json", "[NaN]", "not JSON")],
    )  # fmt: skip
    async def test_a_broken_text_is_left_as_it_is(self, me: OwnPilot, language: str, code: str, problem: str):
        made = await run(me, "code_format", code=code, language=language)
        assert made["changed"] is False and made["code"] == code and problem in made["problem"]

    def test_a_layout_that_is_changed_and_changed_back_is_the_same(self):
        for module in (code, feeds, mail, outside, reminders):
            text = inspect.getsource(module)
            assert indented(indented(text, 2), 4) == tidied(text)

    async def test_python_is_described(self, me: OwnPilot):
        code = (
            "import os\nfrom json import *\n\nclass A:\n    def f(self, x=[]):\n        '''Doc.'''\n"
            "        try:\n            return eval(x) if x and x != None else 1\n        except:\n            pass\n"
        )
        found = await run(me, "code_analyze", code=code)
        assert (found["language"], found["lines"], found["imports"]) == ("python", 10, ["json", "os"])
        assert found["classes"] == ["A"]
        assert found["functions"] == [{"name": "f", "line": 5, "complexity": 4, "parameters": 2, "documented": True}]
        assert [each["line"] for each in found["doubtful"]] == [2, 5, 8, 8, 9]

    async def test_other_languages_are_counted(self, me: OwnPilot):
        found = await run(me, "code_analyze", code="let a = 1;\n\nlet longer = 2;")
        assert (found["language"], found["lines"], found["emptyLines"], found["longestLine"]) == ("unknown", 3, 1, 15)
        assert "only counted" in found["note"]

    async def test_nothing_of_it_is_run(self, me: OwnPilot, tmp_path: Path):
        code = f"import pathlib; pathlib.Path({str(tmp_path / 'made')!r}).touch()"
        await run(me, "code_analyze", code=code)
        await run(me, "code_format", code=code)
        assert [*tmp_path.iterdir()] == []

    async def test_texts_are_hashed(self, me: OwnPilot):
        assert await run(me, "code_hash", text="abc", algorithm="md5") == "900150983cd24fb0d6963f7d28e17f72"
        assert "algorithm" in await failed(me, "code_hash", text="abc", algorithm="sha512")


INSIDE: list[tuple[str, dict[str, Any], Any]] = [
    ("calc_evaluate", {"expression": "2 + 3 * 4"}, 14),
    ("text_encode", {"text": "Grüße", "encoding": "base64"}, "R3LDvMOfZQ=="),
    ("text_encode", {"text": "ü", "encoding": "hex"}, "c3bc"),
    ("text_decode", {"text": "R3LDvMOfZQ==", "encoding": "base64"}, "Grüße"),
    ("text_decode", {"text": "C3 BC", "encoding": "hex"}, "ü"),
]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("calc_evaluate", {"expression": "__import__('os')"}, "cannot be calculated"),
    ("calc_convert", {"value": 1, "from": "km", "to": "kg"}, "unit of"),
    ("calc_statistics", {"numbers": []}, "numbers"),
    ("text_decode", {"text": "xyz", "encoding": "hex"}, "hexadecimal"),
    ("text_decode", {"text": "ff", "encoding": "hex"}, "no text"),
    ("text_decode", {"text": "!", "encoding": "base64"}, "not Base64"),
    ("text_encode", {"text": "a", "encoding": "rot13"}, "encoding"),
    ("expense_add", {"amount": -1, "category": "food"}, "above 0"),
    ("expense_add", {"amount": 1.234, "category": "food"}, "two decimals"),
    ("expense_add", {"amount": 1, "category": "yachts"}, "one of food"),
    ("expense_list", {"category": "yachts"}, "one of food"),
    ("reminder_create", {"title": "t", "time": "soon"}, "time"),
    ("reminder_create", {"title": "", "time": "2030-01-01"}, "title"),
    ("clipboard_save", {"content": ""}, "content"),
    ("clipboard_save", {"content": "x" * 100_001}, "content"),
    ("clipboard_search", {"query": ""}, "query"),
    ("weather_current", {"city": ""}, "city"),
    ("web_search", {"query": "x", "depth": "deep"}, "depth"),
]


@pytest.mark.usefixtures("app")
class TestInside:
    @pytest.mark.parametrize(("name", "arguments", "expected"), INSIDE)
    async def test_it_answers(self, me: OwnPilot, name: str, arguments: dict[str, Any], expected: Any):
        assert await run(me, name, **arguments) == expected

    @pytest.mark.parametrize(("name", "arguments", "told"), REFUSED)
    async def test_it_refuses(self, me: OwnPilot, name: str, arguments: dict[str, Any], told: str):
        assert told in await failed(me, name, **arguments)

    async def test_numbers_units_and_texts(self, me: OwnPilot):
        assert (await run(me, "calc_convert", value=1, **{"from": "km", "to": "m"}))["result"] == 1000
        assert (await run(me, "calc_statistics", numbers=[1, 2, 3]))["mean"] == 2
        assert (await run(me, "text_count", text="one two"))["words"] == 2

    async def test_expenses_are_those_of_the_room(self, me: OwnPilot):
        made = (await run(me, "expense_add", amount=12.5, category="Food"))["expense"]
        assert (made["amount"], made["category"], made["description"]) == (12.5, "food", "Food")
        await run(me, "expense_add", amount=3, category="travel", description="Bus")
        assert (await me.get("/expenses"))["total"] == 2
        listed = await run(me, "expense_list", category="travel")
        assert (listed["total"], listed["expenses"][0]["description"]) == (1, "Bus")
        assert (await run(me, "expense_list"))["total"] == 2
        summary = await run(me, "expense_summary")
        assert (summary["summary"]["grandTotal"], summary["period"]["name"]) == (15.5, "this_month")

    async def test_pomodoro_sessions_are_those_of_the_room(self, me: OwnPilot):
        await me.data("PATCH", "/pomodoro/settings", json={"workDuration": 50})
        assert await run(me, "pomodoro_status") == {"running": False}
        assert "No session" in await failed(me, "pomodoro_stop")
        started = (await run(me, "pomodoro_start", task="Write"))["session"]
        assert (started["durationMinutes"], started["taskDescription"]) == (50, "Write")
        assert (await me.get("/pomodoro/session"))["session"]["id"] == started["id"]
        assert "is running" in await failed(me, "pomodoro_start")
        status = await run(me, "pomodoro_status")
        assert status["running"] is True and 49 < status["minutesLeft"] <= 50
        assert (await run(me, "pomodoro_stop"))["session"]["status"] == "interrupted"
        await run(me, "pomodoro_start")
        running = await sessions.of(me.user).find("running", "running")
        await sessions.of(me.user).update(running.id, lambda it: setattr(it, "duration_minutes", 0))
        assert (await run(me, "pomodoro_status"))["minutesLeft"] == 0
        assert (await run(me, "pomodoro_stop"))["session"]["status"] == "completed"

    async def test_reminders_are_due_or_to_come(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        now = datetime.now(UTC)
        for title, hours in (("later", 2), ("longest", -3), ("due", -1), ("next", 1)):
            time = (now + timedelta(hours=hours)).isoformat()
            made = await run(me, "reminder_create", title=title, time=time, note="n" if title == "due" else None)
            assert made["reminder"]["title"] == title
        listed = await run(me, "reminder_list")
        assert [each["title"] for each in listed["due"]] == ["due", "longest"]
        assert [each["title"] for each in listed["coming"]] == ["next", "later"]
        assert (listed["total"], listed["due"][0]["note"]) == (4, "n")
        monkeypatch.setattr(reminders, "MAX_REMINDERS", 3)
        for title in ("one more", "and one"):
            await run(me, "reminder_create", title=title, time="2100-01-01")
        listed = await run(me, "reminder_list")
        assert (listed["due"], len(listed["coming"])) == ([], 4)
        assert "none of them is due" in await failed(me, "reminder_create", title="t", time="2100-01-01")

    async def test_the_clipboard_keeps_and_finds_texts(self, me: OwnPilot):
        await me.data("PUT", "/plugins/clipboard-manager/settings", json={"settings": {"keep": 3}})
        for number in range(5):
            await run(me, "clipboard_save", content=f"text {number} {'x' * 3000}needle {number}", tags=[f"tag{number}"])
        history = await run(me, "clipboard_history", limit=2)
        assert history["total"] == 3
        assert [each["content"][:6] for each in history["items"]] == ["text 4", "text 3"]
        assert history["items"][0]["charactersLeftOut"] > 1000
        found = await run(me, "clipboard_search", query="NEEDLE 3")
        assert (found["total"], found["items"][0]["tags"]) == (1, ["tag3"])
        assert "needle 3" in found["items"][0]["content"]
        assert (await run(me, "clipboard_search", query="tag4"))["total"] == 1
        assert (await run(me, "clipboard_search", query="needle 0"))["total"] == 0

    async def test_what_is_kept_is_one_persons(self, me: OwnPilot, http: httpx.AsyncClient):
        await run(me, "clipboard_save", content="mine")
        await run(me, "reminder_create", title="mine", time="2030-01-01")
        other = OwnPilot(http)
        assert (await run(other, "clipboard_history"))["total"] == 0 == (await run(other, "reminder_list"))["total"]
        assert (await run(me, "clipboard_history"))["total"] == 1  # and no reminder among the texts


@pytest.mark.usefixtures("app")
class TestLanguages:
    @pytest.mark.parametrize(
        ("code", "text"),
        [("en", "Scientists have discovered a new species of frog in the rainforest of Ecuador."),
         ("de", "Wissenschaftler haben im Regenwald von Ecuador eine neue Froschart entdeckt."),
         ("fr", "Des scientifiques ont découvert une nouvelle espèce de grenouille dans la forêt."),
         ("es", "Los científicos han descubierto una nueva especie de rana en la selva."),
         ("it", "Gli scienziati hanno scoperto una nuova specie di rana nella foresta."),
         ("pt", "Os cientistas descobriram uma nova espécie de sapo na floresta."),
         ("nl", "Wetenschappers hebben een nieuwe kikkersoort ontdekt in het regenwoud."),
         ("sv", "Min hund tycker om att sova i soffan"), ("da", "Min hund kan godt lide at sove i sofaen"),
         ("pl", "Naukowcy odkryli nowy gatunek żaby w lesie deszczowym."),
         ("cs", "Vědci objevili v deštném pralese nový druh žáby."),
         ("tr", "Bilim insanları yağmur ormanında yeni bir kurbağa türü keşfetti."),
         ("fi", "Tutkijat ovat löytäneet uuden sammakkolajin sademetsästä."),
         ("ru", "Учёные открыли новый вид лягушек в тропическом лесу."),
         ("uk", "Вчені відкрили новий вид жаб у тропічному лісі."), ("zh", "科学家在雨林中发现了一种新的青蛙"),
         ("ja", "科学者は熱帯雨林で新しい種類のカエルを発見した"), ("ko", "과학자들이 새로운 개구리를 발견했다"),
         ("el", "Οι επιστήμονες ανακάλυψαν ένα νέο είδος βατράχου")],
    )  # fmt: skip
    def test_a_language_is_known_by_a_sentence(self, code: str, text: str):
        found = guess(text)
        assert found and (found.code, found.is_sure) == (code, True)

    @pytest.mark.parametrize(
        "text",
        ["hi", "de la", "xkcd qwrt zzzz plmk", "Bawo ni o se wa loni", "lorem ipsum dolor sit amet consectetur elit",
         "Nasaan ang pinakamalapit na istasyon ng tren dito sa bayan", "سلام دنیا"],
    )  # fmt: skip
    async def test_a_text_that_is_short_or_in_an_unknown_language_is_not_sure(self, me: OwnPilot, text: str):
        assert (await run(me, "detect_language", text=text))["sure"] is False

    async def test_a_text_without_letters_has_no_language(self, me: OwnPilot):
        for text in ("", "12345", "!?", "😀" * 50, "ⴰⵎⴰⵣⵉⵖ"):
            assert (await run(me, "detect_language", text=text))["language"] is None
