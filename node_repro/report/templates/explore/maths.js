// Fields and solvers, as in the Python package. No DOM here: node runs this file in the tests.
"use strict";

/** Numbers of the page, row by row: {shape, float32 or uint8 in base64} -> typed array. */
function decodeArray(stored) {
  const bytes = Uint8Array.from(atob(stored.float32 ?? stored.uint8), (c) => c.charCodeAt(0));
  return stored.float32 === undefined ? bytes : new Float32Array(bytes.buffer);
}

/** All arrays of a model: name -> typed array. */
function decodeArrays(stored) {
  return Object.fromEntries(Object.entries(stored).map(([name, one]) => [name, decodeArray(one)]));
}

/** The linear layer of this name: W x + b, W (outputs, inputs). */
function linear(weights, name, x) {
  const w = weights[name + ".weight"];
  const y = Float64Array.from(weights[name + ".bias"]);
  for (let i = 0; i < y.length; i++) {
    for (let j = 0; j < x.length; j++) y[i] += w[i * x.length + j] * x[j];
  }
  return y;
}

/** dz/dt of the latent ODE (models/latent_ode.py, LatentField). */
function latentField(weights, z) {
  return linear(weights, "field.outer", linear(weights, "field.inner", z).map(Math.tanh));
}

/** The mean of the observation at a latent state (models/latent_ode.py, latent_decoder). */
function decodeLatent(weights, z) {
  const hidden = linear(weights, "decoder.0", z).map((x) => Math.max(x, 0));
  return linear(weights, "decoder.2", hidden);
}

/** States at the times ts from z0 at ts[0], one step of the classical Runge-Kutta method each. */
function rk4Path(f, z0, ts) {
  const path = [Float64Array.from(z0)];
  for (let k = 1; k < ts.length; k++) {
    const h = ts[k] - ts[k - 1];
    const z = path[k - 1];
    const ahead = (slope, part) => z.map((value, i) => value + part * h * slope[i]);
    const k1 = f(z);
    const k2 = f(ahead(k1, 0.5));
    const k3 = f(ahead(k2, 0.5));
    const k4 = f(ahead(k3, 1));
    path.push(z.map((value, i) => value + (h / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i])));
  }
  return path;
}

/** The total angle, in turns, by which a curve of [x, y] goes round the origin; > 0: counter-clockwise. */
function turns(curve) {
  let angle = 0;
  for (let k = 1; k < curve.length; k++) {
    const [x0, y0] = curve[k - 1];
    const [x1, y1] = curve[k];
    angle += Math.atan2(x0 * y1 - y0 * x1, x0 * x1 + y0 * y1);
  }
  return angle / (2 * Math.PI);
}

/** Parameters of the M planar units at time t (models/planar_cnf.py, Hypernetwork). */
function planarUnits(weights, t) {
  const first = linear(weights, "units.first", [t]).map(Math.tanh);
  const second = linear(weights, "units.second", first).map(Math.tanh);
  const all = linear(weights, "units.last", second);
  const m = all.length / 7; // w and v and g with two numbers for each unit, b with one
  const gate = all.subarray(4 * m, 6 * m);
  const u = all.slice(2 * m, 4 * m).map((v, i) => v / (1 + Math.exp(-gate[i])));
  return { w: all.subarray(0, 2 * m), u, b: all.subarray(6 * m) };
}

/** The field of a planar flow. States are points and log p: [x of all, y of all, log p of all]. */
function planarField(weights) {
  return (t, state) => {
    const { w, u, b } = planarUnits(weights, t);
    const count = state.length / 3;
    const rate = new Float64Array(state.length);
    for (let n = 0; n < b.length; n++) {
      const [w0, w1, u0, u1] = [w[2 * n], w[2 * n + 1], u[2 * n], u[2 * n + 1]];
      const trace = w0 * u0 + w1 * u1;
      for (let k = 0; k < count; k++) {
        const h = 1 - 2 / (1 + Math.exp(2 * (w0 * state[k] + w1 * state[count + k] + b[n]))); // tanh
        rate[k] += u0 * h;
        rate[count + k] += u1 * h;
        rate[2 * count + k] -= trace * (1 - h * h);
      }
    }
    return rate.map((x) => x / b.length);
  };
}

/** Points, x and y of each in turn, as the state in which a solve starts: log p is 0. */
function flowState(points) {
  const count = points.length / 2;
  const state = new Float64Array(3 * count);
  for (let k = 0; k < count; k++) {
    state[k] = points[2 * k];
    state[count + k] = points[2 * k + 1];
  }
  return state;
}

const DOPRI5 = {
  c: [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1],
  a: [
    [],
    [1 / 5],
    [3 / 40, 9 / 40],
    [44 / 45, -56 / 15, 32 / 9],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
  ],
  bHat: [5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40],
  errorOrder: 5, // the error estimate falls as h^5
};
const CONTROLLER = { safety: 0.9, least: 0.2, most: 10, stretch: 0.1, snap: 1e-10, maxSteps: 10000 };

/** The root mean square of x in units of the tolerance: atol = rtol, |y| the larger of two states. */
function scaledNorm(x, tolerance, y, other) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    const scale = tolerance * (1 + Math.max(Math.abs(y[i]), Math.abs(other[i])));
    sum += (x[i] / scale) ** 2;
  }
  return Math.sqrt(sum / x.length);
}

/** The first step (Hairer, Norsett, Wanner: Solving ODEs I, II.4). One evaluation of f. */
function firstStep(f, t0, t1, y, slope, tolerance) {
  const span = t1 - t0;
  const d0 = scaledNorm(y, tolerance, y, y);
  const d1 = scaledNorm(slope, tolerance, y, y);
  const h0 = Math.min(d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : (0.01 * d0) / d1, Math.abs(span));
  const h = Math.sign(span) * h0;
  const ahead = f(h0 === Math.abs(span) ? t1 : t0 + h, y.map((value, i) => value + h * slope[i]));
  const d2 = scaledNorm(ahead.map((x, i) => x - slope[i]), tolerance, y, y) / h0;
  const fastest = Math.max(d1, d2);
  const h1 =
    fastest <= 1e-15 ? Math.max(1e-6, h0 * 1e-3) : (0.01 / fastest) ** (1 / DOPRI5.errorOrder);
  return Math.sign(span) * Math.min(100 * h0, h1, Math.abs(span));
}

/** One step of Dormand and Prince from t to t1: its end, the slope there, and the error estimate. */
function dopri5Step(f, t, t1, y, slope) {
  const h = t1 - t;
  const stages = [slope];
  let end = y;
  for (let s = 1; s < 7; s++) {
    const row = DOPRI5.a[s];
    end = y.map((value, i) => {
      let sum = 0;
      for (let j = 0; j < s; j++) sum += row[j] * stages[j][i];
      return value + h * sum;
    });
    stages.push(f(s >= 5 ? t1 : t + DOPRI5.c[s] * h, end)); // stages 5 and 6 are at the end
  }
  const b = DOPRI5.a[6];
  const error = y.map((_, i) => {
    let sum = 0;
    for (let j = 0; j < 7; j++) sum += ((b[j] ?? 0) - DOPRI5.bHat[j]) * stages[j][i];
    return h * sum;
  });
  return { end, slope: stages[6], error };
}

/**
 * Solve dy/dt = f(t, y) from t0 to t1 with rtol = atol = tolerance, by the steps that the Python
 * package takes with solver=dopri5 and controller=integral.
 */
function dopri5(f, y0, t0, t1, tolerance) {
  let evaluations = 0;
  const counted = (t, y) => {
    evaluations += 1;
    return f(t, y);
  };
  let [t, y, slope] = [t0, y0, counted(t0, y0)];
  let h = firstStep(counted, t0, t1, y, slope, tolerance);
  let rejected = false;
  for (let attempts = 0; t !== t1; attempts++) {
    // a step that would end close to t1 ends there, but a retry is not made longer again
    const reach = 1 + (rejected ? CONTROLLER.snap : CONTROLLER.stretch);
    const next = Math.abs(h) * reach >= Math.abs(t1 - t) ? t1 : t + h;
    const step = dopri5Step(counted, t, next, y, slope);
    const error = scaledNorm(step.error, tolerance, y, step.end);
    if (!Number.isFinite(error) || attempts === CONTROLLER.maxSteps) {
      throw new Error(`the solve failed at t = ${t}`);
    }
    const accept = error <= 1;
    const wanted = error === 0 ? CONTROLLER.most : CONTROLLER.safety * error ** (-1 / DOPRI5.errorOrder);
    const most = accept && !rejected ? CONTROLLER.most : 1; // no growth right after a rejection
    h = (next - t) * Math.min(most, Math.max(CONTROLLER.least, wanted));
    if (accept) [t, y, slope] = [next, step.end, step.slope];
    rejected = !accept;
  }
  return { y, evaluations };
}

/** Points of the data to the base and back at a tolerance, with the evaluations of f. */
function invert(weights, points, end, tolerance) {
  const f = planarField(weights);
  const state = flowState(points);
  const count = points.length / 2;
  const there = dopri5(f, state, end, 0, tolerance);
  const base = there.y.slice();
  base.fill(0, 2 * count); // log p starts at 0 again
  const back = dopri5(f, base, 0, end, tolerance);
  let [sum, largest] = [0, 0];
  for (let k = 0; k < count; k++) {
    const distance = Math.hypot(back.y[k] - state[k], back.y[count + k] - state[count + k]);
    sum += distance ** 2;
    largest = Math.max(largest, distance);
  }
  return {
    base,
    back: back.y,
    rms: Math.sqrt(sum / count),
    largest,
    evaluations: [there.evaluations, back.evaluations],
  };
}

if (typeof module !== "undefined") {
  module.exports = {
    decodeArrays, latentField, decodeLatent, rk4Path, turns, planarUnits, planarField, flowState, dopri5, invert,
  };
}
