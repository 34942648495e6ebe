"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // Tables: a button in every heading; a second press turns the order round.
  const valueOf = (row, heading) => {
    const cell = row.cells[heading.cellIndex];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = parseFloat(text.replaceAll(",", ""));
    const isNumber = "value" in cell.dataset || heading.classList.contains("number");
    return isNumber && !Number.isNaN(number) ? number : text.toLowerCase();
  };
  const compare = (a, b) => {
    const missing = (a === "-") - (b === "-");
    if (missing || a === b) return { missing, order: 0 };
    return { missing, order: typeof a === typeof b ? (a < b ? -1 : 1) : typeof a === "number" ? -1 : 1 };
  };
  const sortBy = (table, heading) => {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [valueOf(row, heading), row]);
    const numeric = keyed.some(([value]) => typeof value === "number");
    const before = heading.getAttribute("aria-sort");
    const falling = before ? before === "ascending" : numeric && heading.cellIndex > 0;
    all("[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    keyed.sort(([a], [b]) => {
      const { missing, order } = compare(a, b);
      return missing || (falling ? -order : order); // what has no number stays last
    });
    body.append(...keyed.map(([, row]) => row));
  };
  for (const table of all("table.sortable")) {
    for (const heading of all("thead th", table)) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sortBy(table, heading));
      heading.append(button);
    }
  }

  // The filter hides a class wherever it is spoken of.
  const filter = byId("filter");
  const group = byId("group");
  const classes = all("[data-class]");
  const total = all("#classes tbody tr").length;
  const applyFilter = () => {
    const wanted = filter.value.trim().toLowerCase();
    const isId = /^\d+$/.test(wanted);
    for (const element of classes) {
      const [id] = element.dataset.class.split(" ", 1);
      const named = isId ? id === wanted : element.dataset.class.toLowerCase().includes(wanted);
      element.hidden = !named || Boolean(group?.value && group.value !== element.dataset.group);
    }
    const shown = all("#classes tbody tr:not([hidden])").length;
    byId("shown").textContent = shown === total ? `all ${total} classes` : `${shown} of ${total} classes`;
  };
  const toolbar = document.querySelector(".toolbar");
  toolbar.addEventListener("submit", (event) => event.preventDefault());
  toolbar.addEventListener("input", applyFilter);
  toolbar.hidden = false;
  applyFilter();

  // Curves: the picked one is drawn large, and says its numbers under the pointer.
  const big = byId("big");
  if (!big) return;
  const canvas = big.querySelector(".canvas");
  const cursor = byId("cursor");
  const multiples = all(".multiples figure");
  let corners = [];
  const read = (path) => {
    let height = 0;
    const found = [];
    for (const [, letter, number] of path.matchAll(/([HV])(\d+)/g)) {
      if (letter === "V") height = 1000 - number;
      else found.push([Number(number), height]);
    }
    return found;
  };
  const pick = (figure) => {
    const path = figure.querySelector("path")?.getAttribute("d") ?? "";
    canvas.querySelector("path").setAttribute("d", path);
    corners = read(path);
    const most = corners.length ? corners.at(-1)[0] / 10 : 0;
    byId("big-name").textContent = figure.querySelector(".name").textContent;
    byId("big-note").textContent = `AP ${figure.querySelector("b").textContent}, recall at most ${most.toFixed(1)}`;
    byId("readout").textContent = "";
    cursor.hidden = true;
    multiples.forEach((other) => other.setAttribute("aria-pressed", String(other === figure)));
  };
  for (const figure of multiples) {
    figure.setAttribute("role", "button");
    figure.tabIndex = 0;
    figure.title = "Show this curve large";
    const choose = () => {
      pick(figure);
      const { top, bottom } = big.getBoundingClientRect();
      if (top < 0 || bottom > innerHeight) big.scrollIntoView({ block: "center" });
    };
    figure.addEventListener("click", choose);
    figure.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
  }
  canvas.addEventListener("pointermove", (event) => {
    const frame = canvas.getBoundingClientRect();
    const recall = Math.min(1000, Math.max(0, (1000 * (event.clientX - frame.left)) / frame.width));
    const height = corners.find(([right]) => recall <= right)?.[1] ?? 0;
    cursor.hidden = false;
    cursor.style.left = `${recall / 10}%`;
    cursor.style.top = `${100 - height / 10}%`;
    byId("readout").textContent = `at recall ${(recall / 10).toFixed(1)}: precision ${(height / 10).toFixed(1)}`;
  });
  const linked = () => multiples.find((figure) => `#${figure.id}` === location.hash);
  addEventListener("hashchange", () => {
    const figure = linked();
    if (!figure) return;
    pick(figure);
    big.scrollIntoView({ block: "center" });
  });
  const shownFirst = multiples.find(
    (figure) => figure.querySelector(".name").textContent === byId("big-name").textContent,
  );
  pick(linked() ?? shownFirst ?? multiples[0]);
})();
