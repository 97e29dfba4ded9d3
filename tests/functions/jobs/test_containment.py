"""What the command of a job can reach: nothing of the machine, nothing of the app but its own pushes, no token."""

import json
import shutil

import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

CALL = """
import json, sys, urllib.error, urllib.request
answers = {}
for url in sys.argv[1:]:
    try:
        answers[url] = urllib.request.urlopen(url, timeout=5).status
    except urllib.error.HTTPError as error:
        answers[url] = error.code
    except OSError:
        answers[url] = 0
print(json.dumps(answers))
"""

SEARCH = r"""
import ctypes, glob, os, re
needle = b'"tok' + b'en": "'
found, denied, own = [], 0, str(os.getpid())
def look(name, read):
    global denied
    try:
        if needle in read():
            found.append(name)
    except (OSError, OverflowError, ValueError):
        denied += 1
def read(name):
    with open(name, "rb") as file:
        return file.read(1 << 20)
def memory(folder):
    whole = b""
    with open(folder + "/maps") as maps, open(folder + "/mem", "rb") as file:
        for line in maps:
            start, end = (int(one, 16) for one in line.split()[0].split("-"))
            if " rw" in line and end - start < 1 << 27:
                file.seek(start)
                whole += file.read(end - start)
    return whole
pids = [one for one in os.listdir("/proc") if one.isdigit() and one != own]
for pid in pids:
    folder = "/proc/" + pid
    for name in (folder + "/environ", folder + "/cmdline", *glob.glob(folder + "/task/*/environ")):
        look(name, lambda: read(name))
    look(folder + "/mem", lambda: memory(folder))
    try:
        for number in os.listdir(folder + "/fd"):
            name = folder + "/fd/" + number
            if os.path.isfile(name):
                look(name, lambda: read(name))
    except OSError:
        denied += 1
(runner,) = [one for one in pids if read(f"/proc/{one}/cmdline").endswith(b"/runner.py\0") and one != "1"]
print(found, denied > 0, ctypes.CDLL(None).ptrace(0x4206, int(runner), 0, 0), any("JOB" in name for name in os.environ))
"""


async def test_a_command_cannot_read_the_order_of_its_job(gateway: Gateway):
    run = await gateway.run(f"python3 - <<'PY'\n{SEARCH}\nPY")
    ended = await gateway.reach(run["id"], "completed", "failed")
    assert ended["result"].strip() == "[] True -1 False"


async def test_a_command_reaches_no_service_of_the_machine(gateway: Gateway, stack: Environment):
    ports = stack.ports
    closed = [
        f"http://127.0.0.1:{ports['containers']}/subscriptions/x/providers/Microsoft.ContainerInstance/containerGroups",
        f"http://127.0.0.1:{ports['queue']}/devstoreaccount1?comp=list",
        f"http://127.0.0.1:{ports['table']}/devstoreaccount1/Tables",
        f"http://10.0.2.2:{ports['host']}/admin/host/status",
    ]
    refused = [
        f"http://127.0.0.1:{ports['webpubsub']}/api/health",
        f"http://127.0.0.1:{ports['webpubsub']}/client/hubs/gateway",
        f"{stack.url}/admin/host/status",
        f"{stack.url}/runtime/webhooks/durabletask/instances",
        f"{stack.url}/gateway/api/health",
        f"{stack.url}/jobs/../admin/host/status",
        f"http://127.0.0.1:{ports['blob']}/devstoreaccount1?comp=list",
    ]
    forged = f"http://127.0.0.1:{ports['blob']}/devstoreaccount1?comp=list&sv=2023-11-03&sig=AAAA"
    words = " ".join(f"'{url}'" for url in [*closed, *refused, forged])
    call = f"python3 - {words} <<'PY'\n{CALL}\nPY"
    ended = await gateway.reach((await gateway.run(call))["id"], "completed", "failed")
    answers = json.loads(ended["result"])
    assert {answers[url] for url in closed} == {0}
    assert {answers[url] for url in refused} == {403}
    assert answers.pop(forged) in (400, 403)
