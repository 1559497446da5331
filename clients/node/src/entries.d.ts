import type { RawJson } from "./json.js";

/**
 * What JSON can hold: null, a boolean, a finite number, text, lists and objects of these, nested at most 127 deep; or a bigint
 * or a `RawJson`. Text has to be well-formed.
 */
export type Value = unknown;
export type Values = Entries | Map<string, Value> | Record<string, Value>;

/** A map from text keys to JSON values, kept as JSON text. Iterates over the keys with their texts. */
export class Entries implements Iterable<[string, string]> {
  private constructor();
  /**
   * The value; undefined where there is none. Numbers beyond 2^53 lose digits here. It is the same object each time, and what
   * is changed in it counts as set.
   */
  get(key: string): any;
  /** The value as JSON text. */
  json(key: string): string | undefined;
  /** Throws `InvalidError` where JSON cannot hold the value. */
  set(key: string, value: Value): void;
  has(key: string): boolean;
  delete(key: string): boolean;
  keys(): IterableIterator<string>;
  readonly size: number;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}
