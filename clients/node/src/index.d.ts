export * from "./entries.js";
export * from "./errors.js";
export * from "./events.js";
export * from "./ids.js";
export type * from "./rules.js";
export * from "./session.js";
export * from "./store.js";
export * from "./token.js";
