import { bundle } from "./bundle.js";
import { decodeEntries } from "./entries.js";
import { SESSION_ID_BYTES } from "./ids.js";
import { foundOf, readLayout, textOf } from "./layout.js";

/** Those of a session that no migration has frozen. */
export const STATUSES = ["active", "suspended"];
const nameOf = (numbers) => new Map(Object.entries(numbers).map(([name, number]) => [number, name]));
/** Of each format that is read, how its records are laid out: the one that is written, and those of other releases. */
const LAYOUTS = new Map([bundle, ...bundle.other_records].map(({ record_format, record }) => [record_format, layoutFrom(record)]));

function layoutFrom(record) {
  return {
    ...record,
    /** All but the body. */
    head: { ...record, texts: record.texts.slice(0, -1) },
    /** Only the numbers. */
    numbers: { ...record, texts: [] },
    bodySize: record.header.find(({ name }) => name === "body_size"),
    kindOf: nameOf(record.kinds),
    statusOf: nameOf(record.statuses),
    directionOf: nameOf(record.freeze.directions),
  };
}

/** The layout of a record, or its beginning, by the format that it says it has; undefined: none that is read. */
function layoutOf(bytes) {
  return LAYOUTS.get(bytes[0]);
}

/** The most of what the formats need. */
const most = (name) => Math.max(...Array.from(LAYOUTS.values(), (layout) => layout[name]));

/**
 * The stored form of a session, read: its fields by their names in the bundle, kind and status as words, `entries` of
 * a live one, `task` and `place` of a departed one, `new_id` of another; `freeze` of one that is migrating. Null for what
 * is no record of ours.
 */
export function decodeRecord(bytes) {
  const layout = layoutOf(bytes);
  const read = layout && readLayout(layout, bytes, 0);
  if (!read || read.end !== bytes.length) return null;
  const { kind, status, user, connection, node, body, ...numbers } = read.values;
  const record = { ...numbers, kind: layout.kindOf.get(kind), status: layout.statusOf.get(status) };
  if (!record.kind || !record.status) return null;
  try {
    Object.assign(record, { user: textOf(user), connection: textOf(connection), node: textOf(node) });
    const end = record.status === "migrating" ? splitFreeze(layout, record, body) : 0;
    if (end === null) return null;
    const rest = body.subarray(end);
    if (record.kind === "live") {
      if (record.stored_until < record.expires_at) return null;
      record.entries = decodeEntries(rest);
    } else if (record.kind === "departed") {
      if (rest.length < layout.departed_task_bytes) return null;
      splitDeparture(layout, record, rest);
    } else if (record.kind === "moved") {
      if (rest.length < 1 || rest.length > SESSION_ID_BYTES) return null;
      record.new_id = textOf(rest);
    } else record.new_id = foundOf(rest);
  } catch {
    return null;
  }
  return record.entries === null ? null : record;
}

/** How much of a record to read for its head. */
export const HEAD_BYTES = most("head_bytes");

/** The same by the beginning of a record: a session has no entries then. */
export function decodeHead(bytes) {
  const layout = layoutOf(bytes);
  const { values, end } = (layout && readLayout(layout.head, bytes, 0)) ?? {};
  if (!values) return null;
  if (layout.kindOf.get(values.kind) !== "live") return decodeRecord(bytes);
  const body = bytes.subarray(end);
  const block = layout.statusOf.get(values.status) === "migrating" ? readLayout(layout.freeze, body, 0) : { end: 0 };
  if (!block) return null;
  const withoutEntries = Buffer.from(bytes.subarray(0, end + block.end));
  withoutEntries.writeUIntBE(block.end, layout.bodySize.offset, layout.bodySize.bytes);
  return decodeRecord(withoutEntries);
}

/**
 * What the beginning of a session's record tells: all that it takes to remove it, however large it is. Empty of what is
 * no session, or broken.
 */
export function headOf(bytes) {
  const none = { user: "", connection: "", node: "", expires_at_ms: 0, size: 0 };
  const layout = layoutOf(bytes);
  const { values, end } = (layout && readLayout(layout.head, bytes, 0)) ?? {};
  if (!values || layout.kindOf.get(values.kind) !== "live") return none;
  const names = { user: foundOf(values.user), connection: foundOf(values.connection), node: foundOf(values.node) };
  return { ...names, expires_at_ms: values.expires_at, size: end + values.body_size };
}

/** How much of a record to read for its usage. */
export const USAGE_BYTES = most("header_bytes");

/**
 * When a session that is not frozen was used last, and until when it lives, by the header of its record: what a refresh
 * looks at. Null for anything else.
 */
export function usageOf(bytes) {
  const layout = layoutOf(bytes);
  const { values } = (layout && readLayout(layout.numbers, bytes, 0)) ?? {};
  if (!values || layout.kindOf.get(values.kind) !== "live") return null;
  const isOpen = STATUSES.includes(layout.statusOf.get(values.status));
  return isOpen && values.stored_until >= values.expires_at ? values : null;
}

/** Reads the freeze that a body begins with, and tells where it ends; null where there is none. */
function splitFreeze(layout, record, body) {
  const read = readLayout(layout.freeze, body, 0);
  if (!read) return null;
  const { task, frozen_until, span, copies_until, status, direction, place, node } = read.values;
  const words = { status: layout.statusOf.get(status), direction: layout.directionOf.get(direction) };
  if (!STATUSES.includes(words.status) || !words.direction) return null;
  const texts = { place: textOf(place), node: textOf(node) };
  record.freeze = { task: task.toString("hex"), frozen_until, span, copies_until, ...words, ...texts };
  return read.end;
}

function splitDeparture(layout, record, body) {
  const size = layout.departed_task_bytes;
  record.task = body.subarray(0, size).toString("hex");
  record.place = textOf(body.subarray(size));
}

/** A record without what is over: null if its session has expired or it speaks no longer, else without such a freeze. */
export function unlessOver(record, now) {
  const { freeze, ...thawed } = record;
  // What is no session is stored longer than it speaks where a copy may wait in another store.
  const speaksUntil = freeze?.direction === "over" ? freeze.frozen_until : record.stored_until;
  if ((record.kind === "live" ? record.expires_at : speaksUntil) <= now) return null;
  return freeze && hasEnded(freeze, now) ? { ...thawed, status: freeze.status } : record;
}

/** One that would last longer than it is long began by a clock that was set back since. */
function hasEnded({ direction, frozen_until: until, span }, now) {
  return direction === "over" || (direction === "outgoing" && (until <= now || until - now > span));
}

/** The status of a session, as a script tells it: it has looked at the time. */
export function statusOf({ freeze, status }) {
  return freeze?.direction === "over" ? freeze.status : status;
}
