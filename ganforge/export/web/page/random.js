// Numbers from N(0, 1), equal to torch on a CPU: a seed gives the latents of `ganforge sample --seed`.
"use strict";

const ganforge = {};

/** The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998); only the low 32 bits of the seed are used. */
ganforge.Twister = class {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed % 2 ** 32;
    for (let i = 1; i < 624; i++) {
      const last = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
    }
    this.used = 624;
  }

  /** A 32-bit integer. */
  next() {
    if (this.used === 624) this.#renew();
    let bits = this.state[this.used++];
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    return (bits ^ (bits >>> 18)) >>> 0;
  }

  /** A uniform number in [0, 1) with 24 bits. */
  short() {
    return (this.next() % 2 ** 24) / 2 ** 24;
  }

  /** A uniform number in [0, 1) with 53 bits, high bits first. */
  long() {
    const high = this.next() % 2 ** 21;
    return (high * 2 ** 32 + this.next()) / 2 ** 53;
  }

  #renew() {
    const state = this.state;
    for (let i = 0; i < 624; i++) {
      const bits = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (bits >>> 1) ^ (bits & 1 ? 0x9908b0df : 0);
    }
    this.used = 0;
  }
};

/** `length` numbers from N(0, 1), equal to `torch.randn`, which uses different methods below 16 and from 16 on. */
ganforge.randn = function (length, seed) {
  const source = new ganforge.Twister(seed);
  const numbers = new Float32Array(length);
  if (length < 16) {
    for (let i = 0; i < length; i += 2) {
      const angle = 2 * Math.PI * source.long();
      const radius = Math.sqrt(-2 * Math.log1p(-source.long()));
      numbers[i] = radius * Math.cos(angle);
      if (i + 1 < length) numbers[i + 1] = radius * Math.sin(angle);
    }
    return numbers;
  }
  for (let i = 0; i < length; i++) numbers[i] = source.short();
  for (let start = 0; start + 16 <= length; start += 16) toNormal(numbers, start);
  if (length % 16) {
    for (let i = length - 16; i < length; i++) numbers[i] = source.short();
    toNormal(numbers, length - 16);
  }
  return numbers;
};

/** Transform 16 uniform numbers to normal ones, in pairs 8 apart (Box and Muller 1958). */
function toNormal(numbers, start) {
  for (let i = start; i < start + 8; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - numbers[i]));
    const angle = 2 * Math.PI * numbers[i + 8];
    numbers[i] = radius * Math.cos(angle);
    numbers[i + 8] = radius * Math.sin(angle);
  }
}
