/** What is known of a server's clock: a time that it had not passed before, for the bound of a call. */

/** By how much the server's clock and this process's may run apart: one thousandth. */
const DRIFT = 1000;

/** The milliseconds of a reply to TIME. */
export function timeOf([seconds, micros]) {
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** The newest time that the server at the end of a connection told. Instants are of `performance.now()`. */
export class ServerClock {
  #told;
  #at;

  /** Whether the server told a time. */
  get isKnown() {
    return this.#told !== undefined;
  }

  /** Notes a reply to TIME that has just come. An earlier time than was expected counts as well: it was set back. */
  saw(time) {
    this.#told = timeOf(time);
    this.#at = performance.now();
  }

  /** The connection was made anew, and may lead to another server. */
  forget() {
    this.#told = undefined;
  }

  /** A time that the server's clock did not show before an instant; undefined as long as the server told none. */
  noLaterThan(instant) {
    if (this.#told === undefined) return undefined;
    const passed = instant - this.#at;
    if (passed >= 0) return this.#told + Math.floor(passed - passed / DRIFT);
    return Math.max(0, this.#told - Math.floor(-passed - passed / DRIFT) - 1);
  }
}
