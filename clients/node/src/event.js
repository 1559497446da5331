/** What became of a session, as a stream has it. */

import { inspect } from "node:util";
import { isSessionId, shownId } from "./ids.js";
import { textOf } from "./layout.js";

/** What can happen to a session, and why one ends. docs/events.md has the table. */
const WHAT = ["created", "updated", "rotated", "bound", "unbound", "taken_over", "recovered", "arrived", "departed", "ended"];
const ENDINGS = ["deleted", "evicted", "expired", "login", "withdrawn", "corrupt", "lost"];

/** What became of a session. Its ids may be secrets, so they are no properties that a log would print. */
export class SessionEvent {
  #id;
  #newId;

  constructor({ what, why, id, user, connection, node, version, new_id }) {
    this.#id = id;
    this.#newId = new_id;
    Object.assign(this, { what, why, user: user || null, connection: connection || null, node: node || null, version });
  }

  get id() {
    return this.#id;
  }

  get newId() {
    return this.#newId ?? null;
  }

  [inspect.custom](depth, options) {
    return `SessionEvent ${inspect({ id: shownId(this.#id), ...this }, options)}`;
  }
}

/** The entries of a reply; undefined: it is none. The fields of each are names and values in turn. */
export function entriesOf(reply) {
  return Array.isArray(reply) ? reply.map(([id, fields]) => ({ id: String(id), fields })) : undefined;
}

/** Whether nothing was before an entry. */
export function isTheBeginning({ fields: [name, what] }) {
  return String(name) === "what" && String(what) === "begun";
}

/** Whether two entries of the same place tell the same: another master may have given that to something else. */
export function areSame(one, other) {
  return one.length === other.length && one.every((part, at) => part.equals(other[at]));
}

/** What an entry tells; undefined: nothing of a session, or of one whose id or names are no texts. */
export function eventOf({ fields }) {
  const told = {};
  try {
    for (let at = 0; at < fields.length; at += 2) told[textOf(fields[at])] = textOf(fields[at + 1]);
  } catch {
    return undefined;
  }
  const { what, why, id, user, connection, node, new_id } = told;
  const version = Number(told.version);
  const isKnown = WHAT.includes(what) && (what !== "ended" || ENDINGS.includes(why));
  const isWhole = [why, user, connection, node].every((name) => name !== undefined) && Number.isSafeInteger(version);
  const hasIds = isSessionId(id) && ((what !== "rotated" && why !== "login") || isSessionId(new_id));
  return isKnown && isWhole && hasIds ? new SessionEvent({ ...told, version }) : undefined;
}
