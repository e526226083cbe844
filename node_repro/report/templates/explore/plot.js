// Drawing on square canvases, and numbers as text.

/** The colours of the style sheet, by name: light or dark. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "soft", "line", "paper", "one", "two", "three"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
}

/** A square canvas. `paint(plot)` draws it, again whenever its size or the colours change. */
class Plot {
  constructor(canvas, paint) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.paint = paint;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** The width and height in CSS pixels, which is the unit of all drawing. */
  get size() {
    return this.canvas.clientWidth;
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = this.canvas.height = Math.round(this.size * ratio); // clears it, too
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.font = "13px ui-sans-serif, system-ui, Helvetica, Arial, sans-serif";
    this.colours = palette();
    this.paint(this);
  }

  dot(x, y, radius, colour, hollow = false) {
    const pen = this.pen;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    if (hollow) pen.stroke();
    else pen.fill();
  }

  /** A line through points [x, y]. */
  line(points, colour, width, dash = []) {
    const pen = this.pen;
    pen.beginPath();
    points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.setLineDash(dash);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** Text with a rim in the page's colour, so that it can be read over lines and dots. */
  text(words, x, y, colour, align = "left") {
    const pen = this.pen;
    Object.assign(pen, { textAlign: align, textBaseline: "middle", lineJoin: "round" });
    Object.assign(pen, { fillStyle: colour, strokeStyle: this.colours.paper, lineWidth: 4 });
    pen.strokeText(words, x, y);
    pen.fillText(words, x, y);
  }
}

/** The square [-side, side]^2 of the plane on a plot, with its axes. */
class Plane {
  constructor(plot, side, names) {
    this.plot = plot;
    this.side = side;
    this.names = names;
  }

  get left() {
    return 34;
  }

  get length() {
    return this.plot.size - this.left - 8;
  }

  /** Where a point of the plane is on the canvas. */
  at(x, y) {
    const scale = this.length / (2 * this.side);
    return [this.left + (x + this.side) * scale, 8 + (this.side - y) * scale];
  }

  /** The frame, with three ticks on each axis and the names of the axes. */
  axes() {
    const { pen, colours } = this.plot;
    const bottom = 8 + this.length;
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.strokeRect(this.left, 8, this.length, this.length);
    const step = this.side >= 1 ? Math.floor(this.side) : this.side;
    for (const tick of [-step, 0, step]) {
      const [x, y] = [this.at(tick, 0)[0], this.at(0, tick)[1]];
      const label = String(tick).replace("-", "−");
      this.plot.line([[x, bottom], [x, bottom + 4]], colours.soft, 1);
      this.plot.line([[this.left - 4, y], [this.left, y]], colours.soft, 1);
      this.plot.text(label, x, bottom + 15, colours.soft, "center");
      this.plot.text(label, this.left - 7, y, colours.soft, "right");
    }
    const [x, y] = this.at(step / 2, step / 2);
    this.plot.text(this.names[0], x, bottom + 15, colours.soft, "center");
    this.plot.text(this.names[1], this.left - 7, y, colours.soft, "right");
  }

  /** Draw inside of the frame only. */
  inside(draw) {
    const pen = this.plot.pen;
    pen.save();
    pen.beginPath();
    pen.rect(this.left, 8, this.length, this.length);
    pen.clip();
    draw();
    pen.restore();
  }
}

const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
];

/** The colour of a level from 0 to 1, between neighbours in VIRIDIS. */
function viridis(level) {
  const place = level * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[low].map((from, i) => from + (place - low) * (VIRIDIS[low + 1][i] - from));
}

/** A picture of levels from 0 to 255 in cells x cells, row by row from below. */
function densityImage(levels, cells) {
  const image = document.createElement("canvas");
  image.width = image.height = cells;
  const pen = image.getContext("2d");
  const pixels = pen.createImageData(cells, cells);
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++) {
      const to = 4 * ((cells - 1 - row) * cells + column);
      pixels.data.set([...viridis(levels[row * cells + column] / 255), 255], to);
    }
  }
  pen.putImageData(pixels, 0, 0);
  return image;
}

/** A number with a sign that does not break and a true minus. */
function signed(value, digits) {
  return value.toFixed(digits).replace("-", "−");
}

/** Three significant digits; small numbers with a power of ten, as in 3.21·10⁻⁵. */
function small(value) {
  if (value >= 0.01 || value === 0) return String(Number(value.toPrecision(3)));
  const [digits, power] = value.toExponential(2).split("e");
  const raised = [...power].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
  return `${digits}·10${raised}`;
}

/** The element with this id. */
function element(id) {
  return document.getElementById(id);
}
