"""A process that runs one custom tool in QuickJS: `child.py <folder of the engine> <seconds> <folder of these files>`.

It ends when the tool's code has used so many seconds of processor time.

Its first line of input is the work as JSON. It prints lines of JSON: `{"calls": [{"id", "name", "arguments"}]}` for
other tools to use, each of which a line `{"id", "ok", "text"}` of input answers; and at last `{"outcome": ...}`, as
harness.js makes it. Standard library only, and no more of it than needed: every run starts it anew.
"""

import json
import os
import resource
import sys
import time

MEMORY = 50 * 1000 * 1000  # bytes of the engine
PROCESS_MEMORY = 256 * 1024 * 1024
STACK = 512 * 1024
NOBODY = 65534

# The queue by which a tool uses others: the engine cannot call Python while it has a limit of time.
BRIDGE = """
((run) => {
  let calls = [], number = 0, outcome = null;
  const waiting = new Map();
  const { stringify, parse } = JSON;
  const callTool = (name, given) => new Promise((resolve) => {
    calls.push({ id: ++number, name, arguments: given });
    waiting.set(number, resolve);
  });
  return {
    start: async (work) => { outcome = await run(work, { callTool }); },
    take: () => { const taken = stringify({ calls, outcome, isWaiting: waiting.size > 0 }); calls = []; return taken; },
    give: (text) => { const answer = parse(text); waiting.get(answer.id)(answer); waiting.delete(answer.id); },
  };
})
"""


class OutOfTime(Exception):
    """The tool's code has used up its processor time."""


def confine(seconds: float) -> None:
    """Give up what this process could do to others: its user, files, processes, memory, time."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    for what, limit in (
        (resource.RLIMIT_AS, PROCESS_MEMORY),
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def main(engine: str, seconds: float, folder: str) -> None:
    """Run the tool."""
    sys.path.insert(0, engine)
    import _quickjs as quickjs  # the module `quickjs` adds threads to it, which cost 20 ms

    sources: list[str] = []
    for name in ("harness.js", "utils.js"):
        with open(f"{folder}/{name}", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs time to import
            sources.append(file.read())
    confine(seconds)
    context = quickjs.Context()
    context.set_memory_limit(MEMORY)
    context.set_max_stack_size(STACK)
    harness, utils = sources
    bridge = context.eval(f"({BRIDGE})(({harness})(\n{utils}\n))")
    start, take, give = (
        context.eval("(bridge, name) => bridge[name]")(bridge, name) for name in ("start", "take", "give")
    )
    begun = time.process_time()
    too_long = f"The tool used more than {seconds:g} seconds of processor time"

    def timed(step, *given):
        left = seconds - (time.process_time() - begun)
        context.set_time_limit(max(left, 0.001))
        if left <= 0:
            raise OutOfTime
        return step(*given)

    try:
        timed(start, sys.stdin.readline())
        while True:
            while timed(context.execute_pending_job):
                pass
            state = json.loads(timed(take))
            if state["outcome"] is not None:
                say(f'{{"outcome": {state["outcome"]}}}')
                return
            if not state["isWaiting"]:
                say_failure("The tool waits for something that never happens")
                return
            if state["calls"]:
                say(json.dumps({"calls": state["calls"]}))
            timed(give, sys.stdin.readline())
    except OutOfTime:
        say_failure(too_long)
    except quickjs.StackOverflow:
        say_failure("The tool calls itself too often")
    except quickjs.JSException as error:
        reason = str(error).partition("\n")[0]
        limits = {
            "interrupted": too_long,
            "out of memory": f"The tool needs more than {MEMORY // 1_000_000} MB of memory",
        }
        say_failure(next((text for word, text in limits.items() if word in reason), reason[:5000]))


def say_failure(reason: str) -> None:
    """Print the outcome of a tool that did not come to its end."""
    say(json.dumps({"outcome": {"error": reason, "console": []}}))


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
