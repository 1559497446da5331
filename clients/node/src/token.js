/** A session's token: the secret that its client holds, of which the session's id is the hash. */

import { createHash, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { InvalidError } from "./errors.js";

/** How every token begins, so that one is known where it does not belong: in a log, or in a repository. */
export const PREFIX = "ckt_";
/** 32 bytes in base64url. */
const DIGITS = 43;

/**
 * What a client holds for a session, and the store does not. It shows itself nowhere but by `expose`. Two of them are
 * compared by their ids, from which no token comes.
 */
export class Token {
  #secret;
  #id;

  /** `parse` and `random` make one. */
  constructor(text) {
    if (!isToken(text)) throw new InvalidError("token", `must be "${PREFIX}" and ${DIGITS} digits of base64url`);
    this.#secret = text;
    this.#id = createHash("sha256").update(text).digest("base64url");
  }

  /** Takes one that came from a client. */
  static parse(text) {
    return new Token(text);
  }

  /** A new one. */
  static random() {
    return Token.ofSeed(randomBytes(32));
  }

  /** That of 32 bytes. */
  static ofSeed(seed) {
    return new Token(PREFIX + seed.toString("base64url"));
  }

  /** The token itself, for the client alone. */
  expose() {
    return this.#secret;
  }

  /** The id of its session: no secret. */
  get id() {
    return this.#id;
  }

  /** What stands for it wherever it is shown. */
  toString() {
    return `Token(of ${this.#id})`;
  }

  toJSON() {
    return this.toString();
  }

  [inspect.custom]() {
    return this.toString();
  }
}

/** Of the last digit two bits stand for nothing, and are 0: one token has one text. */
function isToken(text) {
  if (typeof text !== "string" || !text.startsWith(PREFIX)) return false;
  const digits = text.slice(PREFIX.length);
  return digits.length === DIGITS && Buffer.from(digits, "base64url").toString("base64url") === digits;
}
