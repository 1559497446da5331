import { bundle } from "./bundle.js";
import * as errors from "./errors.js";
import { foundOf } from "./layout.js";

/**
 * What a script answers, by the names in the bundle: `word`, each field, and `rest`, a list of rows for each part that
 * repeats. A `need` has its entry of the bundle as `need`. Records stay bytes.
 */
export function readReply(stem, items) {
  const { replies, needs } = bundle.operations[stem];
  if (!Array.isArray(items)) throw new errors.CorruptError("reply that is not an array");
  const input = [...items];
  const word = take(input, { name: "word" });
  if (word !== "need")
    return read(
      { word },
      replies.find((reply) => reply.word === word),
      input,
    );
  const kind = take(input, { name: "kind" });
  const need = needs.find((one) => one.kind === kind);
  return read({ word, kind, need }, need, input);
}

function read(reply, shape, input) {
  if (!shape) throw new errors.CorruptError("reply with an unknown word");
  for (const field of shape.fields) reply[field.name] = take(input, field);
  for (const field of shape.optional ?? []) if (input.length > 0) reply[field.name] = take(input, field);
  reply.rest = (shape.rest ?? []).map((part) => rows(part, reply[part.times], input));
  if (input.length > 0) throw new errors.CorruptError("reply that is too long");
  return reply;
}

function rows({ fields }, times = Infinity, input) {
  const list = [];
  while (list.length < times && (times !== Infinity || input.length > 0)) {
    list.push(Object.fromEntries(fields.map((field) => [field.name, take(input, field)])));
  }
  return list;
}

function take(input, { name, type }) {
  const item = input.shift();
  if (item === undefined || item === null) throw new errors.CorruptError(`reply without its ${name}`);
  return typeof item === "number" || type === "record" ? item : foundOf(item);
}

const BY_WORD = {
  missing: errors.MissingError,
  // Of an import: what is to come in.
  expired: errors.MissingError,
  exists: errors.ExistsError,
  gone: errors.GoneError,
  frozen: errors.FrozenError,
  conflict: errors.ConflictError,
  moved: errors.MovedError,
  rotated: errors.MovedError,
  departed: errors.DepartedError,
  taken: errors.TakenError,
  fenced: errors.FencedError,
  lapsed: errors.FencedError,
  leased: errors.LeasedError,
  limit: errors.LimitError,
  large: errors.TooLargeError,
};

/** The error for a reply that is no success of its operation. */
export function errorOf(reply) {
  if (reply.word === "corrupt") return new errors.CorruptError(reply.key, reply.node);
  const Refusal = BY_WORD[reply.word];
  return Refusal ? new Refusal(reply) : new errors.CorruptError("reply with an unknown word");
}
