// Panel 4: the evaluations of f that single digits need, against their margin.

const NUMBER_HEIGHT = 16; // below each thumbnail

class DigitsPanel {
  constructor(digits) {
    this.digits = digits.list; // from the fewest evaluations to the most
    this.columns = Math.ceil(Math.sqrt(this.digits.length));
    this.images = this.digits.map((digit) => digitImage(digit.pixels, digits.shades));
    this.extent = {
      nfe: range(this.digits.map((digit) => digit.forward)),
      margin: range(this.digits.map((digit) => digit.margin)),
    };
    this.grid = new Plot(element("digits-grid"), (plot) => this.drawGrid(plot));
    this.scatter = new Plot(element("digits-scatter"), (plot) => this.drawScatter(plot));
    this.slider = element("digits-choice");
    this.slider.max = this.digits.length;
    this.slider.addEventListener("input", () => this.show());
    element("digits-grid").addEventListener("click", (event) => this.click(event));
    this.show();
  }

  get chosen() {
    return Number(this.slider.value) - 1;
  }

  /** Choose the digit that was clicked on. */
  click(event) {
    const cell = this.grid.size / this.columns;
    const k = this.columns * Math.floor(event.offsetY / cell) + Math.floor(event.offsetX / cell);
    if (k >= this.digits.length) return;
    this.slider.value = k + 1;
    this.show();
  }

  show() {
    const digit = this.digits[this.chosen];
    const words = `${this.chosen + 1} of ${this.digits.length}`;
    element("digits-choice-value").textContent = words;
    this.slider.setAttribute("aria-valuetext", words);
    element("digits-text").textContent =
      `Test digit ${digit.example}, a ${digit.class}: ${digit.forward} evaluations forward, ` +
      `${digit.backward} backward; loss ${small(digit.loss)} nats, ` +
      `margin ${signed(digit.margin, 1)}; classified ${digit.error ? "wrongly" : "correctly"}.`;
    this.grid.draw();
    this.scatter.draw();
  }

  drawGrid(plot) {
    const { pen, colours } = plot;
    const cell = plot.size / this.columns;
    const side = cell - NUMBER_HEIGHT - 4;
    const corner = (k) => [(k % this.columns) * cell, Math.floor(k / this.columns) * cell];
    this.images.forEach((image, k) => {
      const [x, y] = corner(k);
      pen.drawImage(image, x + (cell - side) / 2, y + 4, side, side);
      const place = y + cell - NUMBER_HEIGHT / 2;
      plot.text(String(this.digits[k].forward), x + cell / 2, place, colours.soft, "center");
    });
    pen.strokeStyle = colours.two;
    pen.lineWidth = 2;
    pen.strokeRect(...corner(this.chosen).map((place) => place + 1), cell - 2, cell - 2);
  }

  drawScatter(plot) {
    const { colours } = plot;
    const [left, top, length] = [34, 8, plot.size - 42];
    const bottom = plot.size - 24;
    const { nfe, margin } = this.extent;
    const along = (value, [low, high]) => (high > low ? (value - low) / (high - low) : 0.5);
    const x = (value) => left + 12 + along(value, nfe) * (length - 24);
    const y = (value) => bottom - 12 - along(value, margin) * (bottom - top - 24);
    plot.line([[left, top], [left, bottom], [left + length, bottom]], colours.line, 1);
    for (const value of nfe) plot.text(String(value), x(value), bottom + 14, colours.soft, "center");
    for (const value of margin) plot.text(signed(value, 0), left - 6, y(value), colours.soft, "right");
    plot.text("evaluations forward", left + length / 2, bottom + 14, colours.soft, "center");
    plot.text("margin", left + 6, top + 6, colours.soft);
    this.digits.forEach((digit, k) => {
      const at = [x(digit.forward), y(digit.margin)];
      if (k === this.chosen) plot.dot(...at, 8, colours.two, true);
      plot.dot(...at, 3, colours.one, digit.error);
    });
  }
}

/** The smallest and the largest of some numbers. */
function range(values) {
  return [Math.min(...values), Math.max(...values)];
}

/** A grey picture of rows of shades from 0 (black) to shades - 1 (white). */
function digitImage(rows, shades) {
  const image = document.createElement("canvas");
  image.width = rows[0].length;
  image.height = rows.length;
  const pen = image.getContext("2d");
  const pixels = pen.createImageData(image.width, image.height);
  rows.flat().forEach((shade, k) => {
    const grey = (255 * shade) / (shades - 1);
    pixels.data.set([grey, grey, grey, 255], 4 * k);
  });
  pen.putImageData(pixels, 0, 0);
  return image;
}
