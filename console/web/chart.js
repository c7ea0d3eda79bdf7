// A line chart of samples, which the pointer and the arrow keys can read.
import { clock, make } from "./view.js";

const svg = "http://www.w3.org/2000/svg";
const width = 600;
const height = 120;
const span = 15 * 60 * 1000; // milliseconds

/** Returns a round number that is at least n, so that the scale does not change with every sample. */
function scale(n, unit) {
  if (!(n > 0)) return 1;
  let power = 1;
  while (n / power >= unit) power *= unit;
  power *= 10 ** Math.floor(Math.log10(n / power));
  return [1, 1.5, 2, 3, 5, 7.5, 10].find((f) => f * power >= n) * power;
}

function draw(tag, attributes) {
  const e = document.createElementNS(svg, tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
}

export class Chart {
  /** A series is {title, key}. text formats a value, in units of 1,000 or 1,024. */
  constructor(title, series, text, unit = 1000) {
    this.unit = unit;
    this.series = series;
    this.text = text;
    this.samples = [];
    this.selected = -1; // the last sample
    this.lines = series.map((_, i) => draw("path", { class: `line line-${i}` }));
    this.areas = series.map((_, i) => draw("path", { class: `area area-${i}` }));
    this.cursor = draw("line", { class: "cursor", y1: 0, y2: height });
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const f of [0, 0.5, 1]) picture.append(draw("line", { class: "grid", x1: 0, x2: width, y1: height * f, y2: height * f }));
    picture.append(...this.areas, ...this.lines, this.cursor);
    this.values = series.map(() => make("b"));
    this.top = make("span", { class: "top" });
    this.from = make("span");
    this.to = make("span");
    this.time = make("span", { class: "at" });
    this.plot = make("div", {
      class: "plot", role: "slider", tabindex: 0, "aria-label": `${title}, by sample`, "aria-valuemin": 0,
      onkeydown: (e) => this.key(e),
      onpointermove: (e) => this.point(e),
      onpointerdown: (e) => this.point(e),
      onpointerleave: () => this.select(-1),
      onblur: () => this.select(-1),
    }, picture, this.top);
    this.element = make("figure", { class: "chart" },
      make("figcaption", {}, make("h3", {}, title),
        make("p", {}, ...series.map((s, i) => make("span", { class: `legend legend-${i}` },
          series.length > 1 ? `${s.title} ` : "", this.values[i])), this.time)),
      this.plot,
      make("p", { class: "axis", "aria-hidden": "true" }, this.from, this.to));
  }

  /** Shows samples, the oldest first. */
  update(samples) {
    this.samples = samples;
    const end = Date.parse(samples[samples.length - 1].time);
    this.x = samples.map((s) => Math.max(0, width * (1 - (end - Date.parse(s.time)) / span)));
    const most = scale(Math.max(...samples.flatMap((s) => this.series.map(({ key }) => s[key] ?? 0))), this.unit);
    this.series.forEach(({ key }, i) => {
      let line = "";
      let area = "";
      let start = null; // x of a part without gaps
      let last = null;
      const close = () => {
        if (start !== null) area += `L${last} ${height}L${start} ${height}Z`;
        start = null;
      };
      samples.forEach((s, n) => {
        if (s[key] === null) {
          close();
          return;
        }
        const at = `${this.x[n].toFixed(1)} ${(height * (1 - s[key] / most)).toFixed(1)}`;
        line += (start === null ? `M${at}L` : "L") + at; // a single sample is a dot
        area += start === null ? `M${this.x[n].toFixed(1)} ${height}L${at}` : `L${at}`;
        start ??= this.x[n].toFixed(1);
        last = this.x[n].toFixed(1);
      });
      close();
      this.lines[i].setAttribute("d", line);
      this.areas[i].setAttribute("d", area);
    });
    this.top.textContent = this.text(most);
    this.from.textContent = clock(end - span);
    this.to.textContent = clock(end);
    this.select(Math.min(this.selected, samples.length - 1));
  }

  /** Shows one sample, -1 for the last. */
  select(n) {
    this.selected = n;
    if (this.samples.length === 0) return;
    const i = n < 0 ? this.samples.length - 1 : n;
    const sample = this.samples[i];
    this.series.forEach(({ key }, s) => { this.values[s].textContent = this.text(sample[key]); });
    this.time.textContent = `at ${clock(sample.time)}`;
    this.cursor.setAttribute("visibility", n < 0 ? "hidden" : "visible");
    this.cursor.setAttribute("x1", this.x[i]);
    this.cursor.setAttribute("x2", this.x[i]);
    this.plot.setAttribute("aria-valuemax", this.samples.length - 1);
    this.plot.setAttribute("aria-valuenow", i);
    this.plot.setAttribute("aria-valuetext", `${clock(sample.time)}: ` +
      this.series.map((s) => `${s.title} ${this.text(sample[s.key])}`).join(", "));
  }

  key(e) {
    const last = this.samples.length - 1;
    const now = this.selected < 0 ? last : this.selected;
    const next = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageUp: now + 12, PageDown: now - 12, Home: 0, End: last, Escape: -1 }[e.key];
    if (next === undefined) return;
    e.preventDefault();
    this.select(e.key === "Escape" ? -1 : Math.max(0, Math.min(last, next)));
  }

  point(e) {
    if (this.samples.length === 0) return;
    const box = this.plot.getBoundingClientRect();
    const x = (e.clientX - box.left) / box.width * width;
    let nearest = 0;
    this.x.forEach((at, i) => { if (Math.abs(at - x) < Math.abs(this.x[nearest] - x)) nearest = i; });
    this.select(nearest);
  }
}
