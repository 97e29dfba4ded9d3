// Runs one custom tool in a container, with Node.js: `node main.js`. `work.z` holds the sources of the harness and of
// `utils`, the work without what is private, and the tool's permissions; `private.json` what goes into no file that the
// app stores: values of configured services, a seed, and where other tools can be used. Writes `report.json`, the outcome.
"use strict";
const files = require("node:fs");
const vm = require("node:vm");
const { exec } = require("node:child_process");
const { inflateSync } = require("node:zlib");

const given = JSON.parse(inflateSync(files.readFileSync("work.z")));
const own = JSON.parse(files.readFileSync("private.json"));
files.unlinkSync("private.json");

const finish = (outcome) => {
  files.writeFileSync("report.json", outcome);
  process.exit(0);
};
process.on("unhandledRejection", () => {});
process.on("beforeExit", () =>
  finish(JSON.stringify({ error: "The tool waits for something that never happens", console: [] })));

// `fs` and `exec` give the tool all that there is here. Of everything else only texts reach its code: see the harness.
const host = {
  callTool: async (name, args) => {
    try {
      const answer = await fetch(own.calls.url, {
        method: "POST", body: JSON.stringify({ name, arguments: args }),
        headers: { "Authorization": `Bearer ${own.calls.token}`, "Content-Type": "application/json" },
      });
      return answer.ok ? await answer.json() : { ok: false, text: `The tool ${name} could not be used: ${answer.status}` };
    } catch {
      return { ok: false, text: `The tool ${name} could not be used: the app does not answer` };
    }
  },
};
const failed = (error) => JSON.stringify({ error: error.cause ? `${error.message}: ${error.cause.message}` : error.message });
if (given.permissions.includes("network")) {
  const responses = [];
  host.fetch = async (url, options) => {
    try {
      const { bytes, ...given } = JSON.parse(options);
      const response = await fetch(url, bytes === undefined ? given : { ...given, body: Buffer.from(bytes, "latin1") });
      const { ok, status, statusText, redirected } = response;
      return JSON.stringify({
        ok, status, statusText, redirected, url: response.url, headers: [...response.headers],
        number: responses.push(response) - 1,
      });
    } catch (error) {
      return failed(error);
    }
  };
  host.read = async (number, encoding) => {
    try {
      const data = Buffer.from(await responses[number].arrayBuffer());
      return JSON.stringify({ text: encoding === "utf8" ? new TextDecoder().decode(data) : data.toString("latin1") });
    } catch (error) {
      return failed(error);
    }
  };
}
if (given.permissions.includes("filesystem")) host.fs = files.promises;
if (given.permissions.includes("shell")) {
  host.exec = (command) =>
    new Promise((resolve) =>
      exec(command, { maxBuffer: 1_000_000 }, (error, stdout, stderr) =>
        resolve({ stdout, stderr, exitCode: error ? (typeof error.code === "number" ? error.code : 1) : 0 })));
}

const realm = vm.createContext({}, { codeGeneration: { strings: true, wasm: false } });
const run = vm.runInContext(`(${given.harness})(\n${given.utils}\n)`, realm);
run(JSON.stringify({ ...given.work, seed: own.seed, services: own.services }), host).then(finish);
