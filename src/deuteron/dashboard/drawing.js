// A drawing whose objects are chosen with a click or with Enter, two of them for a trace. What people named is text.

import { svg } from "./ui.js";

const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

// An object: a box with lines of text, cut where they are too long; whole in the title, which is its name.
// One that is no end of a trace is looked at and not pressed.
export function node({ id, kind, x, y, width, height, texts, label, state = "", isEnd = true }) {
  const most = Math.floor((width - 16) / 7.2);
  return svg("g", { class: `node ${kind} ${state}`, "data-id": id, role: isEnd ? "button" : "img", tabindex: "0",
    "aria-pressed": isEnd ? "false" : null, "aria-label": isEnd ? null : label },
    svg("title", {}, label), svg("rect", { x, y, width, height, rx: 6 }),
    texts.map((text, index) => svg("text", { x: x + 8, y: y + 18 + index * 15, class: index ? "more" : "first" }, cut(text, most))));
}

export function line({ points }) {
  return svg("path", { class: "wire", d: points.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y}`).join("") });
}

// The whole drawing. `choose(id)` hears of a click or key on an object.
export function drawing({ width, height, label, parts, choose }) {
  const chosen = (event) => event.target.closest?.(".node[role=button]")?.dataset.id;
  return svg("svg", { class: "drawing", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label,
    onclick: (event) => {
      const id = chosen(event);
      if (id !== undefined) choose(id);
    },
    onkeydown: (event) => {
      const id = event.key === "Enter" || event.key === " " ? chosen(event) : undefined;
      if (id === undefined) return;
      event.preventDefault();
      choose(id);
    } }, parts);
}

// Replace one drawing by the next, keeping the focus on its object.
export function redraw(place, next) {
  const active = place.contains(document.activeElement) ? document.activeElement.dataset.id : undefined;
  place.replaceChildren(next);
  if (active !== undefined) [...place.querySelectorAll(".node")].find((each) => each.dataset.id === active)?.focus();
}

// Write what objects have counted in place of their second line; `counts` are texts by id, and what has none says what it
// said before.
export function count(place, counts) {
  for (const each of place.querySelectorAll(".node")) {
    const second = each.querySelector("text.more");
    if (!second) continue;
    const text = counts.get(each.dataset.id);
    if (text !== undefined && second.dataset.before === undefined) second.dataset.before = second.textContent;
    const next = text ?? second.dataset.before;
    if (next !== undefined && second.textContent !== next) second.textContent = next;
    second.classList.toggle("counted", text !== undefined);
  }
}

// Mark what is chosen, what a trace passes, and where it ends: sets of ids.
export function mark(place, { chosen, passed, stopped }) {
  for (const each of place.querySelectorAll(".node")) {
    const { id } = each.dataset;
    if (each.hasAttribute("aria-pressed")) each.setAttribute("aria-pressed", String(chosen.has(id)));
    each.classList.toggle("chosen", chosen.has(id));
    each.classList.toggle("passed", passed.has(id));
    each.classList.toggle("stopped", stopped.has(id));
  }
}
