export { Cloakroom } from "./store.js";
export { Entries, RawJson } from "./entries.js";
export { Holder, OperationId } from "./ids.js";
export { Session } from "./session.js";
export * from "./errors.js";
