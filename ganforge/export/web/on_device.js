// The parts of the network, run by onnxruntime-web on this device.
"use strict";

/** Load the graphs; each part is a function from `Tensor`s by name to the numbers of its output. */
ganforge.openParts = async function () {
  const code = new Blob([ganforge.runtime.module], { type: "text/javascript" });
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = toBytes(ganforge.runtime.binary);
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(code) };
  const parts = {};
  for (const [part, graph] of Object.entries(ganforge.graphs)) {
    const session = await ort.InferenceSession.create(toBytes(graph), { executionProviders: ["wasm"] });
    parts[part] = (tensors) => run(session, tensors);
  }
  ganforge.runtime = ganforge.graphs = null; // free memory
  return parts;
};

/** The output of a graph for the inputs that it takes. */
async function run(session, tensors) {
  const given = session.inputNames.map((name) => [name, tensors[name]]);
  const feeds = given.map(([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)]);
  const [output] = Object.values(await session.run(Object.fromEntries(feeds)));
  return output.data;
}

function toBytes(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
