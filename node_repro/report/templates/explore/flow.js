// Panel 2: the density and samples of a continuous flow over time.

const SAMPLE_TOLERANCE = 1e-6; // the caption names it
const FRAME_SECONDS = 0.15;

class FlowPanel {
  constructor(flows) {
    this.flows = flows;
    this.density = new Plot(element("flow-density"), (plot) => this.drawDensity(plot));
    this.samples = new Plot(element("flow-samples"), (plot) => this.drawSamples(plot));
    this.time = element("flow-time");
    this.time.addEventListener("input", () => this.show());
    element("flow-choice").addEventListener("change", (event) => this.choose(event.target.value));
    element("flow-play").addEventListener("click", () => this.play());
    this.choose(0);
  }

  choose(index) {
    this.flow = this.flows[index];
    this.weights = decodeArrays(this.flow.arrays);
    const [times, cells] = this.flow.arrays.density.shape;
    this.cells = cells;
    this.last = times - 1;
    this.states = [flowState(this.weights.base)];
    this.planes = [this.density, this.samples].map((plot) => new Plane(plot, this.flow.side, ["x₁", "x₂"]));
    this.time.max = this.last;
    this.time.value = this.last;
    element("flow-about").textContent = this.flow.about;
    this.show();
  }

  /** The samples at the k-th time, solved from those before. */
  state(k) {
    const field = planarField(this.weights);
    const at = (i) => (i * this.flow.end) / this.last;
    while (this.states.length <= k) {
      const i = this.states.length;
      this.states.push(dopri5(field, this.states[i - 1], at(i - 1), at(i), SAMPLE_TOLERANCE).y);
    }
    return this.states[k];
  }

  show() {
    const k = Number(this.time.value);
    const t = `${((k * this.flow.end) / this.last).toFixed(1)} of ${this.flow.end}`;
    element("flow-time-value").textContent = t;
    this.time.setAttribute("aria-valuetext", t);
    element("flow-peak").textContent = small(this.flow.peaks[k]);
    this.density.draw();
    this.samples.draw();
  }

  /** From the base to the data, or stop. */
  play() {
    const button = element("flow-play");
    const step = () => {
      this.time.value = Number(this.time.value) + 1;
      this.show();
      if (Number(this.time.value) === this.last) this.play();
    };
    if (this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    } else {
      if (Number(this.time.value) === this.last) this.time.value = 0;
      this.show();
      this.timer = setInterval(step, 1000 * FRAME_SECONDS);
    }
    button.textContent = this.timer ? "Stop" : "Play";
  }

  drawDensity(plot) {
    const [plane, size] = [this.planes[0], this.cells ** 2];
    const k = Number(this.time.value);
    const image = densityImage(this.weights.density.subarray(k * size, (k + 1) * size), this.cells);
    plot.pen.drawImage(image, plane.left, 8, plane.length, plane.length);
    plane.axes();
  }

  drawSamples(plot) {
    const plane = this.planes[1];
    const state = this.state(Number(this.time.value));
    const count = state.length / 3;
    plane.axes();
    plane.inside(() => {
      for (let k = 0; k < count; k++) plot.dot(...plane.at(state[k], state[count + k]), 1.7, plot.colours.one);
    });
  }
}
