import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { bundle } from "../src/bundle.js";
import { commandOf } from "../src/call.js";
import { textOf } from "../src/layout.js";
import { Link } from "../src/link.js";
import { firstTag } from "../src/partitions.js";
import { decodeRecord } from "../src/record.js";
import { readReply } from "../src/reply.js";
import { violations } from "./support/invariants.js";
import { startServer } from "./support/server.js";

const CASES = new URL("../../../lua/conformance/", import.meta.url);
const server = await startServer();
const link = new Link(server.admin);

const files = readdirSync(CASES).filter((name) => name.endsWith(".json") && name !== "records.json");

test("each operation has its cases", () => {
  assert.deepEqual(
    files.sort(),
    Object.keys(bundle.operations)
      .map((stem) => `${stem}.json`)
      .sort(),
  );
});

for (const { name, hex, record } of JSON.parse(readFileSync(new URL("records.json", CASES), "utf8"))) {
  test(`a record is read or refused: ${name}`, () => {
    const bytes = Buffer.from(hex, "hex");
    if (record) assert.deepEqual(recordOf(bytes), { record });
    else assert.equal(decodeRecord(bytes), null);
  });
}

for (const file of files) {
  const { operation, defaults, cases } = JSON.parse(readFileSync(new URL(file, CASES), "utf8"));
  for (const one of cases) test(`${operation}: ${one.name}`, () => run(one, defaults));
}

test("the cases leave nothing behind", async () => {
  assert.deepEqual(await send(["DBSIZE"]), [0]);
});

async function run({ before, call, after }, defaults) {
  const tag = firstTag(server.namespace());
  /** All keys that were named to the server: there are no others. */
  const named = new Set();
  try {
    for (const step of before) await take(step, tag, defaults, named);
    const found = await stored(tag, named);
    await take(call, tag, defaults, named);
    assert.deepEqual(await stored(tag, named), filled(after, tag));
    if (call.reply[0] !== "ok") assert.deepEqual(found, filled(after, tag), "what is not answered ok changes nothing");
    const reply = answerAgain(call);
    if (reply) await take({ ...call, reply }, tag, defaults, named);
    assert.deepEqual(await stored(tag, named), filled(after, tag), "the same call again changes nothing more");
    if (!before.some(({ command }) => command)) await check(after, tag);
  } finally {
    await send(["DEL", ...named]);
  }
}

/** What the same call answers when it is sent again; undefined: it would be another call. */
function answerAgain({ operation, with: given, reply: [word, ...rest] }) {
  if (word !== "ok") return [word, ...rest];
  const hasWord = bundle.operations[operation].replies.some((reply) => reply.word === "again");
  return given.op_id ? [hasWord ? "again" : "ok", ...rest] : undefined;
}

/** What holds where nothing was planted. */
async function check(after, tag) {
  assert.deepEqual(violations(after), []);
  for (const key of Object.keys(after)) {
    const [left] = await send(["PTTL", filled(key, tag)]);
    assert(left > 0, `${key} does not go by itself`);
  }
}

/** Runs a step with this client's own keys and arguments, and compares what this client reads of the reply. */
async function take({ command, operation: stem, with: given, reply }, tag, defaults, named) {
  if (command) {
    filled(command, tag).forEach((part) => String(part).startsWith(`${tag}:`) && named.add(part));
    await send(filled(command, tag).map((part) => (part.hex ? Buffer.from(part.hex, "hex") : String(part))));
    return;
  }
  const { arguments: parameters, group } = bundle.operations[stem];
  const all = parameters.map(({ name, type }) => [name, valueOf(type, given[name] ?? defaults?.[name] ?? "")]);
  const memberOf = (member) => group.arguments.map(({ name, type }) => [name, valueOf(type, member[name])]);
  const members = group && (given[group.name] ?? []).map((member) => Object.fromEntries(memberOf(member)));
  const values = { ...given, ...Object.fromEntries(all), ...(group && { [group.name]: members }) };
  assert.deepEqual(flat(readReply(stem, await evaluate(stem, commandOf(stem, tag, values), named))), reply);
}

function valueOf(type, value) {
  return type === "bytes" ? Buffer.from([value].flat().join(""), "hex") : value;
}

async function evaluate(stem, command, named) {
  const keys = command.slice(3, 3 + Number(command[2]));
  keys.forEach((key) => named.add(key));
  const nameless = keys.filter((key) => /:(user|connection|node)::(sessions?|lease|events)$/.test(key));
  assert.deepEqual(nameless, [], "no key of an empty name is sent");
  const [, reply] = await send(["SCRIPT", "LOAD", bundle.operations[stem].source], command);
  return reply;
}

async function send(...commands) {
  return link.send(commands, performance.now() + 10_000);
}

/** A reply as the cases write it. */
function flat({ need, rest, ...fields }) {
  const rows = rest.flat().flatMap(Object.entries);
  return [...Object.entries(fields), ...rows].map(([name, value]) => (name === "record" ? recordOf(value) : value));
}

/** All keys that were named, and what they hold, as the cases write it. */
async function stored(tag, named) {
  const values = await Promise.all([...named].map(async (key) => [key, await heldBy(key, tag)]));
  return Object.fromEntries(values.filter(([, { other }]) => other !== "none"));
}

async function heldBy(key, tag) {
  const [type] = (await send(["TYPE", key])).map(textOf);
  if (type === "zset") {
    const [items] = await send(["ZRANGE", key, "0", "-1", "WITHSCORES"]);
    const pairs = items
      .filter((_, at) => at % 2 === 0)
      .map((member, at) => [textOf(member), Number(items[2 * at + 1])]);
    return { zset: Object.fromEntries(pairs) };
  }
  if (type === "stream") {
    const [entries] = await send(["XRANGE", key, "-", "+"]);
    return { stream: entries.map(([, fields]) => toldBy(fields.map(textOf))) };
  }
  if (type !== "string") return { other: type };
  const [bytes] = await send(["GET", key]);
  const isRecord = key.startsWith(`${tag}:session:`) || key.startsWith(`${tag}:aside:`);
  if (isRecord && decodeRecord(bytes)) return recordOf(bytes);
  try {
    return { string: textOf(bytes) };
  } catch {
    return { hex: bytes.toString("hex") };
  }
}

/** An event, by its fields that are not empty. */
function toldBy(fields) {
  const pairs = fields.filter((_, at) => at % 2 === 0).map((name, at) => [name, fields[2 * at + 1]]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== ""));
}

/** The fields of a record that the cases name: all but the sizes, which the texts show. */
function recordOf(bytes) {
  const { op_ids: ids, format, user_size, connection_size, node_size, body_size, ...record } = decodeRecord(bytes);
  const operations = [0, 8, 16, 24].map((at) => ids.subarray(at, at + 8).toString("hex"));
  return { record: { ...record, operations } };
}

/** The same with the tag of a namespace in the place of `{ns:p}`. */
function filled(value, tag) {
  return JSON.parse(JSON.stringify(value).replaceAll("{ns:p}", tag));
}
