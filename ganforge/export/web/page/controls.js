// Controls of the page. Names are set as text, never as HTML.
"use strict";

/** Labels of noise modes. */
const NOISE_NAMES = { "only-coarse": "coarse layers only", "only-fine": "fine layers only" };

const byId = (id) => document.getElementById(id);

/** Maximum seed that the page chooses. */
const MOST = 100_000;

/** The code that is open, in place of a seed. */
ganforge.code = null;

ganforge.anySeed = () => Math.floor(Math.random() * MOST);

/** Describe the network and show its controls. */
ganforge.prepare = function (model) {
  const [channels, height, width] = model.shape;
  const size = `${width} × ${height} pixels`;
  document.title = `${model.name}: ${model.data}`;
  byId("title").textContent = document.title;
  byId("about").textContent =
    `All images are synthetic. A neural network trained on ${model.data} generates them from random numbers, ` +
    `on your device.`;
  const trained = model.images === null ? "" : `, ${model.images.toLocaleString("en")} training images seen`;
  byId("source").textContent =
    `Generator ${model.name} for ${model.data}: ${size}${channels === 1 ? " in gray" : ""}${trained}. ` +
    `ganforge ${model.version}; "ganforge sample --seed" generates the same images.`;
  byId("runtime").textContent = model.runtime;
  Object.assign(byId("picture"), { width, height });
  byId("picture").classList.toggle("coarse", width <= 128);
  document.documentElement.style.setProperty("--aspect", width / height);
  addOptions("label", model.class_names.map((name, index) => [index, name]));
  show("label-field", model.class_names.length > 0);
  model.numbers.forEach(({ name, low, high, value }, index) => {
    addSlider("condition", `number-${index + 1}`, name, { min: low, max: high, step: "any", defaultValue: value });
  });
  show("condition", model.numbers.length > 0);
  show("truncation-field", model.truncation);
  addOptions("noise", Object.keys(model.noise?.modes ?? {}).map((mode) => [mode, NOISE_NAMES[mode] ?? mode]));
  show("noise-field", model.noise !== null);
  if (model.noise) byId("noise").value = "fixed";
  const has_labels = model.class_names.length > 0 || model.numbers.length > 0;
  show("look", has_labels || model.truncation || model.noise !== null);
  byId("way-hint").textContent = model.styles ? "Linear in the styles, w." : "Spherical in the latents, z.";
  const parts = Object.keys(model.styles?.parts ?? {});
  parts.forEach(addPart);
  show("mix", parts.length > 0);
  model.directions.forEach((_, index) => {
    const range = { min: -3, max: 3, step: 0.1, value: 0 };
    addSlider("strengths", `direction-${index + 1}`, `Direction ${index + 1}`, range, 1);
  });
  show("directions", model.directions.length > 0);
};

/** The `Settings` of the controls. */
ganforge.settings = function () {
  return {
    seed: readSeed("seed"),
    code: ganforge.code,
    label: Number(byId("label").value),
    condition: readSliders("condition"),
    truncation: Number(byId("truncation").value),
    noise: byId("noise").value,
    towards: readSeed("towards"),
    way: Number(byId("way").value),
    other: readSeed("other"),
    layers: Array.from(document.querySelectorAll("#parts input:checked"), (box) => box.value),
    strengths: readSliders("strengths"),
  };
};

/** Show the value of each slider. */
ganforge.label = function () {
  for (const slider of document.querySelectorAll("input[type=range]")) {
    const text = Number(slider.value).toFixed(slider.dataset.digits ?? 2);
    const is_signed = Number(slider.min) === -Number(slider.max);
    slider.previousElementSibling.value = is_signed && slider.value > 0 ? `+${text}` : text;
  }
};

/** The typed seed, or the nearest valid one. */
function readSeed(id) {
  const number = Math.trunc(Number(byId(id).value));
  return Math.min(Math.max(number || 0, 0), Number.MAX_SAFE_INTEGER);
}

function readSliders(id) {
  return Array.from(byId(id).querySelectorAll("input"), (slider) => Number(slider.value));
}

function show(id, is_wanted) {
  byId(id).hidden = !is_wanted;
}

function addOptions(id, options) {
  byId(id).replaceChildren(...options.map(([value, name]) => new Option(name, value)));
}

function addPart(name) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", value: name });
  label.append(box, ` ${name}`);
  byId("parts").append(label);
}

function addSlider(parent, id, name, range, digits = 2) {
  const field = Object.assign(document.createElement("div"), { className: "field" });
  const label = Object.assign(document.createElement("label"), { htmlFor: id, textContent: name });
  const output = document.createElement("output");
  output.htmlFor = id;
  const slider = document.createElement("input");
  Object.assign(slider, { id, type: "range", ...range });
  slider.dataset.digits = digits;
  field.append(label, output, slider);
  byId(parent).append(field);
}
