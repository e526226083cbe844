// Panel 1: a point of the 3-D latent space and its decoded spiral.

const NEAR = 24; // a pointer as close to the point, in pixels, moves it; elsewhere it turns the view
const REACH = 1.15; // the view and the sliders go so much beyond the farthest posterior mean
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

class LatentPanel {
  constructor({ arrays, side }) {
    this.weights = decodeArrays(arrays);
    const { mean, direction, seen, ts } = this.weights;
    this.ts = ts;
    this.means = Array.from(direction, (_, k) => mean.slice(3 * k, 3 * k + 3));
    this.seen = Array.from({ length: arrays.seen.shape[0] }, (_, k) => {
      const points = arrays.seen.shape[1];
      return seen.subarray(2 * points * k, 2 * points * (k + 1));
    });
    const sum = (i) => this.means.reduce((total, z) => total + z[i], 0);
    this.centre = [0, 1, 2].map((i) => sum(i) / this.means.length);
    const distance = (z) => Math.hypot(...z.map((value, i) => value - this.centre[i]));
    this.radius = REACH * Math.max(...this.means.map(distance));
    this.azimuth = 35; // degrees
    this.elevation = 20;
    this.series = 0;
    this.z = Array.from(this.means[0]);
    this.space = new Plot(element("latent-space"), (plot) => this.drawSpace(plot));
    this.curve = new Plot(element("latent-curve"), (plot) => this.drawCurve(plot));
    this.plane = new Plane(this.curve, 1.1 * side, ["x₁", "x₂"]);
    this.sliders = [0, 1, 2].map((i) => element(`latent-z${i + 1}`));
    this.connect();
    this.update();
  }

  /** The controls. */
  connect() {
    element("latent-reach").textContent = this.radius.toFixed(1);
    this.sliders.forEach((slider, i) => {
      slider.min = this.centre[i] - this.radius;
      slider.max = this.centre[i] + this.radius;
      slider.step = this.radius / 50;
      slider.addEventListener("input", () => {
        this.z[i] = Number(slider.value);
        this.update(slider);
      });
    });
    const series = element("latent-series");
    series.max = this.seen.length;
    series.addEventListener("input", () => {
      this.series = Number(series.value) - 1;
      this.z = Array.from(this.means[this.series]);
      this.update();
    });
    for (const name of ["azimuth", "elevation"]) {
      element(`latent-${name}`).addEventListener("input", (event) => {
        this[name] = Number(event.target.value);
        this.update();
      });
    }
    const canvas = this.space.canvas;
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    // a finger on the point moves it instead of scrolling the page
    const hold = (event) => this.isNear(event.touches[0]) && event.preventDefault();
    canvas.addEventListener("touchstart", hold, { passive: false });
  }

  /** Solve and draw after a change, which `source` shows already. */
  update(source) {
    this.path = rk4Path((z) => latentField(this.weights, z), this.z, this.ts);
    this.decoded = this.path.map((z) => decodeLatent(this.weights, z));
    this.sliders.forEach((slider, i) => {
      if (slider !== source) slider.value = this.z[i];
      element(`latent-z${i + 1}-value`).textContent = signed(this.z[i], 2);
    });
    for (const [name, value] of [["azimuth", this.azimuth], ["elevation", this.elevation]]) {
      element(`latent-${name}`).value = value;
      element(`latent-${name}-value`).textContent = `${signed(value, 0)}°`;
    }
    element("latent-series-value").textContent = `${this.series + 1} of ${this.seen.length}`;
    const round = turns(this.decoded);
    const span = this.ts[this.ts.length - 1] - this.ts[0];
    element("latent-text").textContent =
      `z(0) = (${this.z.map((value) => signed(value, 2)).join(", ")}): the curve turns ` +
      `${round > 0 ? "counter-clockwise" : "clockwise"}, ${Math.abs(round).toFixed(2)} turns in ` +
      `${span.toFixed(1)} units of time.`;
    this.space.draw();
    this.curve.draw();
  }

  /** The directions in latent space to the right, up and towards the viewer. */
  get view() {
    const [a, e] = [this.azimuth, this.elevation].map((angle) => (angle * Math.PI) / 180);
    return {
      right: [Math.cos(a), Math.sin(a), 0],
      up: [-Math.sin(e) * Math.sin(a), Math.sin(e) * Math.cos(a), Math.cos(e)],
      front: [Math.sin(a) * Math.cos(e), -Math.cos(a) * Math.cos(e), Math.sin(e)],
    };
  }

  /** Pixels for a unit of the latent space. */
  get scale() {
    return (this.space.size / 2 - 14) / this.radius;
  }

  /** Where a latent state is on the canvas, and how far to the front. */
  project(z) {
    const { right, up, front } = this.view;
    const along = (axis) => axis.reduce((sum, part, i) => sum + part * (z[i] - this.centre[i]), 0);
    const middle = this.space.size / 2;
    return [middle + this.scale * along(right), middle - this.scale * along(up), along(front)];
  }

  /** Move the point by a distance along a direction, within the reach of the sliders. */
  move(direction, distance) {
    this.z = this.z.map((value, i) => {
      const [low, high] = [this.centre[i] - this.radius, this.centre[i] + this.radius];
      return Math.min(high, Math.max(low, value + distance * direction[i]));
    });
  }

  turn(degrees, tilt) {
    this.azimuth = ((this.azimuth + degrees + 540) % 360) - 180;
    this.elevation = Math.min(90, Math.max(-90, this.elevation + tilt));
  }

  key(event) {
    const { right, up, front } = this.view;
    const step = this.radius / 40;
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    const towards = { PageUp: -1, PageDown: 1 }[event.key] ?? 0;
    if (!x && !y && !towards) return;
    event.preventDefault();
    if (event.shiftKey) {
      this.turn(-5 * x, -5 * y);
    } else {
      this.move(right, x * step);
      this.move(up, y * step);
      this.move(front, towards * step);
    }
    this.update();
  }

  /** Whether a pointer or a finger is close to the point. */
  isNear({ clientX, clientY }) {
    const box = this.space.canvas.getBoundingClientRect();
    const [x, y] = this.project(this.z);
    return Math.hypot(clientX - box.left - x, clientY - box.top - y) < NEAR;
  }

  grab(down) {
    const canvas = this.space.canvas;
    const moves = this.isNear(down);
    let [x, y] = [down.clientX, down.clientY];
    canvas.setPointerCapture(down.pointerId);
    const drag = (event) => {
      const [dx, dy] = [event.clientX - x, event.clientY - y];
      [x, y] = [event.clientX, event.clientY];
      if (moves) {
        this.move(this.view.right, dx / this.scale);
        this.move(this.view.up, -dy / this.scale);
      } else {
        this.turn(-dx / 2, dy / 2);
      }
      this.update();
    };
    const dragging = new AbortController();
    const listen = (type, react) => canvas.addEventListener(type, react, { signal: dragging.signal });
    listen("pointermove", drag);
    for (const type of ["pointerup", "pointercancel"]) listen(type, () => dragging.abort());
  }

  drawSpace(plot) {
    const { colours, pen } = plot;
    ["z₁", "z₂", "z₃"].forEach((name, i) => {
      const end = (sign) => this.centre.map((value, j) => value + (i === j ? sign * 0.9 * this.radius : 0));
      const [from, to] = [this.project(end(-1)), this.project(end(1))];
      plot.line([from, to], colours.line, 1.5);
      plot.text(name, to[0] + 6, to[1] - 8, colours.soft, "center");
    });
    const projected = this.means.map((z, k) => [...this.project(z), this.weights.direction[k]]);
    projected.sort((p, q) => p[2] - q[2]); // those in front are drawn last
    for (const [x, y, depth, direction] of projected) {
      pen.globalAlpha = 0.65 + (0.35 * depth) / this.radius;
      const size = 3.2 + (1.2 * depth) / this.radius;
      if (direction > 0) plot.dot(x, y, size, colours.one);
      else plot.dot(x, y, size, colours.two, true);
    }
    pen.globalAlpha = 1;
    plot.line(this.path.map((z) => this.project(z)), colours.soft, 1.5);
    const [x, y] = this.project(this.z);
    plot.dot(x, y, 10, colours.paper);
    plot.dot(x, y, 7, colours.three);
    plot.dot(x, y, 10, colours.ink, true);
  }

  drawCurve(plot) {
    const { colours } = plot;
    const plane = this.plane;
    const half = this.ts.length / 2;
    const curve = this.decoded.map(([x, y]) => plane.at(x, y));
    plane.axes();
    plane.inside(() => {
      const seen = this.seen[this.series];
      for (let k = 0; k < seen.length; k += 2) {
        plot.dot(...plane.at(seen[k], seen[k + 1]), 2, colours.soft);
      }
      plot.line(curve.slice(half - 1), colours.three, 2.5, [6, 4]);
      plot.line(curve.slice(0, half), colours.three, 3);
      plot.dot(...curve[0], 6, colours.paper);
      plot.dot(...curve[0], 6, colours.ink, true);
    });
    for (const k of [0, half, this.ts.length - 1]) {
      const [x, y] = curve[k];
      const toLeft = x > plot.size - 70; // no room to the right of the point
      const label = `t = ${Number(this.ts[k].toFixed(1))}`;
      plot.text(label, x + (toLeft ? -10 : 10), y - 10, colours.ink, toLeft ? "right" : "left");
    }
  }
}
