// The controls: which scene, which allocator, which case, which allocators in its figures.

const DATA = JSON.parse(byId("data").textContent);
const hiddenMarks = new Set();  // of the case that is shown

const shownScene = () => DATA.scenes[Number(byId("scene-choice").value)];
const shownService = () => shownScene().services[Number(document.querySelector("input[name=service]:checked").value)];
const shownCase = () => DATA.cases[Number(byId("case-choice").value)];

/** The services of the scene as radio buttons; the one of the chosen name stays chosen. */
function offerServices(name) {
  const { services } = shownScene(), chosen = Math.max(0, services.findIndex(service => service.name === name));
  const legend = byId("service-choice").querySelector("legend");
  const options = services.map((service, i) => {
    const input = element("input", { type: "radio", name: "service", value: i, checked: i === chosen });
    input.addEventListener("change", () => drawScene(shownScene(), shownService()));
    return element("label", {}, input, service.name);
  });
  byId("service-choice").replaceChildren(legend, ...options);
  drawScene(shownScene(), shownService());
}

/** The allocators of the case with their marks, each to be left out of the figures. */
function offerAllocators() {
  hiddenMarks.clear();
  const legend = byId("allocator-choice").querySelector("legend");
  const options = shownCase().rows.map(row => {
    const input = element("input", { type: "checkbox", checked: true });
    input.addEventListener("change", () => {
      if (input.checked) hiddenMarks.delete(row.mark); else hiddenMarks.add(row.mark);
      drawFront(shownCase(), hiddenMarks);
      drawRates(shownCase(), hiddenMarks);
    });
    return element("label", {}, input, swatch(markOf(row.mark)), row.allocator);
  });
  byId("allocator-choice").replaceChildren(legend, ...options);
  drawCase(shownCase(), hiddenMarks);
}

function readyScenes() {
  const choice = byId("scene-choice");
  byId("scene-part").hidden = false;
  byId("scene-field").hidden = DATA.scenes.length < 2;
  choice.append(...DATA.scenes.map((scene, i) => new Option(scene.title, i)));
  choice.addEventListener("change", () => {
    const checked = document.querySelector("input[name=service]:checked");
    offerServices(checked.parentElement.textContent);
  });
  byId("scene-numbers").addEventListener("toggle", () => fillNumbers(shownScene(), shownService()));
  offerServices("");
}

function readyCases() {
  const choice = byId("case-choice"), problems = [...new Set(DATA.cases.map(item => item.problem))];
  byId("case-part").hidden = false;
  byId("case-field").hidden = DATA.cases.length < 2;
  const options = of => DATA.cases.flatMap((item, i) => of(item) ? [new Option(item.name, i)] : []);
  const grouped = problems.length > 1 && problems.length < DATA.cases.length;
  choice.append(...(grouped
    ? problems.map(problem => element("optgroup", { label: problem }, ...options(item => item.problem === problem)))
    : options(() => true)));
  choice.addEventListener("change", offerAllocators);
  offerAllocators();
}

function redraw() {
  if (DATA.scenes.length) drawScene(shownScene(), shownService());
  if (DATA.cases.length) drawCase(shownCase(), hiddenMarks);
}

if (DATA.scenes.length) readyScenes();
if (DATA.cases.length) readyCases();
readyTable();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
window.matchMedia("(max-width: 599px)").addEventListener("change", redraw);
window.matchMedia("print").addEventListener("change", redraw);
