export { Cloakroom } from "./store.js";
export { Cursor } from "./cursor.js";
export { Entries } from "./entries.js";
export { RawJson } from "./json.js";
export { NodeIdentity, OperationId } from "./ids.js";
export { SessionEvent } from "./event.js";
export { Session } from "./session.js";
export { Token } from "./token.js";
export * from "./errors.js";
