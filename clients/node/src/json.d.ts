/** JSON text given as it is: for numbers that JavaScript has no type for. Throws an `InvalidError` where it is none. */
export class RawJson {
  constructor(text: string);
  readonly text: string;
}
