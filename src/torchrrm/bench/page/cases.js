// All instances of a case: bars against the bound, optimality against latency, distribution of utilities.

const KINDS = {
  policy: { shape: "", color: "#0072b2", told: "policy" },
  solver: { shape: "/", color: "#e69f00", told: "solver" },
  trivial: { shape: ".", color: "#b0b0b0", told: "trivial rule" },
};

const value = (row, bounded) => bounded ? row.percent : row.objective;
const interval = (row, bounded) => bounded ? row.percent95 : row.objective95;

/** Names the rows that are not compared with the bound. */
function missing(item, bounded) {
  const names = item.rows.filter(row => value(row, bounded) === null).map(row => row.allocator);
  return names.length ? ` Not shown, since they violate a constraint on some instances: ${names.join(", ")}.` : "";
}

/** Lengths of the rows' intervals above and below. */
function spread(rows, bounded) {
  const half = (row, i) => interval(row, bounded) ? Math.abs(interval(row, bounded)[i] - value(row, bounded)) : 0;
  return { type: "data", symmetric: false, array: rows.map(row => half(row, 1)), arrayminus: rows.map(row => half(row, 0)) };
}

function drawAgainstBound(item) {
  const bounded = Boolean(item.bound);
  const rows = item.rows.filter(row => value(row, bounded) !== null).sort((a, b) => value(a, bounded) - value(b, bounded));
  const values = rows.map(row => value(row, bounded)), most = Math.max(...values, bounded ? 100 : 0), least = Math.min(0, ...values);
  const low = bounded ? Math.max(least, -100) : least, places = rows.map((_, i) => i);
  const label = row => (bounded ? value(row, true).toFixed(2) : digits(value(row, false))) + (row.violated > 0 ? " †" : "");
  const word = bounded ? `objective / ${item.bound} / %` : item.heading;
  byId("bars-heading").textContent = bounded ? `Against the ${item.bound}` : "Objective";
  byId("bars-legend").replaceChildren(...kindLegend(rows));
  byId("bars-caption").textContent = `${item.name}: ${item.heading}${bounded ? ` in per cent of the ${item.bound}` : ""}, with 95 % intervals.`
    + (rows.some(row => row.violated > 0) ? " † violates a constraint on some instances, so that its value is not one that the rules allow." : "") + missing(item, bounded);
  const ends = rows.map(row => Math.max(0, interval(row, bounded) ? interval(row, bounded)[1] : value(row, bounded)));
  const reach = Math.min(Math.max(most, ...ends), 1.25 * most);  // intervals of few instances go far
  const bars = Object.entries(KINDS).map(([kind, { shape, color, told }]) => {
    const at = places.filter(i => rows[i].kind === kind), mine = at.map(i => rows[i]);
    return {
      type: "bar", orientation: "h", name: told, width: 0.7, x: mine.map(row => value(row, bounded)), y: at, hoverinfo: "text",
      text: mine.map(row => hoverOf(row, item)), textposition: "none",
      error_x: { ...spread(mine, bounded), color: themed("ink"), thickness: 1.2, width: 3 },
      marker: {
        color, line: { color: themed("ink"), width: 0.8 },
        pattern: { shape, fillmode: "overlay", fgcolor: "#1a1a1a", fgopacity: 0.7, size: 6, solidity: 0.25 },
      },
    };
  });
  draw("bars", [
    ...bars,
    {
      type: "scatter", mode: "text", name: "values", hoverinfo: "skip", y: places, text: rows.map(row => `\u2002${label(row)}`),
      x: ends.map(end => Math.min(end, reach)), textposition: "middle right", cliponaxis: false,
    },
  ], {
    height: 70 + 26 * rows.length, barmode: "overlay", margin: { l: 8, r: narrow() ? 58 : 70, t: 8, b: 8 },
    xaxis: axis(word, { range: [low < 0 ? 1.05 * low : 0, reach * 1.02 || 1] }),
    yaxis: axis("", { tickvals: places, ticktext: rows.map(row => escaped(shortened(row.allocator))), range: [-0.7, rows.length - 0.3], showgrid: false, title: undefined }),
    shapes: bounded ? [{ type: "line", x0: 100, x1: 100, yref: "paper", y0: 0, y1: 1, line: { color: themed("ink"), width: 1.5, dash: "dash" } }] : [],
  }, `${item.name}: ` + [...rows].reverse().map(row => `${row.allocator} ${label(row)}`).join(", "));
}

/** Names that leave room for the bars on a narrow screen. */
const shortened = name => narrow() && name.length > 18 ? `${name.slice(0, 17)}…` : name;

function kindLegend(rows) {
  const shown = Object.keys(KINDS).filter(kind => rows.some(row => row.kind === kind));
  return shown.map(kind => {
    const svg = swatch({ symbol: "square", color: KINDS[kind].color, size: 16 });
    const ink = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const lines = { "": "", "/": "M1 9L9 1M3 15L15 3M8 15L15 8", ".": "M5 5h.01M11 5h.01M5 11h.01M11 11h.01M8 8h.01" }[KINDS[kind].shape];
    for (const [key, part] of Object.entries({ d: lines, stroke: "#1a1a1a", "stroke-width": KINDS[kind].shape === "." ? 2.5 : 1.2, "stroke-linecap": "round", fill: "none" })) ink.setAttribute(key, part);
    svg.append(ink);
    return element("li", {}, svg, KINDS[kind].told);
  });
}

function hoverOf(row, item) {
  const ends = item.bound && row.percent95 ? ` (95 %: ${row.percent95.map(end => end.toFixed(2)).join(" to ")})` : "";
  return [
    `${row.allocator}, ${KINDS[row.kind].told}`,
    `${item.heading}: ${digits(row.objective)}`,
    ...(row.percent === null ? [] : [`${row.percent.toFixed(2)} % of the ${item.bound}${ends}`]),
    `latency ${digits(row.p50, 3)} µs, p99 ${digits(row.p99, 3)} µs`,
    ...(row.violated > 0 ? [`violates a constraint on ${digits(row.violated, 3)} % of the instances`] : []),
  ].map(escaped).join("<br>");
}

function drawFront(item, hidden) {
  const bounded = Boolean(item.bound), shown = item.rows.filter(row => !hidden.has(row.mark) && value(row, bounded) !== null);
  const points = shown.map(row => {
    const { color, symbol } = markOf(row.mark), kept = row.violated === 0;
    return {
      type: "scatter", mode: "markers", name: escaped(row.allocator), x: [row.p50], y: [value(row, bounded)], hoverinfo: "text", text: [hoverOf(row, item)],
      error_x: { type: "data", symmetric: false, array: [Math.max(0, row.p99 - row.p50)], arrayminus: [0], color, thickness: 1.2, width: 3 },
      error_y: { ...spread([row], bounded), color, thickness: 1.2, width: 3 },
      marker: { symbol: kept ? symbol : `${symbol}-open`, size: 11, color, line: { width: kept ? 1 : 2, color: kept ? themed("ink") : color } },
    };
  });
  const steps = shown.filter(row => row.front).sort((a, b) => a.p50 - b.p50);
  const line = { type: "scatter", mode: "lines", x: steps.map(row => row.p50), y: steps.map(row => value(row, bounded)), hoverinfo: "skip", line: { shape: "hv", width: 1.2, color: themed("quiet") } };
  byId("front-heading").textContent = bounded ? "Optimality against latency" : "Objective against latency";
  byId("front-caption").textContent = "Whiskers reach from the median to the 99th percentile of a call, and over the 95 % interval of the mean. "
    + (bounded ? "The stepped line joins those that none beats in both. " : "")
    + (shown.some(row => row.violated > 0) ? "Hollow: violates a constraint on some instances." : "") + missing(item, bounded);
  draw("front", [...(bounded ? [line] : []), ...points], {
    height: 380,
    xaxis: axis("latency of a call, p50 to p99 / µs", { type: "log", dtick: narrow() ? undefined : 1 }),
    yaxis: axis(bounded ? `objective / ${item.bound} / %` : item.heading, { range: rangeOf(shown.map(row => value(row, bounded))) }),
  }, `${item.name}: ` + shown.map(row => `${row.allocator} ${digits(value(row, bounded))}${bounded ? " %" : ""} in ${digits(row.p50, 3)} µs`).join(", "));
}

/** From the least to the most with some room: intervals of few instances may reach beyond. */
function rangeOf(values) {
  const least = Math.min(...values), most = Math.max(...values), room = 0.15 * (most - least) || 0.02 * Math.abs(most) || 1;
  return values.length ? [least - room, most + room] : undefined;
}

/** From the least value to beyond the 95th percentile of all: what a few users have must not hide the others. */
function spanOfQuantiles(rows) {
  const least = Math.min(0, ...rows.map(row => row.quantiles[0]));
  const most = Math.max(...rows.map(row => row.quantiles[Math.round(0.95 * (row.quantiles.length - 1))]));
  const all = Math.max(...rows.map(row => row.quantiles[row.quantiles.length - 1]));
  return rows.length ? [1.05 * least, Math.min(1.05 * all, 1.25 * most) || 1] : undefined;
}

function drawRates(item, hidden) {
  const rows = item.rows.filter(row => row.quantiles.length), shown = rows.filter(row => !hidden.has(row.mark));
  byId("rates-figure").hidden = rows.length === 0;
  if (rows.length === 0) return;
  byId("rates-heading").textContent = "Distribution over users";
  byId("rates-caption").textContent = "Share of all active users of all instances that have at most so much; the last 5 % may lie beyond.";
  draw("rates", shown.map(row => {
    const { color, symbol, dash } = markOf(row.mark), last = row.quantiles.length - 1;
    const offset = row.mark % 8;
    return {
      type: "scatter", mode: "lines+markers", name: escaped(row.allocator), x: row.quantiles, y: row.quantiles.map((_, i) => i / last),
      line: { color, dash, width: 2 }, hovertemplate: `${escaped(row.allocator)}<br>%{y:.0%} of users: at most %{x:.4g}<extra></extra>`,
      marker: { symbol, color, size: row.quantiles.map((_, i) => i % 8 === offset ? 9 : 0), line: { width: 0 } },
    };
  }), {
    height: 380,
    xaxis: axis(item.utility, { range: spanOfQuantiles(shown) }),
    yaxis: axis("share of users", { range: [0, 1.02], tickformat: ".0%" }),
  }, `${item.name}, medians: ` + shown.map(row => `${row.allocator} ${digits(row.quantiles[Math.round((row.quantiles.length - 1) / 2)])}`).join(", ")
    + `; ${item.utility}`);
}

function drawCase(item, hidden) {
  drawAgainstBound(item);
  drawFront(item, hidden);
  drawRates(item, hidden);
}
