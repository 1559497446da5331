/**
 * Which map of a cluster's slots is older than what is known.
 *
 * Nodes agree on a number with each change, its epoch, and tell each other. One that was cut off tells the map of before, and
 * may be the first to answer. So the newest epoch that any node told stands: a map of an older one counts only if all nodes
 * that were asked tell no newer, so that somebody has set them up anew; or if none has told a newer one for so long that a
 * master which was cut off has stopped to serve.
 */

/** Twice what `cluster-node-timeout` is by default, in which a master that is cut off finds that out. */
export const GIVEN_UP_AFTER = 30_000;

/** The epoch of the map that counts. */
export class Epochs {
  #newest = 0;
  /** Since when only older ones are told. */
  #outdatedSince;

  get newest() {
    return this.#newest;
  }

  /**
   * Whether a map counts whose epoch is the newest that nodes told just now, which is noted then. Of the nodes that were
   * asked, `all` or `some` have answered.
   */
  admit(told, heard, now) {
    if (told < this.#newest && heard === "some") {
      this.#outdatedSince ??= now;
      if (now - this.#outdatedSince < GIVEN_UP_AFTER) return false;
    }
    this.#newest = told;
    this.#outdatedSince = undefined;
    return true;
  }
}
