// One instance: a map, or bars where places are not known. All allocators are drawn to the same scales.

const USUAL = 18, LARGEST = 64, SMALLEST = 4, LOUD_DB = 60;  // sizes in pixels

/** Largest amount and rate, and the span of the stations' amounts, over all allocators of a scene. */
function scalesOf(scene) {
  const all = part => scene.services.flatMap(service => service[part] || []).filter(value => value !== null);
  // What one in ten of the served exceeds, the most of all allocators: a few that have far more must not hide the others.
  const ofServed = part => scene.services.map(service => service[part].filter((_, user) => service.amount[user] > 0));
  const nearlyMost = values => values.sort((a, b) => a - b)[Math.floor(0.9 * (values.length - 1))] || 0;
  const usual = part => Math.max(...ofServed(part).map(nearlyMost)) || 1;
  const spent = all("stationAmount"), loudest = Math.max(...spent);
  const amount = Math.max(...all("amount")) || 1;
  const crowd = Math.min(1, Math.max(0.4, Math.sqrt(50 / scene.services[0].amount.length)));  // smaller marks for many users
  return {
    amount, crowd, rate: Math.max(...all("rate")) || 1, darkest: usual("rate"),
    size: crowd * Math.min(LARGEST, 1.4 * USUAL * Math.sqrt(amount / usual("amount"))),
    spent: spent.length ? [Math.max(Math.min(...spent), loudest - LOUD_DB), loudest] : null,
  };
}

const sizeOf = (amount, scales) => Math.max(SMALLEST, (narrow() ? 0.7 : 1) * scales.size * Math.sqrt(amount / scales.amount));

/** A heading's name and unit: `bandwidth / MHz` of a number reads `bandwidth 3.2 MHz`. */
function worded(heading, value) {
  const [name, unit = ""] = heading.split(" / ");
  return `${name} ${digits(value)} ${unit.replace(/^\(|\)$/g, "")}`.trim();
}

function userText(scene, service, user) {
  const station = service.station[user], [stations, users] = scene.names;
  const by = station < 0 ? `no ${stations}` : `${stations} ${station}`;
  return [`${users} ${user}`, by, worded(scene.amount, service.amount[user]), worded(scene.rate, service.rate[user])]
    .map(escaped).join("<br>");
}

function buildingTrace(places) {
  const x = [], y = [];
  for (const [west, south, east, north] of places.buildings) {
    x.push(west, east, east, west, west, null);
    y.push(south, south, north, north, south, null);
  }
  return {
    type: "scatter", mode: "lines", x, y, fill: "toself", fillcolor: themed("roof"), hoverinfo: "skip",
    line: { color: themed("wall"), width: 1 },
  };
}

/** Lines from users to their stations, the wider the more is given: a trace for each of five widths. */
function linkTraces(places, service, scales) {
  const widths = new Map();
  service.amount.forEach((amount, user) => {
    const station = places.stations[service.station[user]];
    if (!(amount > 0) || !station) return;
    const width = scales.crowd * (0.6 + Math.ceil(4 * amount / scales.amount - 1e-9));
    const ends = widths.get(width) || widths.set(width, { x: [], y: [] }).get(width);
    ends.x.push(places.users[user][0], station[0], null);
    ends.y.push(places.users[user][1], station[1], null);
  });
  return [...widths].sort((a, b) => a[0] - b[0]).map(([width, ends]) => ({
    type: "scatter", mode: "lines", ...ends, line: { width, color: themed("quiet") }, opacity: 0.45, hoverinfo: "skip",
  }));
}

function userTraces(scene, service, scales) {
  const { users } = scene.places, all = users.map((_, user) => user);
  const served = all.filter(user => service.amount[user] > 0).sort((a, b) => service.amount[b] - service.amount[a]);
  const others = all.filter(user => !(service.amount[user] > 0));
  const at = chosen => ({
    type: "scatter", mode: "markers", x: chosen.map(user => users[user][0]), y: chosen.map(user => users[user][1]),
    text: chosen.map(user => userText(scene, service, user)), hoverinfo: "text",
  });
  return [
    { ...at(others), name: "not served", marker: { symbol: "x-thin-open", size: 6, color: themed("quiet"), line: { width: 1.2 } } },
    {
      ...at(served), name: "served",
      marker: {
        symbol: "circle", size: served.map(user => sizeOf(service.amount[user], scales)), opacity: 0.85,
        color: served.map(user => service.rate[user]), cmin: 0, cmax: scales.darkest, colorscale: "Viridis", reversescale: true,
        line: { width: 1, color: themed("ink") },
        colorbar: {
          orientation: "h", thickness: 10, len: 0.9, y: 1, yanchor: "bottom", outlinewidth: 0,
          title: { text: escaped(scene.rate), side: "top" },
        },
      },
    },
  ];
}

function stationTrace(scene, service, scales) {
  const { stations, macro } = scene.places, serving = stations.map(() => 0);
  service.station.forEach((station, user) => { if (service.amount[user] > 0 && station >= 0) serving[station] += 1; });
  const spent = service.stationAmount;
  const silent = stations.map((_, i) => spent ? spent[i] === null : serving[i] === 0);
  const size = i => {
    if (!spent || silent[i] || !scales.spent) return 12;
    const [low, high] = scales.spent;
    return 8 + 10 * Math.max(0, spent[i] - low) / (high - low || 1);
  };
  return {
    type: "scatter", mode: "markers", name: scene.names[0], x: stations.map(at => at[0]), y: stations.map(at => at[1]),
    hoverinfo: "text",
    text: stations.map((_, i) => [
      `${scene.names[0]} ${i}${macro && macro[i] ? ", macro" : ""}`,
      ...(spent ? [silent[i] ? "silent" : worded(scene.stationAmount, spent[i])] : []),
      `serves ${serving[i]}`,
    ].map(escaped).join("<br>")),
    marker: {
      symbol: stations.map((_, i) => (macro && macro[i] ? "square" : "triangle-up") + (silent[i] ? "-open" : "")),
      size: stations.map((_, i) => size(i)), color: themed("ink"), line: { width: 1, color: themed(macro ? "quiet" : "ink") },
    },
  };
}

function spanOf(places) {
  const all = [...places.users, ...places.stations], corners = places.buildings;
  const span = (i, low, high) => {
    const least = Math.min(...all.map(at => at[i]), ...corners.map(low)), most = Math.max(...all.map(at => at[i]), ...corners.map(high));
    const margin = 0.04 * (most - least) || 10;
    return [least - margin, most + margin];
  };
  return { x: span(0, at => at[0], at => at[2]), y: span(1, at => at[1], at => at[3]) };
}

function drawMap(scene, service, told) {
  const { places } = scene, scales = scalesOf(scene), span = spanOf(places);
  const traces = [
    ...(places.buildings.length ? [buildingTrace(places)] : []),
    ...linkTraces(places, service, scales),
    ...userTraces(scene, service, scales),
    ...(places.stations.length ? [stationTrace(scene, service, scales)] : []),
  ];
  const wide = byId("scene").clientWidth, ratio = (span.y[1] - span.y[0]) / (span.x[1] - span.x[0]);
  draw("scene", traces, {
    height: Math.round(Math.min(760, Math.max(300, (wide - 68) * ratio + 112))), uirevision: scene.title,
    margin: { l: 56, r: 12, t: 52, b: 48 },
    xaxis: axis("x / m", { range: span.x, zeroline: false, automargin: false, title: { text: "x / m" } }),
    yaxis: axis("y / m", { range: span.y, scaleanchor: "x", zeroline: false, automargin: false, title: { text: "y / m" } }),
  }, told);
}

function drawBars(scene, service, told) {
  const scales = scalesOf(scene), users = service.amount.map((_, user) => user);
  const bars = (values, name, place) => ({
    type: "bar", name, x: users, y: values, ...place, hoverinfo: "text",
    text: users.map(user => userText(scene, service, user)), textposition: "none", marker: { color: themed("accent") },
  });
  const without = users.filter(user => !(service.amount[user] > 0));
  draw("scene", [
    bars(service.amount, "amount", {}),
    bars(service.rate, "rate", { yaxis: "y2" }),
    {
      type: "scatter", mode: "markers", name: "not served", x: without, y: without.map(() => 0), hoverinfo: "text", cliponaxis: false,
      text: without.map(user => userText(scene, service, user)),
      marker: { symbol: "x-thin-open", size: 7, color: themed("ink"), line: { width: 1.4 } },
    },
  ], {
    height: 460, bargap: 0.25,
    xaxis: axis(`${scene.names[1]} (number)`, { anchor: "y2", range: [-0.6, users.length - 0.4], dtick: users.length <= 12 ? 1 : undefined }),
    yaxis: axis(scene.amount, { domain: [0.56, 1], range: [0, 1.05 * scales.amount] }),
    yaxis2: axis(scene.rate, { domain: [0, 0.44], range: [0, 1.05 * scales.rate] }),
  }, told);
}

/** What the marks mean, with three amounts to read areas by. */
function drawSceneLegend(scene) {
  const list = byId("scene-legend"), scales = scalesOf(scene), [station, user] = scene.names;
  const items = [];
  const put = (look, text) => items.push(element("li", {}, swatch(look), text));
  if (scene.places) {
    const [name, unit = ""] = scene.amount.split(" / ");
    for (const share of [0.1, 0.4, 1]) {
      const step = Number((share * scales.amount).toPrecision(1));
      put({ size: 1.2 * sizeOf(step, scales), hollow: true }, `${share === 0.1 ? name + " " : ""}${step}${share === 1 ? " " + unit.replace(/^\(|\)$/g, "") : ""}`);
    }
    put({ symbol: "x", size: 8 }, `${user} not served`);
    if (scene.places.stations.length) {
      const kinds = scene.places.macro && scene.places.macro.some(Boolean) ? [["square", `macro ${station}`], ["triangle-up", `small ${station}`]] : [["triangle-up", station]];
      for (const [symbol, text] of kinds) put({ symbol }, text);
      if (scene.places.stations.length > 1) put({ symbol: "triangle-up", hollow: true }, `silent ${station}`);
    }
  } else if (scene.services.some(service => service.amount.some(amount => !(amount > 0)))) {
    put({ symbol: "x", size: 8 }, `${user} not served`);
  }
  list.replaceChildren(...items);
}

function fillNumbers(scene, service) {
  const heads = [scene.names[1], scene.names[0], scene.amount, scene.rate];
  const row = user => [user, service.station[user] < 0 ? "–" : service.station[user], digits(service.amount[user]), digits(service.rate[user])];
  const cells = values => element("tr", {}, ...values.map(value => element("td", { className: "number", textContent: value })));
  const head = element("thead", {}, element("tr", {}, ...heads.map(text => element("th", { scope: "col", textContent: text }))));
  const body = element("tbody", {}, ...service.amount.map((_, user) => cells(row(user))));
  byId("scene-numbers").querySelector("div").replaceChildren(element("table", {}, head, body));
}

function drawScene(scene, service) {
  const told = `${service.name}: ${service.told}`;
  (scene.places ? drawMap : drawBars)(scene, service, `${scene.title}, ${told}`);
  drawSceneLegend(scene);
  byId("told").textContent = told;
  byId("scene-caption").textContent = [
    scene.title,
    ...(scene.places ? [`The area of a circle tells the ${scene.amount.split(" / ")[0]}, its colour the rate, the darkest also all above`] : []),
    "All allocators are drawn to the same scales",
    scene.attribution,
  ].filter(Boolean).map(part => part.replace(/\.?$/, ".")).join(" ");
  if (byId("scene-numbers").open) fillNumbers(scene, service);
}
