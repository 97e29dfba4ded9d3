// Runs the body of a tool's function: an expression whose value takes the maker of `utils` and returns the function
// `run(work, host)`. Plain ECMAScript: both engines evaluate it in a realm that has nothing but the language.
// `work` is the JSON of `{code, args, context, seed, services, tools}`. `host` is `{callTool, fetch, read, fs, exec}`,
// without those for which the tool has no permission: `callTool(name, JSON)` promises `{ok, text}`; `fetch(url, JSON of
// its options)` the JSON of what a response has before its body, and its `number`; `read(number, encoding)` the JSON of
// the body's `text`; both of `error` when they fail. The promise of `run` holds the outcome as JSON: `text` or `error`, and `console`, the lines that were logged.
(makeUtils) => {
  "use strict";
  const MAX_LINES = 200, MAX_LINE = 1000, MAX_TEXT = 1_000_000;
  const { stringify, parse } = JSON;
  const AsyncFunction = (async () => {}).constructor;

  // Nothing makes code of a text after this: neither `eval`, nor `Function`, nor what a function's constructor leads to.
  for (const each of [function () {}, async () => {}, function* () {}, async function* () {}]) {
    Object.defineProperty(Object.getPrototypeOf(each), "constructor", { value: undefined });
  }
  for (const name of ["eval", "Function", "WebAssembly", "console", "gc", "performance", "navigator", "queueMicrotask"]) {
    delete globalThis[name];
  }
  delete Object.prototype.__proto__;

  const shown = (value) => {
    try {
      return typeof value === "string" ? value : value instanceof Error ? String(value) : stringify(value) ?? String(value);
    } catch {
      return "[something that cannot be shown]";
    }
  };
  const described = (error) => {
    try {
      return String(error instanceof Error ? `${error.name}: ${error.message}` : shown(error)).slice(0, 5000);
    } catch {
      return "The tool has thrown something that cannot be shown";
    }
  };

  // The tool gets nothing that `host` has made, since its prototypes lead to all of the host: only texts come from there.
  const asked = async (use, ...given) => {
    let answer;
    try {
      answer = parse(await use(...given));
    } catch {
      answer = { error: "The request has failed" };
    }
    if ("error" in answer) throw new TypeError(answer.error);
    return answer;
  };
  class Headers extends Map {
    get(name) { return super.get(String(name).toLowerCase()) ?? null; }
    has(name) { return super.has(String(name).toLowerCase()); }
  }
  const fetchOf = (host) => async (url, options = {}) => {
    const { body, headers, ...rest } = options;
    const sent = ArrayBuffer.isView(body) || body instanceof ArrayBuffer
      ? { bytes: Array.from(new Uint8Array(body.buffer ?? body, body.byteOffset ?? 0, body.byteLength),
          (each) => String.fromCharCode(each)).join("") }
      : body == null ? {} : { body: String(body) };
    const pairs = Symbol.iterator in Object(headers) ? [...headers] : headers;
    const { number, ...head } = await asked(host.fetch, String(url), stringify({ ...rest, headers: pairs, ...sent }));
    const read = async (encoding) => (await asked(host.read, number, encoding)).text;
    const bytes = async () => Uint8Array.from(await read("latin1"), (each) => each.charCodeAt(0));
    return {
      ...head, headers: new Headers(head.headers), bytes, text: () => read("utf8"),
      json: async () => parse(await read("utf8")), arrayBuffer: async () => (await bytes()).buffer,
    };
  };

  return async (given, host) => {
    const work = parse(given), lines = [];
    let dropped = 0;
    const logging = (level) => (...values) => {
      if (lines.length >= MAX_LINES) dropped += 1;
      else lines.push(`${level}${values.map(shown).join(" ").slice(0, MAX_LINE)}`);
    };
    const console = { log: logging(""), info: logging(""), debug: logging(""), warn: logging("warn: "), error: logging("error: ") };
    const ended = (outcome) => {
      if (dropped) lines.push(`[${dropped} more lines]`);
      return stringify({ ...outcome, console: lines });
    };
    try {
      const callTool = async (name, args) => {
        let answer;
        try {
          answer = await host.callTool(String(name), stringify(args ?? {}));
        } catch {
          answer = { ok: false, text: `The tool ${name} could not be used` };
        }
        if (!answer.ok) throw new Error(answer.text);
        try {
          return parse(answer.text);
        } catch {
          return answer.text;
        }
      };
      const utils = Object.freeze(makeUtils({ seed: work.seed, services: work.services, tools: work.tools, callTool }));
      const names = ["args", "context", "console", "utils", "fetch", "fs", "exec"];
      const body = new AsyncFunction(...names, `"use strict";\n${work.code}\n`);
      const value = await body(work.args, work.context, console, utils, host.fetch && fetchOf(host), host.fs, host.exec);
      const text = typeof value === "string" ? value : stringify(value) ?? "null";
      if (text.length > MAX_TEXT) return ended({ error: `The result is too long: ${text.length} characters` });
      return ended({ text });
    } catch (error) {
      return ended({ error: described(error) });
    }
  };
}
