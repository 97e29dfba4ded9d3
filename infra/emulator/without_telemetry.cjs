// Loaded by Node.js before Azurite, which would otherwise load the packages of its telemetry, although it is switched
// off: three quarters of its files, and more than half of the processor time of its start.
const Module = require("node:module");

const load = Module._load;
Module._load = (name, ...rest) => (name === "applicationinsights" ? {} : load(name, ...rest));
