// Masks are Uint8Array of size * size ids, row by row. All here is whole pixels: nothing is ever antialiased.

export const IGNORE = 255;

// Pixels whose centres lie in a disc around a pixel; a diameter of 1 is that pixel.
function disc(diameter) {
  const radius = diameter / 2;
  const reach = Math.floor(radius);
  const offsets = [];
  for (let y = -reach; y <= reach; y++)
    for (let x = -reach; x <= reach; x++) if (x * x + y * y <= radius * radius) offsets.push([x, y]);
  return offsets;
}

// Neighbours of pixel p that depth does not part from it: walls has bit 1 to the right of a pixel, bit 2 below it.
function neighbours(p, size, walls) {
  const x = p % size;
  const found = [];
  if (x + 1 < size && !(walls && walls[p] & 1)) found.push(p + 1);
  if (x > 0 && !(walls && walls[p - 1] & 1)) found.push(p - 1);
  if (p + size < size * size && !(walls && walls[p] & 2)) found.push(p + size);
  if (p >= size && !(walls && walls[p - size] & 2)) found.push(p - size);
  return found;
}

// All pixels that are reached from `start` through pixels that `may` pass.
function reached(start, size, walls, may) {
  const seen = new Uint8Array(size * size);
  const left = [start];
  const found = [];
  seen[start] = 1;
  while (left.length) {
    const p = left.pop();
    found.push(p);
    for (const q of neighbours(p, size, walls))
      if (!seen[q] && may(q)) {
        seen[q] = 1;
        left.push(q);
      }
  }
  return found;
}

// The pixels of a line from (x0, y0) to (x1, y1), without a gap.
export function line(x0, y0, x1, y1) {
  const steps = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0));
  const points = [];
  for (let i = 0; i <= steps; i++) {
    const t = steps ? i / steps : 0;
    points.push([Math.round(x0 + t * (x1 - x0)), Math.round(y0 + t * (y1 - y0))]);
  }
  return points;
}

// Paints a disc; with walls only what of it can be reached from its centre.
export function stamp(mask, size, x, y, diameter, id, walls) {
  const pixels = [];
  for (const [dx, dy] of disc(diameter)) {
    const [u, v] = [x + dx, y + dy];
    if (u >= 0 && v >= 0 && u < size && v < size) pixels.push(v * size + u);
  }
  const inside = x >= 0 && y >= 0 && x < size && y < size;
  if (!walls) for (const p of pixels) mask[p] = id;
  else if (inside) {
    const within = new Set(pixels);
    for (const p of reached(y * size + x, size, walls, (q) => within.has(q))) mask[p] = id;
  }
}

// Gives `id` to all that hangs together with a pixel and has its id.
export function fill(mask, size, x, y, id, walls) {
  const start = y * size + x;
  const old = mask[start];
  if (old === id) return;
  for (const p of reached(start, size, walls, (q) => mask[q] === old)) mask[p] = id;
}

// Gives `id` to the pixels whose centres lie in a polygon of points [x, y] in pixels; even-odd.
export function polygon(mask, size, points, id) {
  for (let y = 0; y < size; y++) {
    const crossings = [];
    points.forEach(([x0, y0], i) => {
      const [x1, y1] = points[(i + 1) % points.length];
      const c = y + 0.5;
      if (y0 <= c !== y1 <= c) crossings.push(x0 + ((c - y0) / (y1 - y0)) * (x1 - x0));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const first = Math.max(0, Math.ceil(crossings[i] - 0.5));
      const end = Math.min(size, Math.ceil(crossings[i + 1] - 0.5));
      for (let x = first; x < end; x++) mask[y * size + x] = id;
    }
  }
}

// A copy in which what is not labelled has other labels.
export function completed(mask, others) {
  return mask.map((id, p) => (id === IGNORE ? others[p] : id));
}

// Run lengths as the server reads them: id, length in two bytes, low one first.
export function encode(mask) {
  const bytes = [];
  for (let p = 0; p < mask.length; ) {
    let end = p + 1;
    while (end < mask.length && mask[end] === mask[p] && end - p < 65535) end++;
    bytes.push(mask[p], (end - p) & 255, (end - p) >> 8);
    p = end;
  }
  return new Uint8Array(bytes);
}

export function decode(bytes, size) {
  const mask = new Uint8Array(size * size);
  for (let i = 0, p = 0; i < bytes.length; i += 3) {
    const length = bytes[i + 1] + 256 * bytes[i + 2];
    mask.fill(bytes[i], p, p + length);
    p += length;
  }
  return mask;
}
