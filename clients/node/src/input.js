/** Checks of what a caller gives. What is bad is an `InvalidError` that names it, before anything is sent. */

import { InvalidError } from "./errors.js";

/** The names and values of options, none of which is misspelt: that would else be left out in silence. */
export function checkOptions(field, given, names) {
  if (!isPlain(given)) throw new InvalidError(field, `is ${kindOf(given)}, must be an object`);
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new InvalidError(field, `has no ${JSON.stringify(unknown)}`);
  return given;
}

/** Whether a value is an object, and no array. */
export function isPlain(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function checkInteger(field, value, least, most) {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new InvalidError(field, `is ${toldOf(value)}, must be an integer from ${least} to ${most}`);
  }
  return value;
}

/** The same of what need not be given. */
export function checkIntegerIfGiven(field, value, least, most) {
  return value === undefined ? undefined : checkInteger(field, value, least, most);
}

export function checkWord(field, value, words) {
  if (!words.includes(value)) throw new InvalidError(field, `must be one of ${words.join(", ")}`);
  return value;
}

export function checkFlag(field, value) {
  if (typeof value !== "boolean") throw new InvalidError(field, `is ${kindOf(value)}, must be true or false`);
  return value;
}

export function checkList(field, value) {
  if (!Array.isArray(value)) throw new InvalidError(field, `is ${kindOf(value)}, must be an array`);
  return value;
}

export function checkInstance(field, value, Class) {
  if (!(value instanceof Class)) throw new InvalidError(field, `is ${kindOf(value)}, must be a ${Class.name}`);
  return value;
}

/** What is not well-formed would be stored as another text. */
export function isText(value) {
  return typeof value === "string" && value.isWellFormed();
}

/** A number, or what a value is that should be one. */
export function toldOf(value) {
  return typeof value === "number" ? String(value) : kindOf(value);
}

/** What a value is, without the value, which may be a secret. */
export function kindOf(value) {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
