// Panel 3: points of the data solved to the base and back, at several tolerances.

class InversionPanel {
  constructor(flows, tolerances) {
    this.flows = flows;
    this.tolerances = tolerances;
    this.base = new Plot(element("inversion-base"), (plot) => this.drawBase(plot));
    this.data = new Plot(element("inversion-data"), (plot) => this.drawData(plot));
    this.slider = element("inversion-tolerance");
    this.slider.addEventListener("input", () => this.show());
    element("inversion-choice").addEventListener("change", (event) => this.choose(event.target.value));
    this.choose(0);
  }

  choose(index) {
    this.flow = this.flows[index];
    this.weights = decodeArrays(this.flow.arrays);
    this.results = this.tolerances.map(() => null);
    element("inversion-about").textContent = this.flow.about;
    this.planes = [
      new Plane(this.base, 4, ["z₁", "z₂"]),
      new Plane(this.data, this.flow.side, ["x₁", "x₂"]),
    ];
    for (let k = 0; k < this.tolerances.length; k++) this.fill(k, ["…", "…", "…", "…"]);
    this.show();
    this.solveNext(this.flow);
  }

  /** The solution at the k-th tolerance, computed when it is first asked for. */
  result(k) {
    if (this.results[k] === null) {
      const { points } = this.weights;
      const found = invert(this.weights, points, this.flow.end, this.tolerances[k].value);
      this.results[k] = found;
      this.fill(k, [small(found.rms), small(found.largest), ...found.evaluations]);
    }
    return this.results[k];
  }

  /** Fill the table one row after the other, so that the page stays responsive. */
  solveNext(flow) {
    const k = this.results.indexOf(null);
    if (k < 0 || flow !== this.flow) return;
    setTimeout(() => {
      if (flow !== this.flow) return;
      this.result(k);
      this.solveNext(flow);
    }, 20);
  }

  /** The cells of a row of the table. */
  fill(k, texts) {
    const cells = element(`inversion-row-${k}`).querySelectorAll("td");
    cells.forEach((cell, i) => (cell.textContent = texts[i]));
  }

  show() {
    this.k = Number(this.slider.value);
    const { name } = this.tolerances[this.k];
    const { rms, evaluations } = this.result(this.k);
    const [there, back] = evaluations;
    this.slider.setAttribute("aria-valuetext", name);
    element("inversion-tolerance-value").textContent = name;
    element("inversion-text").textContent =
      `Tolerance ${name}: RMS |x − x′| = ${small(rms)}; ${there} evaluations of f to the base, ` +
      `${back} back.`;
    this.tolerances.forEach((_, k) => {
      element(`inversion-row-${k}`).setAttribute("aria-current", String(k === this.k));
    });
    this.base.draw();
    this.data.draw();
  }

  drawBase(plot) {
    const plane = this.planes[0];
    const { base } = this.result(this.k);
    const count = base.length / 3;
    plane.axes();
    plane.inside(() => {
      for (let k = 0; k < count; k++) plot.dot(...plane.at(base[k], base[count + k]), 1.7, plot.colours.one);
    });
  }

  drawData(plot) {
    const plane = this.planes[1];
    const { colours } = plot;
    const { points } = this.weights;
    const { back } = this.result(this.k);
    const count = back.length / 3;
    plane.axes();
    plane.inside(() => {
      for (let k = 0; k < count; k++) {
        const x = plane.at(points[2 * k], points[2 * k + 1]);
        const again = plane.at(back[k], back[count + k]);
        plot.line([x, again], colours.two, 1);
        plot.dot(...x, 1.7, colours.one);
        plot.dot(...again, 3, colours.two, true);
      }
    });
  }
}
