/** Whether a server is the master: a replica answers reads too, and so does a master that was demoted. */

import { codeOf } from "./server-errors.js";

/** For so long a server is taken for the master that said that it is. */
const COUNTS_FOR = 1000;
/** How it is asked. Some services do not offer ROLE, and a user may not be allowed to run it. */
const QUESTIONS = [["ROLE"], ["INFO", "replication"]];

/** What is known of the role of the server at the end of a connection. Instants are of `performance.now()`. */
export class Role {
  #question = 0;
  #askedAt = -Infinity;
  /** When it was asked the last time that it said that it is the master. */
  #confirmedAt = -Infinity;
  #trouble;

  /** Why what it tells does not count; undefined where that is not known of it. */
  get trouble() {
    return this.#trouble;
  }

  /** Whether nobody may ask. Nothing is known then. */
  get isUntold() {
    return this.#question === QUESTIONS.length;
  }

  /** The connection was made anew, and may lead to another server. */
  forget() {
    this.#askedAt = -Infinity;
    this.#confirmedAt = -Infinity;
    this.#trouble = undefined;
  }

  /** What asks for it, if that is due; it is taken for asked. */
  questionAt(now) {
    if (this.isUntold || now - this.#askedAt < COUNTS_FOR) return undefined;
    this.#askedAt = now;
    return QUESTIONS[this.#question];
  }

  /** Whether what was sent at an instant counts. */
  countsFor(sentAt) {
    return this.isUntold || this.#confirmedAt >= sentAt - COUNTS_FOR;
  }

  /** Takes the answer to a question that was sent at an instant. */
  heard(question, answer, sentAt) {
    if (codeOf(answer)) {
      this.#refused(question, answer);
      return;
    }
    const role = question === QUESTIONS[0] ? String(answer[0]) : /^role:(\w+)/m.exec(String(answer))?.[1];
    if (role === "master") this.#confirmedAt = sentAt;
    else this.#trouble = new Error(role === "slave" ? "the server is a replica" : "the server is not known to be a master");
  }

  /** Another question is asked where this one is refused; what else goes wrong is for another time. */
  #refused(question, answer) {
    this.#askedAt = -Infinity;
    const isForGood = codeOf(answer) === "NOPERM" || /^ERR unknown/.test(answer.message);
    if (isForGood && question === QUESTIONS[this.#question]) this.#question += 1;
  }
}
