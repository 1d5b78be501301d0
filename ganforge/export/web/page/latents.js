// Interpolation of latents, as Float32Arrays of one image.
"use strict";

/** Linear interpolation from `start` (t = 0) to `end` (t = 1). */
ganforge.lerp = (start, end, t) => start.map((number, i) => (1 - t) * number + t * end[i]);

/** Spherical interpolation (Shoemake 1985) with constant angular speed; the length is linear in t. */
ganforge.slerp = function (start, end, t) {
  const [from, to] = [lengthOf(start), lengthOf(end)];
  if (from === 0 || to === 0) return ganforge.lerp(start, end, t);
  const u = Float64Array.from(start, (number) => number / from);
  const v = Float64Array.from(end, (number) => number / to);
  // More accurate for small angles than the arc cosine of the dot product (Kahan).
  const apart = lengthOf(u.map((number, i) => number - v[i]));
  const angle = 2 * Math.atan2(apart, lengthOf(u.map((number, i) => number + v[i])));
  const along = u.reduce((sum, number, i) => sum + number * v[i], 0);
  const across = v.map((number, i) => number - along * u[i]);
  const width = lengthOf(across) || 1;
  const length = (1 - t) * from + t * to;
  const turned = (i) => Math.cos(t * angle) * u[i] + (Math.sin(t * angle) * across[i]) / width;
  return Float32Array.from(u, (_, i) => length * turned(i));
};

/** Styles of `base`, with layers `first` to `end` (exclusive) of `other`; each layer has `size` numbers. */
ganforge.mix = function (base, other, [first, end], size) {
  const mixed = base.slice();
  mixed.set(other.subarray(first * size, end * size), first * size);
  return mixed;
};

/** Latents moved along directions by strengths; all layers of styles move alike. */
ganforge.move = function (latent, directions, strengths) {
  const moved = latent.slice();
  directions.forEach((direction, k) => {
    if (strengths[k]) moved.forEach((_, i) => (moved[i] += strengths[k] * direction[i % direction.length]));
  });
  return moved;
};

function lengthOf(vector) {
  return Math.sqrt(vector.reduce((sum, number) => sum + number * number, 0));
}
