// A table that is searched, sorted by its headings, and kept up to date row by row.
//
//   table({caption, columns: [{title, value: (row) => text or number, cell?: (row) => element}], key: (row) => id,
//          actions?: (row) => [{label, run, danger?, disabled?}], name?: (row) => text, empty?: text})
//
// gives {element, update(rows)}. On a narrow screen each row is a card; roles are named, since `display` takes them away.

import { bar, button, fill, freshId, h } from "./ui.js";

export function table({ caption, columns, key, actions, name = (row) => row.name || key(row), empty = "There are none.", tools = [] }) {
  let rows = [];
  let order = { column: 0, down: false };
  const lines = new Map();
  const id = freshId("search");
  const search = h("input", { type: "search", id, autocomplete: "off", oninput: () => draw() });
  const count = h("span", { class: "count", role: "status" });
  const heads = columns.map((column, index) => h("th", { role: "columnheader", scope: "col" },
    h("button", { type: "button", class: "sort", onclick: () => sortBy(index) }, column.title,
      h("span", { class: "arrow", "aria-hidden": "true" }))));
  const body = h("tbody", { role: "rowgroup" });
  const titles = [...heads, actions && h("th", { role: "columnheader", scope: "col" }, "Actions")];
  const grid = h("table", { role: "table", "aria-label": caption },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, titles)), body);
  const element = h("div", { class: "listing" },
    bar(h("label", { for: id, class: "hidden" }, `Search ${caption}`), search, count, h("span", { class: "space" }), tools),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, grid));
  search.placeholder = "Search";

  function sortBy(index) {
    order = { column: index, down: order.column === index && !order.down };
    draw();
  }

  function line(row) {
    const text = JSON.stringify(row);
    const known = lines.get(key(row));
    if (known?.text === text) return known.element;
    const cells = columns.map((column, index) => h(index ? "td" : "th",
      { role: index ? "cell" : "rowheader", scope: index ? null : "row", "data-title": column.title },
      h("div", {}, column.cell ? column.cell(row) : shown(column.value(row)))));
    const asked = actions && h("td", { role: "cell", class: "actions" }, actions(row).filter(Boolean).map((each) =>
      button(each.label, () => each.run(row), { ...each, about: name(row) })));
    const made = known?.element ?? h("tr", { role: "row" });
    fill(made, cells, asked);
    lines.set(key(row), { text, element: made });
    return made;
  }

  function draw() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => {
      const text = [...columns.map((column) => String(column.value(row) ?? "")), String(key(row))].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const { value } = columns[order.column];
    found.sort((one, other) => compare(value(one), value(other)) * (order.down ? -1 : 1));
    heads.forEach((head, index) => {
      const isIt = index === order.column;
      head.setAttribute("aria-sort", isIt ? (order.down ? "descending" : "ascending") : "none");
      head.querySelector(".arrow").textContent = isIt ? (order.down ? " ▾" : " ▴") : "";
    });
    const wanted = found.map(line);
    const active = body.contains(document.activeElement) ? document.activeElement : null;
    if (wanted.length !== body.children.length || wanted.some((each, index) => each !== body.children[index])) {
      body.replaceChildren(...wanted);
      if (active?.isConnected) active.focus();
    }
    if (!wanted.length) {
      const text = rows.length ? "Nothing is like that." : empty;
      body.replaceChildren(h("tr", { role: "row" }, h("td", { role: "cell", colspan: titles.filter(Boolean).length }, text)));
    }
    const said = words.length ? `${found.length} of ${rows.length}` : `${rows.length}`;
    if (count.textContent !== said) count.textContent = said;
  }

  function update(next) {
    rows = next;
    const here = new Set(rows.map(key));
    for (const each of lines.keys()) if (!here.has(each)) lines.delete(each);
    draw();
  }
  return { element, update };
}

const shown = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one ?? "").localeCompare(String(other ?? ""), undefined, { numeric: true });
}
