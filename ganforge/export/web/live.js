// The parts of the network, run by the process that serves this page.
"use strict";

/** Each part is a function from `Tensor`s by name to the numbers of its output. */
ganforge.openParts = async function () {
  const parts = Object.entries(ganforge.inputs).map(([part, names]) => [part, (tensors) => ask(part, names, tensors)]);
  return Object.fromEntries(parts);
};

/** Send all inputs of a part as float32, one after the other; receive its output as float32. */
async function ask(part, names, tensors) {
  const body = Float32Array.from(names.flatMap((name) => Array.from(tensors[name].data, Number)));
  let answer;
  try {
    answer = await fetch(part, { method: "POST", body });
  } catch {
    throw new Error("ganforge demo has ended");
  }
  if (!answer.ok) throw new Error(`ganforge demo answers ${answer.status}`);
  return new Float32Array(await answer.arrayBuffer());
}
