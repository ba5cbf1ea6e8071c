"use strict";
// What all figures share: colours, symbols and dashes that say the same thing, text, axes.

const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#999999"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "8px,2px", "2px,2px"];
const STROKES = ["", "6 3", "2 2", "6 2 2 2", "9 3", "9 2 2 2", "8 2", "2 2"];
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star"];
const PATHS = {  // of a mark in a square of 12
  "circle": "M6 1a5 5 0 1 1 0 10a5 5 0 1 1 0-10z",
  "square": "M1.5 1.5h9v9h-9z",
  "triangle-up": "M6 1l5.5 9.5h-11z",
  "diamond": "M6 0l5 6l-5 6l-5-6z",
  "triangle-down": "M6 11l5.5-9.5h-11z",
  "cross": "M4 1h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
  "x": "M2.5 .5l3.5 3.5l3.5-3.5l2 2l-3.5 3.5l3.5 3.5l-2 2l-3.5-3.5l-3.5 3.5l-2-2l3.5-3.5l-3.5-3.5z",
  "star": "M6 0l1.5 4.2h4.5l-3.6 2.7l1.3 4.4l-3.7-2.6l-3.7 2.6l1.3-4.4l-3.6-2.7h4.5z",
};

/** Colour, symbol and dash of the i-th allocator; symbols shift whenever colours begin anew, so that no pair comes twice. */
function markOf(i) {
  const shifted = (i + Math.floor(i / PALETTE.length)) % SYMBOLS.length;
  return { color: PALETTE[i % PALETTE.length], symbol: SYMBOLS[shifted], dash: DASHES[shifted], stroke: STROKES[shifted] };
}

/** An element with properties and children. */
function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A small drawing of a mark, on its line if it has one. */
function swatch({ symbol = "circle", color = "", stroke, hollow = false, size = 12 }) {
  const width = stroke === undefined ? Math.max(14, size) : 34, height = Math.max(14, size), scale = size / 12;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const draw = (name, attributes) => {
    const part = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    svg.append(part);
  };
  for (const [key, value] of Object.entries({ class: "mark", width, height, "aria-hidden": "true" })) svg.setAttribute(key, value);
  const middle = height / 2, paint = color || "currentColor";
  if (stroke !== undefined) {
    draw("line", { x1: 0, x2: width, y1: middle, y2: middle, stroke: paint, "stroke-width": 2, "stroke-dasharray": stroke });
  }
  if (symbol) {
    const place = `translate(${width / 2 - 6 * scale} ${middle - 6 * scale}) scale(${scale})`;
    draw("path", { d: PATHS[symbol], transform: place, fill: hollow ? "none" : paint, stroke: hollow ? paint : "none", "stroke-width": 1.3, "vector-effect": "non-scaling-stroke" });
  }
  return svg;
}

/** Text that plotly takes for text, whatever is in it. */
const escaped = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** A number in a few digits; a dash where there is none. */
function digits(value, count = 4) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 10 ** count ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(count)));
}

const byId = id => document.getElementById(id);
const themed = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const narrow = () => window.innerWidth < 600;

/** An axis in the page's colours. */
function axis(title, more = {}) {
  return {
    title: { text: escaped(title), standoff: 8 }, automargin: true, gridcolor: themed("line"), zerolinecolor: themed("line"),
    linecolor: themed("quiet"), ...more,
  };
}

/** Draw, or change what is drawn; `told` says it to somebody who does not see it. */
function draw(id, traces, layout, told) {
  const place = byId(id);
  place.setAttribute("aria-label", told);
  const common = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: "system-ui, sans-serif", size: 12, color: themed("ink") }, margin: { l: 8, r: 12, t: 8, b: 8 },
    dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",  // a finger scrolls the page
    hoverlabel: { align: "left", namelength: -1 },
  };
  Plotly.react(place, traces, { ...common, ...layout }, { displayModeBar: false, responsive: true });
}
