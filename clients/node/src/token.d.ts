/**
 * What a client holds for a session where ids are the hashes of tokens, and the store does not have. It shows itself nowhere
 * but by `expose`: not in a log, nor in JSON.
 */
export class Token {
  private constructor();
  /** Takes one that came from a client. Throws `InvalidError` where the text is none, without the text. */
  static parse(text: string): Token;
  /** A new one. */
  static random(): Token;
  /** The token itself, for the client alone. */
  expose(): string;
  /** The id of its session: no secret. */
  readonly id: string;
  /** What stands for it wherever it is shown. */
  toString(): string;
  toJSON(): string;
}

/** What stands for a session: its id, or its token where ids are the hashes of those. */
export type Id = string | Token;
