import { argumentsOf } from "./rules.js";

/** What all calls of a store share, in one partition. */
export class Engine {
  /** `streams` are the events that are read, until the store is closed. */
  constructor({ servers, partitions, partition = 0, rules, deadlineMs, clock, streams = new Set() }) {
    Object.assign(this, { servers, partitions, partition, rules, deadlineMs, clock, streams });
    this.ruleArguments = argumentsOf(rules);
  }

  /** What sends its commands. */
  get link() {
    return this.servers.at(this.tag);
  }

  /** What all keys of a call begin with. */
  get tag() {
    return this.partitions.tags[this.partition];
  }

  /** Whether there is one partition, in which all is. */
  get isOne() {
    return this.partitions.count === 1;
  }

  /** The same in a partition. */
  at(partition) {
    return partition === this.partition ? this : new Engine({ ...this, partition });
  }

  /** The same in the partition of a session's id, or of a user. */
  of(text) {
    return this.at(this.partitions.of(text));
  }
}
