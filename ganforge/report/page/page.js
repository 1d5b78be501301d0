"use strict";
(() => {
  const source = document.getElementById("frames");
  const slider = document.getElementById("time");
  if (!source || !slider) return;
  const runs = JSON.parse(source.textContent);
  runs.forEach((frames, number) => {
    if (frames.length) frames[frames.length - 1][1] = document.getElementById("grid-" + number).src;
  });
  const places = [...new Set(runs.flat().map(([images]) => images))].sort((a, b) => a - b);
  const shown = document.getElementById("time-value");
  const play = document.getElementById("play");
  document.querySelector(".player").hidden = false;

  const show = () => {
    const images = places[slider.value];
    const words = images.toLocaleString("en");
    shown.value = words;
    slider.setAttribute("aria-valuetext", words + " images");
    runs.forEach((frames, number) => {
      const picture = document.getElementById("grid-" + number);
      if (!picture) return;
      const [drawn, data] = frames.filter(([each]) => each <= images).pop() || frames[0];
      picture.src = data;
      const own = drawn.toLocaleString("en");
      picture.alt = picture.alt.replace(/after .* images/, "after " + own + " images");
      const caption = document.getElementById("grid-" + number + "-caption");
      caption.textContent = caption.textContent.replace(/after .* images/, "after " + own + " images");
    });
  };

  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) === places.length - 1) slider.value = 0;
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    show();
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) === places.length - 1) stop();
    }, Math.max(120, 6000 / places.length));
  });
  slider.addEventListener("input", () => { if (timer) stop(); show(); });
  show();
})();
