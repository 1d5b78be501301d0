// The trained network: an image from settings. Functions of `ganforge.openParts` compute its parts.
"use strict";

/**
 * Inputs of one image.
 * @typedef {Object} Settings
 * @property {number} seed
 * @property {?Object} code latent in place of the seed's, from `readCode`
 * @property {number} label class, from 0
 * @property {number[]} condition numbers of the condition vector; empty for classes
 * @property {number} truncation
 * @property {string} noise one of the model's modes
 * @property {number} towards seed at the end of the interpolation
 * @property {number} way position in the interpolation, from 0 to 1
 * @property {number} other seed of the mixed styles
 * @property {string[]} layers parts of the layers with mixed styles
 * @property {number[]} strengths by direction, in standard deviations
 */

/**
 * An input of a part.
 * @typedef {Object} Tensor
 * @property {string} type float32 or int64
 * @property {Float32Array|BigInt64Array} data
 * @property {number[]} dims
 */

ganforge.Network = class {
  static async open() {
    const network = new ganforge.Network();
    network.model = ganforge.model;
    network.parts = await ganforge.openParts();
    network.freshNoise = Date.now();
    return network;
  }

  /** The image of `Settings`, as ImageData. */
  async draw(settings) {
    const { model } = this;
    const drawn = model.styles ? await this.#fromStyles(settings) : await this.#fromLatents(settings);
    return toPixels(drawn, model.shape);
  }

  async #fromLatents(settings) {
    let z = settings.code?.latent ?? this.#latent(settings.seed);
    if (settings.way > 0) z = ganforge.slerp(z, this.#latent(settings.towards), settings.way);
    z = ganforge.move(z, this.model.directions, settings.strengths);
    return this.parts.whole(this.#given(z, settings));
  }

  async #fromStyles(settings) {
    const { styles, noise, directions } = this.model;
    const stylesOf = (z, given = settings) => this.parts.mapping(this.#given(z, given));
    let w = await this.#base(settings, stylesOf);
    if (settings.way > 0) w = ganforge.lerp(w, await stylesOf(this.#latent(settings.towards)), settings.way);
    if (settings.layers.length) {
      const other = await stylesOf(this.#latent(settings.other));
      for (const name of settings.layers) w = ganforge.mix(w, other, styles.parts[name], styles.size);
    }
    w = ganforge.move(w, directions, settings.strengths);
    const given = noise ? this.#noise(settings.noise) : {};
    return this.parts.synthesis({ styles: tensor("float32", w, [1, styles.count, styles.size]), ...given });
  }

  /** Styles of the code or the seed, truncated. */
  async #base(settings, stylesOf) {
    const { code, seed, truncation } = settings;
    if (!code?.isStyles) return stylesOf(code?.latent ?? this.#latent(seed));
    if (truncation === 1) return code.latent;
    const mean = await stylesOf(this.#latent(seed), { ...settings, truncation: 0 });
    return ganforge.lerp(mean, code.latent, truncation);
  }

  #noise(mode) {
    const { size, layers, modes } = this.model.noise;
    const drawn = mode === "random" ? ganforge.randn(size, this.freshNoise++) : new Float32Array(size);
    return {
      noise: tensor("float32", drawn, [1, size]),
      fixed_noise: tensor("float32", Float32Array.from(modes[mode]), [layers]),
    };
  }

  #latent(seed) {
    return ganforge.randn(this.model.z_dim, seed);
  }

  #given(z, { label, condition, truncation }) {
    const labels = condition.length
      ? tensor("float32", Float32Array.from(condition), [1, condition.length])
      : tensor("int64", BigInt64Array.of(BigInt(label)), [1]);
    return {
      z: tensor("float32", z, [1, z.length]),
      labels,
      truncation: tensor("float32", Float32Array.of(truncation), []),
      cutoff: tensor("int64", BigInt64Array.of(-1n), []),
    };
  }
};

/** A `Tensor`. */
function tensor(type, data, dims) {
  return { type, data, dims };
}

/** Convert [C, H, W] in [-1, 1] to ImageData; the array rounds and clips. */
function toPixels(numbers, [channels, height, width]) {
  const image = new ImageData(width, height);
  const area = width * height;
  for (let i = 0; i < area; i++) {
    for (let channel = 0; channel < 4; channel++) {
      const isOpaque = channel === 3 && channels < 4;
      const source = channels === 1 ? 0 : channel;
      image.data[4 * i + channel] = isOpaque ? 255 : numbers[source * area + i] * 127.5 + 127.5;
    }
  }
  return image;
}
