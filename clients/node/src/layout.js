/** Bytes as the bundle lays them out: a header of fields, then texts, each as long as its `_size` says. */

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of some bytes; throws a TypeError where they are no UTF-8. */
export function textOf(bytes) {
  return UTF8.decode(bytes);
}

/**
 * What a server has as an id or name, which need be no text: a byte that is none stands as a lone surrogate, and
 * `storedOf` gives it back as it was.
 */
export function foundOf(bytes) {
  try {
    return textOf(bytes);
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join("");
  }
}

/** Whether what was found can be told. */
export function isTold(found) {
  return found.isWellFormed();
}

/** What was found, as a server has it; and any other part of a command as it is. */
export function storedOf(part) {
  if (typeof part !== "string" || part.isWellFormed()) return part;
  const pieces = part.split(/([\udc80-\udcff])/u);
  const bytes = (piece, at) => (at % 2 === 1 ? Buffer.from([piece.charCodeAt(0) & 0xff]) : Buffer.from(piece));
  return Buffer.concat(pieces.map(bytes));
}

/** The fields and texts that begin at an offset, and where they end; null where they are cut off. */
export function readLayout(layout, bytes, at) {
  let end = at + layout.header_bytes;
  if (end > bytes.length) return null;
  const values = {};
  for (const { name, offset, bytes: size, type } of layout.header) {
    const start = at + offset;
    values[name] = type === "integer" ? readInteger(bytes, start, size) : bytes.subarray(start, start + size);
  }
  for (const name of layout.texts) {
    const start = end;
    end += values[`${name}_size`];
    values[name] = bytes.subarray(start, end);
  }
  return end > bytes.length ? null : { values, end };
}

/** The bytes of integers and texts. */
export function writeLayout(layout, values) {
  const header = Buffer.alloc(layout.header_bytes);
  const texts = layout.texts.map((name) => Buffer.from(values[name]));
  const sizes = Object.fromEntries(layout.texts.map((name, at) => [`${name}_size`, texts[at].length]));
  for (const { name, offset, bytes: size } of layout.header) {
    header.writeUIntBE(sizes[name] ?? values[name], offset, size);
  }
  return Buffer.concat([header, ...texts]);
}

/** The engine keeps its numbers below 2^53. */
function readInteger(bytes, at, size) {
  return size > 6 ? Number(bytes.readBigUInt64BE(at)) : bytes.readUIntBE(at, size);
}
