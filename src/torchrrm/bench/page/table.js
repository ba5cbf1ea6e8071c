// The table: sorted by any column, filtered by problem and setting. Columns that a shown problem has no value in are left out.

function sortKey(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value === undefined) return cell.textContent;
  return cell.dataset.value === "" ? -Infinity : Number(cell.dataset.value);
}

function sortBy(head) {
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1, column = head.cellIndex;
  const order = (a, b) => typeof a === "string" ? a.localeCompare(b) : a === b ? 0 : a < b ? -1 : 1;
  for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const body = head.closest("table").tBodies[0];
  body.append(...[...body.rows].sort((a, b) => sign * order(sortKey(a, column), sortKey(b, column))));
}

function filterRows(table, wanted) {
  const rows = [...table.tBodies[0].rows];
  for (const row of rows) {
    row.hidden = Object.entries(wanted).some(([name, chosen]) => chosen !== "" && row.dataset[name] !== chosen);
  }
  const shown = rows.filter(row => !row.hidden);
  const problems = new Set(shown.map(row => row.dataset.problem));
  let left = false;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const telling = shown.filter(row => row.cells[column].textContent !== "–");
    const silent = new Set(telling.map(row => row.dataset.problem)).size < problems.size;
    left ||= silent && telling.length > 0;
    head.hidden = silent;
    for (const row of rows) row.cells[column].hidden = silent;
  });
  byId("shown-rows").textContent = `${shown.length} of ${rows.length} rows` + (left ? "; a problem’s own columns show when it is chosen" : "");
}

function readyTable() {
  const table = byId("results"), rows = [...table.tBodies[0].rows];
  for (const button of table.querySelectorAll("thead button")) button.addEventListener("click", () => sortBy(button.parentElement));
  const choices = { problem: byId("problem-filter"), setting: byId("setting-filter") };
  const known = (name, of) => [...new Set(of.map(row => row.dataset[name]))];
  const fill = (name, of) => {
    choices[name].replaceChildren(new Option("all", ""), ...known(name, of).map(text => new Option(text, text)));
  };
  const wanted = () => ({ problem: choices.problem.value, setting: choices.setting.value });
  choices.problem.addEventListener("change", () => {
    fill("setting", rows.filter(row => choices.problem.value === "" || row.dataset.problem === choices.problem.value));
    filterRows(table, wanted());
  });
  choices.setting.addEventListener("change", () => filterRows(table, wanted()));
  for (const name of ["problem", "setting"]) {
    fill(name, rows);
    choices[name].parentElement.hidden = known(name, rows).length < 2;
  }
  byId("filters").hidden = Object.values(choices).every(choice => choice.parentElement.hidden);
  filterRows(table, wanted());
}
