/** How long nothing may come over a connection while something is awaited there. */
const LONGEST = 1000;

/**
 * For how long nothing came over a connection on which something is awaited. Nothing ends a connection whose host is gone, or
 * whose address is another's by now: it just stays silent.
 */
export class Silence {
  #now;
  #isConnected = false;
  #isReady = false;
  /** How many replies are awaited. */
  #awaited = 0;
  #since = 0;

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  connected() {
    this.#isConnected = true;
    this.#isReady = false;
    this.#since = this.#now();
  }

  ready() {
    this.#isReady = true;
    this.heard();
  }

  disconnected() {
    this.#isConnected = false;
  }

  awaits() {
    if (this.#isReady && this.#awaited === 0) this.#since = this.#now();
    this.#awaited += 1;
  }

  awaitsNoMore() {
    this.#awaited -= 1;
  }

  /** How many replies are awaited. */
  get awaited() {
    return this.#awaited;
  }

  heard() {
    this.#since = this.#now();
  }

  /** Until it is ready, the server has yet to answer the client's own greeting. */
  get isTooLong() {
    const isAwaited = !this.#isReady || this.#awaited > 0;
    return this.#isConnected && isAwaited && this.#now() - this.#since >= LONGEST;
  }
}
