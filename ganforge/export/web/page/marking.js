// Metadata that mark a PNG as generated: an XMP packet in a chunk of text.
"use strict";

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = CRC_TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return ~sum >>> 0;
}

/** Return a PNG chunk: length, kind, content, and CRC-32 of kind and content. */
function chunk(kind, content) {
  const body = new TextEncoder().encode(kind + content);
  const bytes = new Uint8Array(body.length + 8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length - 4);
  bytes.set(body, 4);
  view.setUint32(body.length + 4, crc32(body));
  return bytes;
}

/** Return a PNG with the packet of the model, and the code and the seeds of its image; unchanged without a packet. */
ganforge.mark = async (png, code, seeds) => {
  const { packet } = ganforge.model;
  if (!packet) return png;
  const prompt = [];
  if (code) prompt.push(code.digest ? `code sha256:${code.digest}` : "a code");
  if (seeds.length) prompt.push(`${seeds.length > 1 ? "seeds" : "seed"} ${seeds.join(", ")}`);
  const text = `XML:com.adobe.xmp\0\0\0\0\0${packet.replace("{seeds}", prompt.join(", "))}`;
  const end = 8 + 25; // signature and header
  return new Blob([png.slice(0, end), chunk("iTXt", text), png.slice(end)], { type: png.type });
};
