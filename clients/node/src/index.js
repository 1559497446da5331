export { Cloakroom } from "./store.js";
export { Entries, RawJson } from "./entries.js";
export { NodeIdentity, OperationId } from "./ids.js";
export { SessionEvent } from "./event.js";
export { Session } from "./session.js";
export { Token } from "./token.js";
export * from "./errors.js";
