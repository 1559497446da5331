/**
 * Where a page ended. What is made or removed meanwhile shifts nothing. It has the id of a session in it, and shows it only by
 * `expose`, `id` and in no log or JSON.
 */
export class Cursor {
  private constructor();
  /** Takes one that came back as its text. Throws `InvalidError` where the text is none. */
  static parse(text: string): Cursor;
  /** Its text, the same in all languages: a page token, as secret as a session id. */
  expose(): string;
  readonly createdAtMs: number;
  readonly id: string;
  /** How many entries of the same millisecond came before, that of the id included. */
  readonly ties: number;
  toString(): string;
  toJSON(): string;
}
