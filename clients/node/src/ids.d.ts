/**
 * Names one call, so that it may be repeated without happening twice. That of an `AmbiguousError` is of a call that may have
 * happened.
 */
export class OperationId {
  constructor();
}

/** A process that goes by the name of a node, for as long as one lease: another lease, another identity. */
export class NodeIdentity {
  constructor(node: string);
  readonly node: string;
}
