/** A JSON value, a bigint, or `RawJson`. */
export type Value = unknown;
export type Values = Entries | Map<string, Value> | Record<string, Value>;

/** JSON text given as it is: for numbers that JavaScript has no type for. Throws a SyntaxError where it is none. */
export class RawJson {
  constructor(text: string);
  readonly text: string;
}

/** A map from text keys to JSON values, kept as JSON text. Iterates over the keys with their texts. */
export class Entries implements Iterable<[string, string]> {
  constructor(texts?: Iterable<[string, string]>);
  static of(values?: Values): Entries;
  /** The value; undefined where there is none. Numbers beyond 2^53 lose digits here. */
  get(key: string): any;
  /** The value as JSON text. */
  json(key: string): string | undefined;
  set(key: string, value: Value): void;
  has(key: string): boolean;
  delete(key: string): boolean;
  keys(): IterableIterator<string>;
  readonly size: number;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}
