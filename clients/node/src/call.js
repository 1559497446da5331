import { bundle } from "./bundle.js";
import { encodeEntries } from "./entries.js";
import { InvalidError } from "./errors.js";

/** A key of a pattern: `<a>` is the value of that name, `<a|b>` the first of the two that is not empty. */
export function keyOf(pattern, tag, values) {
  const fill = (names) =>
    names
      .split("|")
      .map((name) => values[name])
      .find(Boolean) ?? "";
  return pattern.replace(/\{ns:p\}|<([^>]+)>/g, (_, names) => (names === undefined ? tag : fill(names)));
}

/**
 * The same as a script is sent it: of an empty name there is no key, and another keeps its position: the record of the
 * session, or the stream of the partition.
 */
function declaredKey(pattern, tag, values, unnamed = bundle.unnamed) {
  const holes = Array.from(pattern.matchAll(/<([^>]+)>/g), ([, names]) => names.split("|"));
  const isNamed = holes.every((names) => names.some((name) => values[name]));
  return keyOf(isNamed ? pattern : unnamed, tag, values);
}

/**
 * The command that runs an operation's script. `values` has the arguments by their names, and the group's members, if
 * the operation has a group, as a list under the group's name. What is left out is its default, or empty. With `events` it
 * asks for them, behind all else: of so many that a stream keeps, with the streams of the partition and of each node.
 */
export function commandOf(stem, tag, values) {
  const { sha1, keys, arguments: parameters, group, events } = bundle.operations[stem];
  const given = Object.fromEntries(parameters.map((parameter) => [parameter.name, valueOf(parameter, values)]));
  const names = { ...values, ...given };
  const members = (group && values[group.name]) ?? [];
  const allKeys = [
    ...keys.map(({ pattern }) => declaredKey(pattern, tag, names)),
    ...members.flatMap((member) => group.keys.map(({ pattern }) => declaredKey(pattern, tag, member))),
  ];
  const allArguments = [
    ...parameters.map((parameter) => encode(parameter, given[parameter.name])),
    ...members.flatMap((member) => group.arguments.map((parameter) => encode(parameter, valueOf(parameter, member)))),
  ];
  if (events && values.events) {
    const stream = (of) => ({ pattern }) => declaredKey(pattern, tag, of, bundle.unnamed_events);
    allKeys.push(...events.keys.map(stream(names)));
    allKeys.push(...members.flatMap((member) => (events.of_member ?? []).map(stream(member))));
    allArguments.push(String(values.events));
  }
  return ["EVALSHA", sha1, String(allKeys.length), ...allKeys, ...allArguments];
}

function valueOf(parameter, values) {
  const value = values[parameter.name] ?? parameter.default ?? (parameter.empty ? "" : undefined);
  if (value === undefined) throw new InvalidError(parameter.name, "is not given");
  return value;
}

function encode({ type }, value) {
  if (type === "entries" && Array.isArray(value)) return encodeEntries(value);
  return Buffer.isBuffer(value) ? value : String(value);
}
