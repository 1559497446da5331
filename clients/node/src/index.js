export { Cloakroom } from "./store.js";
export { Entries, RawJson } from "./entries.js";
export { NodeIdentity, OperationId } from "./ids.js";
export { Session } from "./session.js";
export * from "./errors.js";
