// Codes of images: files of `ganforge explore project`, which take the place of a seed.
"use strict";

/** Maximum size of a file in bytes; a code with noise maps of 1024 x 1024 pixels has 11 MB. */
const LARGEST = 2 ** 26;

/**
 * Read a code for the model: `{ latent, isStyles, digest }`, where `latent` is a Float32Array of `z_dim` numbers or of all
 * styles, and `digest` the SHA-256 of the file, empty where the browser has none. Throws an Error for other files.
 *
 * The format is safetensors: the length of a header in 8 bytes, the header in JSON, and the numbers.
 */
ganforge.readCode = async function (file, model) {
  if (file.size > LARGEST) throw new Error(`${file.name} is larger than a code`);
  const buffer = await file.arrayBuffer();
  const { space, generator, latent, shape } = parse(buffer, file.name);
  if (generator && model.digest && generator !== model.digest) {
    throw new Error(`${file.name} is a code of another generator`);
  }
  const isStyles = model.styles !== null && space !== "z";
  const expected = isStyles ? [model.styles.count, model.styles.size] : [model.z_dim];
  if (String(shape) !== String(expected)) {
    throw new Error(`${file.name} has ${shape.join(" x ")} numbers, expected ${expected.join(" x ")}`);
  }
  if (!latent.every(Number.isFinite)) throw new Error(`${file.name} has other values than finite numbers`);
  return { latent, isStyles, digest: await sha256(buffer) };
};

/** SHA-256 in hexadecimal digits; browsers offer it for files, https and this machine only. */
async function sha256(buffer) {
  if (!globalThis.crypto?.subtle) return "";
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", buffer));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function parse(buffer, name) {
  try {
    const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(buffer.slice(8, start)));
    const card = JSON.parse(header.__metadata__.ganforge);
    const { dtype, shape, data_offsets: [first, end] } = header.latent;
    if (card.kind !== "latent" || dtype !== "F32") throw new Error();
    const latent = new Float32Array(buffer.slice(start + first, start + end));
    if (latent.length !== shape.reduce((product, size) => product * size, 1)) throw new Error();
    return { space: card.space, generator: card.generator, latent, shape };
  } catch {
    throw new Error(`${name} is not the code of an image; ganforge explore project writes one`);
  }
}
