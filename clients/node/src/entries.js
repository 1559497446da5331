import { bundle } from "./bundle.js";
import { InvalidError } from "./errors.js";
import { readLayout, textOf, writeLayout } from "./layout.js";

const LAYOUT = bundle.record.entry;
const KIND_OF = new Map(Object.entries(LAYOUT.kinds).map(([name, number]) => [number, name]));

/** JSON text given as it is, where a value is expected: for numbers that JavaScript has no type for. */
export class RawJson {
  constructor(text) {
    JSON.parse(text);
    this.text = text;
  }
}

/** A map from text keys to JSON values. They are kept as JSON text, so what another language wrote stays as it was. */
export class Entries {
  #texts;

  /** Of keys with their values as JSON text. */
  constructor(texts = []) {
    this.#texts = new Map(texts);
  }

  /** Of an object or a Map with values, or a copy of other Entries. */
  static of(values = {}) {
    if (values instanceof Entries) return new Entries(values);
    return new Entries(Array.from(pairs(values), ([key, value]) => [key, jsonOf(key, value)]));
  }

  /** The value of a key; undefined where there is none. */
  get(key) {
    const json = this.#texts.get(key);
    return json === undefined ? undefined : JSON.parse(json);
  }

  /** The value of a key as JSON text. */
  json(key) {
    return this.#texts.get(key);
  }

  /** Sets a key, `null` included. */
  set(key, value) {
    this.#texts.set(key, jsonOf(key, value));
  }

  has(key) {
    return this.#texts.has(key);
  }

  /** Removes a key, and tells whether it was there. */
  delete(key) {
    return this.#texts.delete(key);
  }

  get size() {
    return this.#texts.size;
  }

  keys() {
    return this.#texts.keys();
  }

  /** The keys with their values as JSON text. */
  [Symbol.iterator]() {
    return this.#texts.entries();
  }
}

/** Keys and values of an object or a Map. */
export function pairs(values) {
  return values instanceof Map ? values.entries() : Object.entries(values);
}

/** The JSON text of a value. */
export function jsonOf(key, value) {
  if (value instanceof RawJson) return value.text;
  if (typeof value === "bigint") return String(value);
  let json;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new InvalidError("attribute value", `of ${JSON.stringify(key)} cannot be told in JSON: ${cause.message}`);
  }
  if (json === undefined) throw new InvalidError("attribute value", `of ${JSON.stringify(key)} is none in JSON`);
  return json;
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
    const entry = { kind, key: textOf(read.values.key), json: textOf(read.values.value) };
    const name = kind + entry.key;
    if (entry.json === "") made.delete(name);
    else made.set(name, entry);
    at = read.end;
  }
  return [...made.values()];
}
