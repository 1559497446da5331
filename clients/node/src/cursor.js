import { inspect } from "node:util";
import { InvalidError } from "./errors.js";
import { isSessionId, shownId } from "./ids.js";
import { kindOf } from "./input.js";

const TEXT = /^(\d{1,15})\.(\d{1,5})\.(.*)$/s;

/**
 * Where a page ended. What is made or removed meanwhile shifts nothing. Its text is the same in all languages, and goes over
 * HTTP and back as a page token; it has the id of a session in it, and is as secret as that, so nothing else shows it.
 */
export class Cursor {
  #id;
  #createdAtMs;
  #ties;

  /** `ties` is how many entries of the same millisecond came before, that of the id included. */
  constructor({ createdAtMs, id, ties }) {
    this.#createdAtMs = createdAtMs;
    this.#id = id;
    this.#ties = ties;
  }

  /** Takes one that came back as its text. */
  static parse(text) {
    return cursorOf("text", text);
  }

  get createdAtMs() {
    return this.#createdAtMs;
  }

  get id() {
    return this.#id;
  }

  get ties() {
    return this.#ties;
  }

  /** The text, for whoever turns the page. */
  expose() {
    return `${this.#createdAtMs}.${this.#ties}.${this.#id}`;
  }

  toString() {
    return `Cursor(${shownId(this.#id)})`;
  }

  toJSON() {
    return this.toString();
  }

  [inspect.custom]() {
    return this.toString();
  }
}

/** What a caller gave as one, or as its text; undefined where nothing was given. */
export function cursorOf(field, given) {
  if (given === undefined || given instanceof Cursor) return given;
  if (typeof given !== "string") throw new InvalidError(field, `is ${kindOf(given)}, must be a Cursor or its text`);
  const [, createdAtMs, ties, id] = TEXT.exec(given) ?? [];
  if (!isSessionId(id) || Number(ties) > 65_535 || Number(createdAtMs) >= 2 ** 48) {
    throw new InvalidError(field, "is not a cursor");
  }
  return new Cursor({ createdAtMs: Number(createdAtMs), id, ties: Number(ties) });
}
