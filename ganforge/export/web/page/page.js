// Events of the page: images are generated one at a time, the current one before the grid.
"use strict";

const NUM_TILES = 12;

/** Seconds of an interpolation from start to end. */
const WALK = 4;

const figure = byId("figure");
let network;
let tiles = []; // images of the grid: {seed, button, canvas}
let waiting = []; // tiles in the queue
let isWanted = false; // whether the current image is in the queue
let isDrawing = false;
let played = null; // while an interpolation plays: {since, from}

/** Generate the current image next. */
function redraw() {
  ganforge.label();
  markCurrent();
  isWanted = true;
  drawAll();
}

/** Generate all images of the grid again. */
function redrawGrid() {
  waiting = [...tiles];
  drawAll();
}

async function drawAll() {
  if (isDrawing || !network) return;
  isDrawing = true;
  figure.ariaBusy = "true";
  try {
    while (isWanted || waiting.length) {
      if (isWanted) {
        isWanted = false;
        await drawCurrent();
      }
      if (waiting.length) await drawTile(waiting.shift());
      await new Promise((resolve) => setTimeout(resolve)); // keeps the page responsive
    }
  } catch (error) {
    fail(error);
  } finally {
    isDrawing = false;
    figure.ariaBusy = "false";
  }
}

async function drawCurrent() {
  const settings = ganforge.settings();
  const start = performance.now();
  const pixels = await network.draw(settings);
  const time = Math.round(performance.now() - start);
  const canvas = byId("picture");
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const shown = settings.code ? settings.code.name : `seed ${settings.seed}`;
  canvas.ariaLabel = `Image of ${shown}`;
  byId("status").ariaLive = played ? "off" : "polite";
  byId("status").textContent = `${shown[0].toUpperCase()}${shown.slice(1)}, generated in ${time} ms`;
  if (played) step();
}

async function drawTile({ seed, canvas }) {
  const settings = { ...ganforge.settings(), seed, code: null, way: 0, layers: [], strengths: [] };
  const pixels = await network.draw(settings);
  Object.assign(canvas, { width: pixels.width, height: pixels.height });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** Fill the grid with images of other seeds. */
function renew(seeds) {
  tiles = seeds.map((seed) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "tile" });
    const canvas = document.createElement("canvas");
    const name = Object.assign(document.createElement("span"), { textContent: seed });
    button.ariaLabel = `Image of seed ${seed}`;
    button.append(canvas, name);
    button.addEventListener("click", () => choose(seed));
    return { seed, button, canvas };
  });
  byId("grid").replaceChildren(...tiles.map((tile) => tile.button));
  markCurrent();
  redrawGrid();
}

function choose(seed) {
  byId("seed").value = seed;
  closeCode();
  redraw();
}

function markCurrent() {
  const { seed, code } = ganforge.settings();
  for (const tile of tiles) tile.button.ariaPressed = String(!code && tile.seed === seed);
}

/** Show the image of a file with a code, or say why not. */
async function openCode() {
  const [file] = byId("code").files;
  if (!file) return choose(ganforge.settings().seed);
  try {
    ganforge.code = { name: file.name, ...(await ganforge.readCode(file, ganforge.model)) };
    redraw();
  } catch (error) {
    closeCode();
    byId("status").textContent = error.message;
  }
}

function closeCode() {
  ganforge.code = null;
  byId("code").value = "";
}

/** Play the interpolation back and forth, or pause it. */
function play() {
  played = played ? null : { since: performance.now(), from: Number(byId("way").value) };
  byId("play").textContent = played ? "Pause" : "Play";
  byId("play").ariaPressed = String(played !== null);
  if (played) step();
}

/** Show the next frame of the interpolation. */
function step() {
  const gone = (played.from + (performance.now() - played.since) / 1000 / WALK) % 2;
  byId("way").value = gone <= 1 ? gone : 2 - gone;
  redraw();
}

function download() {
  const { seed, code, way, towards, layers, other } = ganforge.settings();
  const seeds = [...(code ? [] : [seed]), ...(way > 0 ? [towards] : []), ...(layers.length ? [other] : [])];
  byId("picture").toBlob(async (blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await ganforge.mark(blob, code, seeds));
    link.download = `${ganforge.model.name}-${code ? code.name.replace(/\.safetensors$/, "") : seed}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

function fail(error) {
  if (played) play();
  byId("status").textContent = `Cannot generate an image: ${error.message ?? error}`;
  console.error(error);
}

function listen() {
  document.querySelector(".controls").addEventListener("input", redraw);
  byId("seed").addEventListener("input", () => choose(byId("seed").value));
  byId("code").addEventListener("change", openCode);
  byId("look").addEventListener("change", redrawGrid);
  byId("random").addEventListener("click", () => choose(ganforge.anySeed()));
  byId("renew").addEventListener("click", () => renew(Array.from({ length: NUM_TILES }, ganforge.anySeed)));
  byId("play").addEventListener("click", play);
  byId("way").addEventListener("input", () => played && play());
  byId("download").addEventListener("click", download);
  byId("reset").addEventListener("click", () => {
    for (const slider of document.querySelectorAll("#strengths input")) slider.value = 0;
    redraw();
  });
}

async function begin() {
  try {
    ganforge.prepare(ganforge.model);
    listen();
    ganforge.label();
    network = await ganforge.Network.open();
    isWanted = true;
    renew(Array.from({ length: NUM_TILES }, (_, seed) => seed));
  } catch (error) {
    fail(error);
    figure.ariaBusy = "false";
  }
}

begin();
