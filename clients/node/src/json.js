/** JSON as all languages of this engine read it. */

import { InvalidError } from "./errors.js";
import { kindOf } from "./input.js";

/** How deep lists and objects may be nested: Rust reads no deeper. */
const DEEPEST = 127;

/** JSON text given as it is, where a value is expected: for numbers that JavaScript has no type for. */
export class RawJson {
  #text;

  constructor(text) {
    this.#text = checkedText("text", text);
  }

  get text() {
    return this.#text;
  }
}

/** The JSON text of a value. `field` is what the caller gave it in, and `name` the key that it belongs to. */
export function jsonOf(field, name, value) {
  if (value instanceof RawJson) return value.text;
  if (typeof value === "bigint") return String(value);
  try {
    check(value, 0);
    return JSON.stringify(value);
  } catch (error) {
    throw new InvalidError(
      field,
      `${wordsFor(name)}${error instanceof Unfit ? error.message : "cannot be told in JSON"}`,
    );
  }
}

function wordsFor(name) {
  return name === undefined ? "" : `has under ${JSON.stringify(name)} a value that `;
}

/** JSON text that came from a caller, if it is some that all languages read. */
function checkedText(field, text) {
  if (typeof text !== "string") throw new InvalidError(field, `is ${kindOf(text)}, must be JSON text`);
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InvalidError(field, "is not JSON");
  }
  jsonOf(field, undefined, value);
  return text;
}

class Unfit extends Error {}

/** Throws where JSON would make something else of a value, or another language could not read what it makes. */
function check(given, depth) {
  if (given instanceof Date && Number.isNaN(given.getTime())) throw new Unfit("is or holds an invalid Date");
  const value = typeof given?.toJSON === "function" ? given.toJSON() : given;
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new Unfit("holds half of a surrogate pair");
  } else if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Unfit(`is or holds ${value}`);
  } else if (typeof value === "object" && value !== null) {
    checkNested(value, depth + 1);
  } else if (typeof value !== "boolean" && value !== null) {
    throw new Unfit(`is or holds ${kindOf(value)}`);
  }
}

function checkNested(value, depth) {
  if (depth > DEEPEST) throw new Unfit(`is nested deeper than ${DEEPEST}, or in itself`);
  if (value instanceof RawJson) throw new Unfit("holds a RawJson: tell the whole value as one");
  if (value instanceof Map || value instanceof Set || ArrayBuffer.isView(value)) {
    throw new Unfit(`is or holds a ${value.constructor.name}`);
  }
  if (Array.isArray(value)) {
    // A hole is skipped by `forEach`, and null in JSON.
    for (const item of value) check(item, depth);
    return;
  }
  for (const [name, item] of Object.entries(value)) {
    if (!name.isWellFormed()) throw new Unfit("holds half of a surrogate pair");
    // As everywhere, a property that is undefined is none.
    if (item !== undefined) check(item, depth);
  }
}

const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** Whether JavaScript's numbers can tell all numbers of a JSON text. */
export function isExact(json) {
  const numbers = (json.match(TOKENS) ?? []).filter((token) => !token.startsWith('"'));
  return numbers.every((token) => digitsOf(token) === digitsOf(String(Number(token))));
}

/** A number in one form: its sign, its digits without zeros at either end, and the place of the last. */
function digitsOf(token) {
  const [, sign, whole, fraction = "", exponent = "0"] = NUMBER.exec(token) ?? [];
  if (whole === undefined) return undefined;
  const digits = (whole + fraction).replace(/^0+/, "");
  const kept = digits.replace(/0+$/, "");
  if (kept === "") return "0";
  return `${sign}${kept}e${Number(exponent) - fraction.length + digits.length - kept.length}`;
}
