import { createHash, randomBytes } from "node:crypto";
import { InvalidError } from "./errors.js";
import { isText } from "./input.js";
import { PREFIX, Token } from "./token.js";

export const SESSION_ID_BYTES = 128;
const NAME_BYTES = 256;
const TASK_BYTES = 8;
/** How many hex digits at the end of an id differ from draw to draw. */
const TAIL = 12;

/**
 * Names one call, so that the same call may be sent again without happening twice. That of an `AmbiguousError` is of a call
 * that may have happened.
 */
export class OperationId {
  /** Of a new session id, and as secret: it is never stored. */
  #seed = randomBytes(32);
  #bytes = randomBytes(8);
  #made = performance.now();
  #isOfARepeat = false;

  /** When it was made, by `performance.now()`: no call under it was sent before. */
  get made() {
    return this.#made;
  }

  /** Whether a call under it may have happened. */
  get isOfARepeat() {
    return this.#isOfARepeat;
  }

  /** The same, for a call that may have happened. */
  ofARepeat() {
    const same = this.#copy();
    same.#isOfARepeat = true;
    return same;
  }

  /** The same, for a call that what is stored tells of by more than its id: it goes by a bound of its own. */
  ofAFirstCall() {
    const same = this.#copy();
    same.#made = performance.now();
    same.#isOfARepeat = false;
    return same;
  }

  #copy() {
    const copy = new OperationId();
    copy.#seed = this.#seed;
    copy.#bytes = this.#bytes;
    copy.#made = this.#made;
    copy.#isOfARepeat = this.#isOfARepeat;
    return copy;
  }

  /** What is stored and told. */
  get bytes() {
    return this.#bytes;
  }

  /** That of one of many sessions that a call makes, the same for the same call; of the first it is the call's own. */
  nth(place) {
    if (place === 0) return this;
    const own = this.#copy();
    [own.#bytes, own.#seed] = partOf(this.#seed, this.#bytes, place);
    return own;
  }

  /** Ids one after the other, the same for the same call. They differ at the end, and each is as random as one drawn once. */
  *draws() {
    const head = this.sessionId().slice(0, -TAIL);
    for (let place = 0; ; place++) {
      const digits = createHash("sha512").update("draw").update(this.#seed).update(String(place)).digest("hex");
      for (let at = 0; at + TAIL <= digits.length; at += TAIL) yield head + digits.slice(at, at + TAIL);
    }
  }

  /** Tokens one after the other, the same for the same call. None tells another, nor what they are made of. */
  *tokens() {
    for (let place = 0; ; place++) {
      const digest = createHash("sha512").update("token").update(this.#seed).update(String(place)).digest();
      yield Token.ofSeed(digest.subarray(0, 32));
    }
  }

  /** The session id that this call makes: the same when the call is repeated, or it would make another session. */
  sessionId() {
    const bytes = Buffer.from(this.#seed.subarray(0, 16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes.toString("hex").replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }
}

/** What the id of one of many parts of a call is made of: as in all languages, for the copies of a login have such ids. */
export function partOf(seed, bytes, place) {
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(place));
  const digest = createHash("sha512").update(seed).update(bytes).update(number).digest();
  return [digest.subarray(0, 8), digest.subarray(8, 40)];
}

/** A process that goes by the name of a node, for as long as one lease: of one partition, or of each of several. */
export class NodeIdentity {
  #node;
  /** What tells this lease from those that the node had before and will have: who has it writes in the node's name. */
  #lease = randomBytes(8);
  /** Of several partitions: in which of them it holds a lease, by their tags, and how often one was lost there. */
  #held = new Set();
  #lost = new Map();

  constructor(node) {
    this.#node = requireName("node", node);
  }

  get node() {
    return this.#node;
  }

  /** The id of its lease in a partition: each of several has its own, and another once one was lost there. */
  leaseIn({ isOne, tag }) {
    if (isOne) return this.#lease;
    const text = `${tag} ${this.#lost.get(tag) ?? 0}`;
    return createHash("sha512").update(this.#lease).update(text).digest().subarray(0, 8);
  }

  /** Notes that it holds the lease there, or does no longer. */
  hold({ tag }, isHeld) {
    if (isHeld) this.#held.add(tag);
    else this.#held.delete(tag);
  }

  holds({ tag }) {
    return this.#held.has(tag);
  }

  /** Notes that a lease is lost there: it is never renewed, and the next one has another id. */
  lose(engine, lease) {
    this.hold(engine, false);
    if (this.leaseIn(engine).equals(lease)) this.#lost.set(engine.tag, (this.#lost.get(engine.tag) ?? 0) + 1);
  }
}

/** Eight hex digits that stand for a session id, a secret, in logs. */
export function shortHash(id) {
  return createHash("sha1").update(id).digest("hex").slice(0, 8);
}

/** What stands for an id, or a list of them, where it is shown. */
export function shownId(id) {
  if (Array.isArray(id)) return id.map(shownId);
  return typeof id === "string" ? `#${shortHash(id)}` : id;
}

export function isSessionId(id) {
  return isText(id) && id !== "" && Buffer.byteLength(id) <= SESSION_ID_BYTES;
}

/** The id of a session, as a caller gave it. */
export function checkSessionId(field, id) {
  if (isText(id) && id.startsWith(PREFIX)) {
    throw new InvalidError(field, "is the text of a token: read it with Token.parse");
  }
  if (!isSessionId(id)) throw new InvalidError(field, `must be text of 1 to ${SESSION_ID_BYTES} bytes`);
  return id;
}

/** What names a migration in what is stored, where zeros stand for none. */
export function checkTask(task) {
  if (!(task instanceof Uint8Array) || task.length !== TASK_BYTES || task.every((byte) => byte === 0)) {
    throw new InvalidError("task", `must be a buffer of ${TASK_BYTES} bytes, not all zero`);
  }
  return Buffer.from(task);
}

/** A user, connection, node or place; none is the empty text. */
export function checkName(field, name) {
  const text = name ?? "";
  if (!isText(text) || Buffer.byteLength(text) > NAME_BYTES) {
    throw new InvalidError(field, `must be text of at most ${NAME_BYTES} bytes`);
  }
  return text;
}

export function requireName(field, name) {
  if (checkName(field, name) === "") throw new InvalidError(field, "is empty");
  return name;
}
