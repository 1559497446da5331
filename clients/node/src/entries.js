import { inspect } from "node:util";
import { bundle } from "./bundle.js";
import { InvalidError } from "./errors.js";
import { isPlain, isText, kindOf } from "./input.js";
import { isExact, jsonOf, RawJson } from "./json.js";
import { readLayout, textOf, writeLayout } from "./layout.js";

const LAYOUT = bundle.record.entry;
const KIND_OF = new Map(Object.entries(LAYOUT.kinds).map(([name, number]) => [number, name]));
const KEY_BYTES = 255;

/**
 * A map from text keys to JSON values. They are kept as JSON text, so what another language wrote stays as it was. A value
 * that `get` handed out and that was changed in place counts as set.
 */
export class Entries {
  /** Of each key its JSON text, and the value that a caller has in hand, if it can be changed in place. */
  #held;
  /** What the caller calls it. */
  #field;

  /** Of keys with their values as JSON text, as they were read. */
  constructor(texts = [], field = "attributes") {
    this.#held = new Map(Array.from(texts, ([key, text]) => [key, { text }]));
    this.#field = field;
  }

  /** Of an object or a Map with values, or a copy of other Entries. */
  static of(values = {}, field) {
    if (values instanceof Entries) return new Entries(values, field);
    return new Entries(textsOf(values, field), field);
  }

  /** The value of a key; undefined where there is none. It is the same object each time. */
  get(key) {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    if (held.value === undefined) {
      const value = JSON.parse(held.text);
      if (typeof value !== "object" || value === null) return value;
      held.value = value;
    }
    return held.value;
  }

  /** The value of a key as JSON text. */
  json(key) {
    const held = this.#held.get(key);
    return held && this.#textOf(key, held);
  }

  /** Sets a key, `null` included. */
  set(key, value) {
    checkKey("key", key);
    const text = jsonOf("value", undefined, value);
    // Who goes on to change what was set changes it here, too.
    this.#held.set(key, { text, value: isChangeable(value) ? value : undefined });
  }

  has(key) {
    return this.#held.has(key);
  }

  /** Removes a key, and tells whether it was there. */
  delete(key) {
    return this.#held.delete(key);
  }

  get size() {
    return this.#held.size;
  }

  keys() {
    return this.#held.keys();
  }

  /** The keys with their values as JSON text. */
  *[Symbol.iterator]() {
    for (const [key, held] of this.#held) yield [key, this.#textOf(key, held)];
  }

  /** Makes changes of `{ key, json }`, of which an empty `json` removes. */
  static change(entries, changes) {
    for (const { key, json } of changes) {
      if (json === "") entries.#held.delete(key);
      else entries.#held.set(key, { text: json });
    }
  }

  /** What was not changed in place stays as it was written, down to its spaces and digits. */
  #textOf(key, held) {
    const { text, value } = held;
    if (value === undefined) return text;
    const now = jsonOf(this.#field, key, value);
    if (now === text || now === JSON.stringify(JSON.parse(text))) return text;
    if (!isExact(text)) {
      const why = "was changed in place, and had a number that JavaScript cannot tell: set it, by a RawJson";
      throw new InvalidError(this.#field, `has under ${JSON.stringify(key)} a value that ${why}`);
    }
    held.text = now;
    return now;
  }

  /** The values may be secrets. */
  [inspect.custom](depth, options) {
    return `Entries ${inspect({ size: this.size }, options)}`;
  }
}

/** Whether what a value is now can be told later: a RawJson does not change, and a big integer is no object. */
function isChangeable(value) {
  return typeof value === "object" && value !== null && !(value instanceof RawJson);
}

/** The keys of an object or a Map that a caller gave, with its values as JSON text. */
export function textsOf(values, field) {
  const isMap = values instanceof Map;
  if (!isPlain(values) || (!isMap && Symbol.iterator in values))
    throw new InvalidError(field, `is ${kindOf(values)}, must be an object or a Map`);
  const pairs = isMap ? [...values] : Object.entries(values);
  return pairs.map(([key, value]) => [checkKey(field, key), jsonOf(field, key, value)]);
}

/** A key of an entry. */
export function checkKey(field, key) {
  if (!isText(key) || key === "" || Buffer.byteLength(key) > KEY_BYTES) {
    throw new InvalidError(field, `${field === "key" ? "" : "has a key that "}must be text of 1 to ${KEY_BYTES} bytes`);
  }
  return key;
}

/** Entries as a script takes them, of `{ kind, key, json }`. An empty `json` removes, in a list of changes. */
export function encodeEntries(list) {
  return Buffer.concat(
    list.map(({ kind, key, json }) => writeLayout(LAYOUT, { kind: LAYOUT.kinds[kind], key, value: json })),
  );
}

/**
 * What the changes in a record come to, as a list of `{ kind, key, json }`: the last of a key counts, an empty `json`
 * removes. Null where they are broken.
 */
export function decodeEntries(bytes) {
  const made = new Map();
  for (let at = 0; at < bytes.length;) {
    const read = readLayout(LAYOUT, bytes, at);
    const kind = read && KIND_OF.get(read.values.kind);
    if (!kind) return null;
    changeIn(made, { kind, key: textOf(read.values.key), json: textOf(read.values.value) });
    at = read.end;
  }
  return [...made.values()];
}

/** The entries of a record after some changes, all as lists of `{ kind, key, json }`. */
export function changedEntries(entries, changes) {
  const made = new Map();
  for (const entry of [...entries, ...changes]) changeIn(made, entry);
  return [...made.values()];
}

function changeIn(made, entry) {
  const name = entry.kind + entry.key;
  if (entry.json === "") made.delete(name);
  else made.set(name, entry);
}
