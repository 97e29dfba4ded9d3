// The `utils` of custom tools: an expression whose value makes them. Plain ECMAScript, as both engines offer nothing
// else. `host` has `seed` (64 hex digits from a source of chance), `services`, `tools` and `callTool(name, arguments)`.
(host) => {
  "use strict";

  // Bytes and texts

  const utf8 = (text) =>
    Array.from(unescape(encodeURIComponent(String(text).toWellFormed())), (each) => each.charCodeAt(0));
  const ofUtf8 = (bytes) => {
    try {
      return decodeURIComponent(Array.from(bytes, (each) => `%${each.toString(16).padStart(2, "0")}`).join(""));
    } catch {
      throw new Error("These bytes are no text in UTF-8");
    }
  };
  const hex = (bytes) => Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
  const ofHex = (text) => {
    if (!/^([0-9a-f]{2})*$/i.test(text)) throw new Error("This is no hexadecimal text");
    return (text.match(/../g) ?? []).map((each) => parseInt(each, 16));
  };
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const base64 = (bytes) => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 3) {
      const [a, b = 0, c = 0] = bytes.slice(at, at + 3);
      const four = [a >> 2, ((a & 3) << 4) | (b >> 4), ((b & 15) << 2) | (c >> 6), c & 63];
      text += four.map((each, place) => (at + place > bytes.length ? "=" : DIGITS[each])).join("");
    }
    return text;
  };
  const ofBase64 = (text) => {
    const plain = text.replace(/[\s=]/g, "").replace(/-/g, "+").replace(/_/g, "/");
    if (/[^A-Za-z0-9+/]/.test(plain) || plain.length % 4 === 1) throw new Error("This is no base64 text");
    const bytes = [];
    let bits = 0, value = 0;
    for (const each of plain) {
      value = ((value << 6) | DIGITS.indexOf(each)) & 0xffff;
      bits += 6;
      if (bits >= 8) bytes.push((value >> (bits -= 8)) & 255);
    }
    return bytes;
  };

  // Hashes

  const left = (value, count) => (value << count) | (value >>> (32 - count));
  const padded = (text, isLittle, block = 64) => {
    const bytes = typeof text === "string" ? utf8(text) : [...text];
    const size = bytes.length;
    bytes.push(0x80);
    while (bytes.length % block !== block - 8) bytes.push(0);
    for (let place = 0; place < 8; place++) {
      const shift = isLittle ? place : 7 - place;
      bytes.push(Math.floor((size * 8) / 2 ** (8 * shift)) % 256);
    }
    return bytes;
  };
  const words = (bytes, isLittle) => {
    const found = [];
    for (let at = 0; at < bytes.length; at += 4) {
      const four = bytes.slice(at, at + 4);
      if (isLittle) four.reverse();
      found.push(((four[0] << 24) | (four[1] << 16) | (four[2] << 8) | four[3]) | 0);
    }
    return found;
  };
  const ofWords = (state, isLittle) =>
    state.flatMap((word) => {
      const four = [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255];
      return isLittle ? four.reverse() : four;
    });
  const primes = [];
  for (let each = 2; primes.length < 80; each++) if (primes.every((prime) => each % prime)) primes.push(each);

  const md5 = (text) => {
    const turns = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
    const all = words(padded(text, true), true);
    let state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
    for (let at = 0; at < all.length; at += 16) {
      let [a, b, c, d] = state;
      for (let step = 0; step < 64; step++) {
        const round = step >> 4;
        const mixed = [(b & c) | (~b & d), (d & b) | (~d & c), b ^ c ^ d, c ^ (b | ~d)][round];
        const place = [step, 5 * step + 1, 3 * step + 5, 7 * step][round] % 16;
        const constant = Math.floor(Math.abs(Math.sin(step + 1)) * 2 ** 32);
        const sum = (a + mixed + constant + all[at + place]) | 0;
        [a, d, c, b] = [d, c, b, (b + left(sum, turns[round * 4 + (step % 4)])) | 0];
      }
      state = [a, b, c, d].map((each, place) => (each + state[place]) | 0);
    }
    return ofWords(state, true);
  };
  const sha1 = (text) => {
    const all = words(padded(text, false), false);
    let state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
    for (let at = 0; at < all.length; at += 16) {
      const w = all.slice(at, at + 16);
      let [a, b, c, d, e] = state;
      for (let step = 0; step < 80; step++) {
        if (step >= 16) w.push(left(w[step - 3] ^ w[step - 8] ^ w[step - 14] ^ w[step - 16], 1));
        const round = Math.floor(step / 20);
        const mixed = [(b & c) | (~b & d), b ^ c ^ d, (b & c) | (b & d) | (c & d), b ^ c ^ d][round];
        const constant = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6][round];
        [a, b, c, d, e] = [(left(a, 5) + mixed + e + constant + w[step]) | 0, a, left(b, 30), c, d];
      }
      state = [a, b, c, d, e].map((each, place) => (each + state[place]) | 0);
    }
    return ofWords(state, false);
  };
  const right = (value, count) => (value >>> count) | (value << (32 - count));
  const fraction = (root) => Math.floor((root - Math.floor(root)) * 2 ** 32) | 0;
  const K256 = primes.slice(0, 64).map((prime) => fraction(Math.cbrt(prime)));
  const sha256 = (text) => {
    const all = words(padded(text, false), false);
    let state = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
    for (let at = 0; at < all.length; at += 16) {
      const w = all.slice(at, at + 16);
      let [a, b, c, d, e, f, g, h] = state;
      for (let step = 0; step < 64; step++) {
        if (step >= 16) {
          const [x, y] = [w[step - 15], w[step - 2]];
          const low = right(x, 7) ^ right(x, 18) ^ (x >>> 3), high = right(y, 17) ^ right(y, 19) ^ (y >>> 10);
          w.push((w[step - 16] + low + w[step - 7] + high) | 0);
        }
        const one = right(e, 6) ^ right(e, 11) ^ right(e, 25), zero = right(a, 2) ^ right(a, 13) ^ right(a, 22);
        const first = (h + one + ((e & f) ^ (~e & g)) + K256[step] + w[step]) | 0;
        const second = (zero + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        [a, b, c, d, e, f, g, h] = [(first + second) | 0, a, b, c, (d + first) | 0, e, f, g];
      }
      state = [a, b, c, d, e, f, g, h].map((each, place) => (each + state[place]) | 0);
    }
    return ofWords(state, false);
  };
  const sums = { md5, sha1, sha256 };
  const hash = (text, algorithm = "sha256") => {
    const sum = sums[String(algorithm).toLowerCase().replace("-", "")];
    if (!sum) throw new Error(`hash: ${algorithm} is not one of ${Object.keys(sums).join(", ")}`);
    return hex(sum(String(text)));
  };

  // Chance: the hash of a secret seed and a counter

  let count = 0, pool = [];
  const randomByte = () => {
    if (!pool.length) pool = sha256(`${host.seed} ${count++}`);
    return pool.pop();
  };
  const below = (limit) => {
    for (;;) {
      let value = 0;
      for (let each = 0; each < 6; each++) value = value * 256 + randomByte();
      if (value < 2 ** 48 - ((2 ** 48) % limit)) return value % limit;
    }
  };
  const randomInt = (low = 0, high = 100) => {
    const [from, to] = [Math.ceil(low), Math.floor(high)];
    if (!(to >= from && to - from < 2 ** 48)) throw new Error("randomInt: there is no such number");
    return from + below(to - from + 1);
  };
  const uuid = () => {
    const bytes = Array.from({ length: 16 }, randomByte);
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };
  const shuffle = (list) => {
    const mixed = [...list];
    for (let last = mixed.length - 1; last > 0; last--) {
      const other = below(last + 1);
      [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
    }
    return mixed;
  };
  const generatePassword = (length = 16, symbols = true) => {
    if (!(length >= 4 && length <= 256)) throw new Error("generatePassword: the length must be from 4 to 256");
    const kinds = ["ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"];
    if (symbols) kinds.push("!@#$%^&*()-_=+[]{};:,.?");
    const any = kinds.join("");
    const drawn = kinds.map((kind) => kind[below(kind.length)]);
    while (drawn.length < length) drawn.push(any[below(any.length)]);
    return shuffle(drawn).join("");
  };

  // Dates, in UTC

  const UNITS = { milliseconds: 1, seconds: 1000, minutes: 60_000, hours: 3_600_000, days: 86_400_000, weeks: 604_800_000 };
  const dated = (given = Date.now()) => {
    const date = new Date(given);
    if (Number.isNaN(date.getTime())) throw new Error(`This is no date: ${given}`);
    return date;
  };
  const unitOf = (unit) => {
    const name = unit.endsWith("s") ? unit : `${unit}s`;
    if (!(name in UNITS) && name !== "months" && name !== "years") throw new Error(`There is no unit ${unit}`);
    return name;
  };
  const dateDiff = (first, second, unit = "days") => {
    const name = unitOf(unit), [from, to] = [dated(first), dated(second)];
    if (name in UNITS) return (to - from) / UNITS[name];
    if (to < from) return -dateDiff(to, from, unit);
    const months = (to.getUTCFullYear() - from.getUTCFullYear()) * 12 + to.getUTCMonth() - from.getUTCMonth();
    const whole = months - (dated(dateAdd(from, months, "months")) > to ? 1 : 0);
    return name === "months" ? whole : Math.trunc(whole / 12);
  };
  const dateAdd = (date, amount, unit = "days") => {
    const name = unitOf(unit), from = dated(date);
    if (name in UNITS) return dated(from.getTime() + amount * UNITS[name]).toISOString();
    const months = name === "months" ? amount : amount * 12;
    const to = new Date(from);
    to.setUTCDate(1);
    to.setUTCMonth(to.getUTCMonth() + months);
    const days = new Date(Date.UTC(to.getUTCFullYear(), to.getUTCMonth() + 1, 0)).getUTCDate();
    to.setUTCDate(Math.min(from.getUTCDate(), days));
    return to.toISOString();
  };
  const formatDate = (date, format = "YYYY-MM-DD") => {
    const [, year, month, day, hour, minute, second] = dated(date).toISOString().match(/^(.+)-(..)-(..)T(..):(..):(..)/);
    const parts = { YYYY: year, MM: month, DD: day, HH: hour, mm: minute, ss: second };
    return format.replace(/YYYY|MM|DD|HH|mm|ss/g, (each) => parts[each]);
  };

  // Texts

  const removeDiacritics = (text) => String(text).normalize("NFD").replace(/\p{M}/gu, "");
  const wordsOf = (text) =>
    String(text).replace(/([\p{Ll}\d])(\p{Lu})/gu, "$1 $2").match(/[\p{L}\p{N}]+/gu)?.map((each) => each.toLowerCase()) ?? [];
  const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
  const isJson = (text) => {
    try {
      JSON.parse(text);
      return typeof text === "string";
    } catch {
      return false;
    }
  };
  const parseCsv = (text, delimiter = ",") => {
    const rows = [[""]];
    let isQuoted = false;
    for (let at = 0; at < text.length; at++) {
      const row = rows[rows.length - 1], each = text[at];
      if (isQuoted && each === '"' && text[at + 1] === '"') row[row.length - 1] += text[++at];
      else if (each === '"' && (isQuoted || !row[row.length - 1])) isQuoted = !isQuoted;
      else if (isQuoted) row[row.length - 1] += each;
      else if (each === delimiter) row.push("");
      else if (each === "\n") rows.push([""]);
      else if (each !== "\r") row[row.length - 1] += each;
    }
    const [names, ...found] = rows.filter((row) => row.length > 1 || row[0]);
    return found.map((row) => Object.fromEntries(names.map((name, place) => [name, row[place] ?? ""])));
  };

  // Lists and numbers

  const numbers = (given) => (given.length === 1 && Array.isArray(given[0]) ? given[0] : given).map(Number);
  const shifted = (value, by) => {
    const [digits, power = 0] = String(value).split("e");  // small and large numbers are written with a power of ten
    return Number(`${digits}e${Number(power) + by}`);
  };
  const total = (...given) => numbers(given).reduce((sum, each) => sum + each, 0);
  const getPath = (value, path, otherwise) => {
    const names = String(path).replace(/\[(\w+)\]/g, ".$1").split(".").filter(Boolean);
    let found = value;
    for (const name of names) {
      if (found === null || found === undefined || !Object.hasOwn(Object(found), name)) return otherwise;
      found = found[name];
    }
    return found;
  };

  // What the person has configured, of the services that the tool has listed

  const entriesOf = (name) => host.services[name] ?? [];
  const getConfigEntry = (name, label) =>
    (label === undefined ? entriesOf(name)[0] : entriesOf(name).find((each) => each.label === label)) ?? null;
  const getServiceConfig = (name) => getConfigEntry(name)?.data ?? null;
  const getFieldValue = (name, field, label) => getConfigEntry(name, label)?.data[field] ?? null;
  const getApiKey = (name) => {
    const data = getServiceConfig(name) ?? {};
    return data.api_key ?? data.apiKey ?? data.key ?? data.token ?? data.bot_token ?? null;
  };

  return {
    hash, uuid,
    base64Encode: (text) => base64(utf8(text)), base64Decode: (text) => ofUtf8(ofBase64(String(text))),
    hexEncode: (text) => hex(utf8(text)), hexDecode: (text) => ofUtf8(ofHex(String(text))),
    urlEncode: (text) => encodeURIComponent(String(text)), urlDecode: (text) => decodeURIComponent(String(text)),
    now: () => new Date().toISOString(), timestamp: () => Date.now(), dateDiff, dateAdd, formatDate,
    slugify: (text) => wordsOf(removeDiacritics(text)).join("-"),
    camelCase: (text) => wordsOf(text).map((each, place) => (place ? capital(each) : each)).join(""),
    snakeCase: (text) => wordsOf(text).join("_"), kebabCase: (text) => wordsOf(text).join("-"),
    titleCase: (text) => wordsOf(text).map(capital).join(" "),
    truncate: (text, length = 100, suffix = "...") =>
      String(text).length <= length
        ? String(text) : (String(text).slice(0, Math.max(0, length - suffix.length)) + suffix).slice(0, length),
    countWords: (text) => String(text).split(/\s+/).filter(Boolean).length, removeDiacritics,
    isEmail: (text) => /^[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)+$/.test(text),
    isUrl: (text) => /^https?:\/\/[^\s/?#@]+([/?#]\S*)?$/i.test(text), isJson,
    isUuid: (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text),
    clamp: (value, low, high) => Math.min(Math.max(value, low), high),
    round: (value, digits = 0) => shifted(Math.round(shifted(value, digits)), -digits), randomInt,
    sum: total, avg: (...given) => (numbers(given).length ? total(...given) / numbers(given).length : 0),
    min: (...given) => numbers(given).reduce((low, each) => Math.min(low, each), Infinity),
    max: (...given) => numbers(given).reduce((high, each) => Math.max(high, each), -Infinity),
    unique: (list) => [...new Set(list)], shuffle,
    chunk: (list, size = 1) => {
      if (!(size >= 1)) throw new Error("chunk: the size must be 1 or more");
      return Array.from({ length: Math.ceil(list.length / size) }, (_, at) => list.slice(at * size, (at + 1) * size));
    },
    groupBy: (list, by) => {
      const groups = new Map();  // a group may be called like what every object has
      for (const each of list) {
        const name = String(typeof by === "function" ? by(each) : getPath(each, by));
        if (!groups.has(name)) groups.set(name, []);
        groups.get(name).push(each);
      }
      return Object.fromEntries(groups);
    },
    parseJson: (text, otherwise = null) => (isJson(text) ? JSON.parse(text) : otherwise),
    toJson: (value, indent = 0) => JSON.stringify(value, null, indent), parseCsv,
    flatten: (list, depth = Infinity) => list.flat(depth), getPath, generatePassword,
    getApiKey, getServiceConfig, getConfigEntry, getConfigEntries: entriesOf, getFieldValue,
    callTool: (name, given = {}) => host.callTool(name, given), listTools: () => host.tools,
  };
}
