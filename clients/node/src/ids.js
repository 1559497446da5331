import { createHash, randomBytes } from "node:crypto";
import { InvalidError } from "./errors.js";

const SESSION_ID_BYTES = 128;
const NAME_BYTES = 256;
const TASK_BYTES = 8;

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
    const digest = createHash("sha512").update(this.#seed).update(this.#bytes).update(String(place)).digest();
    const own = this.#copy();
    own.#seed = digest.subarray(0, 32);
    own.#bytes = digest.subarray(32, 40);
    return own;
  }

  /** The session id that this call makes: the same when the call is repeated, or it would make another session. */
  sessionId(scheme) {
    if (scheme === "token") return this.#seed.toString("hex");
    const bytes = Buffer.from(this.#seed.subarray(0, 16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes.toString("hex").replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }
}

/** A process that goes by the name of a node, for as long as one lease. */
export class NodeIdentity {
  #node;
  /** What tells this lease from those that the node had before and will have: who has it writes in the node's name. */
  #lease = randomBytes(8);

  constructor(node) {
    this.#node = requireName("node", node);
  }

  get node() {
    return this.#node;
  }

  get lease() {
    return this.#lease;
  }
}

/** Eight hex digits that stand for a session id, a secret, in logs. */
export function shortHash(id) {
  return createHash("sha1").update(id).digest("hex").slice(0, 8);
}

export function isSessionId(id) {
  return isText(id) && id !== "" && Buffer.byteLength(id) <= SESSION_ID_BYTES;
}

export function checkSessionId(id) {
  if (!isSessionId(id)) throw new InvalidError("session id", `must be text of 1 to ${SESSION_ID_BYTES} bytes`);
  return id;
}

/** What names a migration in what is stored, where zeros stand for none. */
export function checkTask(task) {
  if (!Buffer.isBuffer(task) || task.length !== TASK_BYTES || task.equals(Buffer.alloc(TASK_BYTES))) {
    throw new InvalidError("task", `must be a buffer of ${TASK_BYTES} bytes, not all zero`);
  }
  return task;
}

/** A user, connection or node; none is the empty text. */
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

/** What is not well-formed would be stored as another text. */
export function isText(text) {
  return typeof text === "string" && text.isWellFormed();
}
