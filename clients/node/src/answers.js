/**
 * What operations answer. The id of a session is a secret, so no log and no JSON has one: there is a hash in its place, and
 * only the field itself has the id.
 */

import { inspect } from "node:util";
import { shownId } from "./ids.js";

/** A class of answers in which some fields are ids, or lists of them. */
function withIds(name, ...ids) {
  const Answer = class {
    #ids = {};

    constructor(fields) {
      for (const [field, value] of Object.entries(fields)) {
        if (ids.includes(field)) this.#ids[field] = value;
        else this[field] = value;
      }
    }

    static {
      for (const id of ids) {
        const get = function () {
          return this.#ids[id];
        };
        Object.defineProperty(this.prototype, id, { get });
      }
    }

    toJSON() {
      const shown = Object.entries(this.#ids).map(([field, value]) => [field, shownId(value)]);
      return { ...Object.fromEntries(shown), ...this };
    }

    [inspect.custom](depth, options) {
      return `${name} ${inspect(this.toJSON(), options)}`;
    }
  };
  Object.defineProperty(Answer, "name", { value: name });
  return Answer;
}

export const Removed = withIds("Removed", "id");
export const UserDeleted = withIds("UserDeleted", "corrupt");
export const Refreshed = withIds("Refreshed", "id");
export const Bound = withIds("Bound", "id", "takenFrom");
export const Expired = withIds("Expired", "id");
export const Reaped = withIds("Reaped", "corrupt");
export const Recovered = withIds("Recovered", "id");
export const Claimed = withIds("Claimed", "frozen", "corrupt", "stale");
export const Migration = withIds("Migration", "id");

/** What a patch came to, with what it changed, for a copy in hand. */
export class Patched extends withIds("Patched", "id") {
  #changes;

  constructor(fields, changes) {
    super(fields);
    this.#changes = changes;
  }

  /** What was changed: entries, status, ttl, lifetime. */
  static changes(patched) {
    return patched.#changes;
  }
}
