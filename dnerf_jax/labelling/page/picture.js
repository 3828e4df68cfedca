// The canvas: picture, labels over it, doubts and edges, in whole pixels of any size on the screen.
import { IGNORE } from "/page/ids.js";

export class Picture {
  constructor(canvas, size, palette) {
    Object.assign(this, { canvas, size, palette, scale: 1, left: 0, top: 0, opacity: 0.55 });
    this.labels = new OffscreenCanvas(size, size);
    this.marks = new OffscreenCanvas(size, size);
    this.image = null;
    this.cursor = null;
    this.corners = [];
    new ResizeObserver(() => this.fit()).observe(canvas);
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.canvas.width = width;
    this.canvas.height = height;
    this.scale = Math.min(width, height) / this.size;
    this.left = (width - this.scale * this.size) / 2;
    this.top = (height - this.scale * this.size) / 2;
    this.draw();
  }

  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const scale = Math.min(64, Math.max(0.5, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.draw();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.draw();
  }

  // Where an event is, in pixels of the picture, with fractions.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left - this.left) / this.scale, (event.clientY - box.top - this.top) / this.scale];
  }

  show(mask) {
    const pixels = new ImageData(this.size, this.size);
    mask.forEach((id, p) => {
      if (id !== IGNORE) pixels.data.set([...this.palette[id], 255], 4 * p);
    });
    this.labels.getContext("2d").putImageData(pixels, 0, 0);
    this.draw();
  }

  // doubt: bytes, or null. walls: bits of depth's jumps, or null.
  mark(doubt, walls) {
    const pixels = new ImageData(this.size, this.size);
    for (let p = 0; p < this.size * this.size; p++) {
      if (doubt && doubt[p] > 64) pixels.data.set([255, 0, 255, Math.min(255, 80 + doubt[p])], 4 * p);
      if (walls && walls[p]) pixels.data.set([255, 210, 74, 200], 4 * p);
    }
    this.marks.getContext("2d").putImageData(pixels, 0, 0);
    this.draw();
  }

  draw() {
    const c = this.canvas.getContext("2d");
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    c.setTransform(this.scale, 0, 0, this.scale, this.left, this.top);
    c.imageSmoothingEnabled = false;
    if (this.image) c.drawImage(this.image, 0, 0, this.size, this.size);
    c.globalAlpha = this.opacity;
    c.drawImage(this.labels, 0, 0);
    c.globalAlpha = 1;
    c.drawImage(this.marks, 0, 0);
    c.lineWidth = 1.5 / this.scale;
    c.strokeStyle = "#fff";
    if (this.corners.length) {
      c.beginPath();
      this.corners.forEach(([x, y]) => c.lineTo(x, y));
      c.stroke();
      for (const [x, y] of this.corners) c.strokeRect(x - 2 / this.scale, y - 2 / this.scale, 4 / this.scale, 4 / this.scale);
    }
    if (this.cursor) {
      const [x, y, diameter] = this.cursor;
      c.beginPath();
      c.arc(x + 0.5, y + 0.5, diameter / 2, 0, 7);
      c.stroke();
    }
    // Where the picture lies on the screen, for whoever drives the page by program.
    Object.assign(this.canvas.dataset, { scale: this.scale, left: this.left, top: this.top });
  }
}
