/** What a call knows of its own earlier attempts: when it began, by the server's clock, and whether one may have happened. */

/**
 * How long after its beginning a call is sent a second time, at the earliest. A script takes a call that comes within 100
 * milliseconds of its bound for the first of its kind; the rest is for clocks that run apart.
 */
const ALONE = 110;

/** The attempts of one call. */
export class History {
  /** No attempt was made before. Undefined where nobody knows. */
  #began;
  /** Of the operation id: `own`, nobody else sent it; `given`, the caller may have; `repeated`, one may have happened. */
  #source;
  #beganByTestClock;
  #bound;
  #doubt;
  #asksTime;

  /** Of a call that begins, under an id if the caller gave one. */
  constructor(id) {
    this.#began = id ? id.made : performance.now();
    this.#source = id ? (id.isOfARepeat ? "repeated" : "given") : "own";
    const earlier = "an earlier call under the same operation id ended without a reply";
    this.#doubt = this.#source === "repeated" ? new Error(earlier) : undefined;
    this.#asksTime = this.#doubt !== undefined;
  }

  /** Why the call may have happened already, if it may. */
  get doubt() {
    return this.#doubt;
  }

  /** Whether nobody else sent a call under its operation id. */
  get isOfOwnId() {
    return this.#source === "own";
  }

  /** Whether the server is asked for its time before the next attempt. */
  get asksTime() {
    return this.#asksTime;
  }

  /** A time of the server's from before the call began. */
  get bound() {
    return this.#bound;
  }

  /** An attempt ended without a reply. */
  lost(reason) {
    this.#doubt = reason;
    this.#asksTime = true;
  }

  /**
   * Takes a time of the server's from before the call began, as its clock has it: the earliest that was found counts, for
   * attempts may come to servers whose clocks differ. Where nothing is known of this one's, there is none.
   */
  boundBy(clock) {
    const found = this.#began === undefined ? undefined : clock.noLaterThan(this.#began);
    this.#bound = found === undefined ? undefined : Math.min(found, this.#bound ?? found);
  }

  /**
   * The same under a clock that a test moves. The time that passes for the process is not its time: a call is taken for the
   * first of its kind, unless it is known not to be.
   */
  boundByTestClock(now) {
    this.#beganByTestClock = Math.min(now, this.#beganByTestClock ?? now);
    if (!this.#doubt) this.#bound = now;
    else this.#bound = this.#source === "repeated" ? undefined : Math.max(0, this.#beganByTestClock - ALONE);
  }

  /** When the call may be sent, by `performance.now()`, if it may have been before. */
  get notBefore() {
    return this.#doubt && this.#began !== undefined ? this.#began + ALONE : 0;
  }

  /**
   * The server could not tell whether the call has happened. One that was sent once, and answered, has not: it begins anew.
   * Under an id that the caller gave it does not, but it asks for the server's time, if it did not before. False where
   * neither helps.
   */
  beginAnew() {
    if (this.#doubt || (this.#source !== "own" && this.#asksTime)) return false;
    if (this.#source === "own") this.#began = performance.now();
    this.#bound = undefined;
    this.#asksTime = true;
    return true;
  }
}
