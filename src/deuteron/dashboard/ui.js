// Elements, and what the pages are built of. Nothing here takes markup: text becomes text, whatever it looks like.

let numbers = 0;
export const freshId = (word) => `${word}-${(numbers += 1)}`;

// h("a", {href: "#/x", class: "y", onclick: f}, "text", element, …) makes an element. Children that are null or false are
// left out. An address leads to this server or, with http, elsewhere: never to a script.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else if (name === "href") element.setAttribute("href", safeAddress(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  put(element, children);
  return element;
}

// The same for drawings.
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, name === "href" ? safeAddress(value) : String(value));
  }
  put(element, children);
  return element;
}

function put(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child instanceof Node ? child : String(child));
  }
}

export function safeAddress(address) {
  if (/^[#/]/.test(address)) return address;
  try {
    return ["http:", "https:", "blob:"].includes(new URL(address, location.href).protocol) ? address : "#";
  } catch {
    return "#";
  }
}

// Replace what is inside, keeping the focus where an element of the same name takes its place.
export function fill(element, ...children) {
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const name = active && nameOf(active);
  element.replaceChildren();
  put(element, children);
  if (name) [...element.querySelectorAll("a, button, input, select, summary")].find((each) => nameOf(each) === name)?.focus();
  return element;
}

const nameOf = (element) => `${element.tagName} ${element.getAttribute("aria-label") ?? element.id ?? ""} ${element.textContent}`;

// Pressed again before `run` is over it does nothing more: two clicks are no two requests. A page that was left meanwhile
// says nothing of what it no longer reads.
export function button(label, run, { danger = false, primary = false, disabled = false, about = "" } = {}) {
  const kind = [danger && "danger", primary && "primary"].filter(Boolean).join(" ");
  const made = h("button", { type: "button", class: kind || null, disabled, "aria-label": about ? `${label} ${about}` : null }, label);
  made.addEventListener("click", async () => {
    if (made.hasAttribute("aria-busy")) return;
    made.setAttribute("aria-busy", "true");
    try {
      await run(made);
    } catch (error) {
      if (error.name !== "AbortError") toast(error.message, true);
    } finally {
      made.removeAttribute("aria-busy");
    }
  });
  return made;
}

export const link = (text, hash) => h("a", { href: hash }, text || "(no name)");

// A state in words, with a sign that is not a colour alone.
const GOOD = new Set(["ACTIVE", "UP", "AVAILABLE", "IN-USE", "ENABLED", "TRUE", "YES", "COMPLETE", "SUCCESS", "RUNNING"]);
const BAD = new Set(["ERROR", "DOWN", "ERROR_DELETING", "KILLED", "DEGRADED", "FAILED"]);
export function badge(state) {
  const text = state === true ? "yes" : state === false ? "no" : String(state ?? "–");
  const word = text.toUpperCase();
  const kind = GOOD.has(word) ? "good" : BAD.has(word) ? "bad" : /ING$|BUILD|RESIZE|REBOOT/.test(word) ? "busy" : "plain";
  const sign = { good: "●", bad: "▲", busy: "◌", plain: "○" }[kind];
  return h("span", { class: `badge ${kind}` }, h("span", { "aria-hidden": "true" }, `${sign} `), text.toLowerCase());
}

// Terms and what they are, one under the other: pairs of a text and a text or elements.
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, value]) => h("div", {},
    h("dt", {}, term), h("dd", {}, value === "" || value === null || value === undefined ? "–" : value))));
}

// A part of a page under a heading, which names it for a screen reader.
export function part(title, ...children) {
  const id = freshId("part");
  return h("section", { "aria-labelledby": id, class: "part" }, h("h2", { id }, title), children);
}

export const bar = (...children) => h("div", { class: "bar" }, children);
export const note = (...children) => h("p", { class: "note" }, children);

// What the page says when something was done or refused: read aloud, and there until it is closed or a while has passed.
let said = null;
export function toasts() {
  said = h("div", { class: "toasts", role: "region", "aria-label": "Messages" },
    h("div", { role: "status", "aria-live": "polite" }), h("div", { role: "alert" }));
  return said;
}

export function toast(text, isProblem = false) {
  if (!said) return;
  const item = h("div", { class: isProblem ? "toast bad" : "toast" }, h("span", {}, text),
    h("button", { type: "button", class: "close", "aria-label": "Close the message", onclick: () => item.remove() }, "×"));
  said.children[isProblem ? 1 : 0].append(item);
  if (!isProblem) setTimeout(() => item.remove(), 8000);
}

// Text of a moment, short, in the reader's own way; the whole in the title.
export function when(text) {
  if (!text) return "–";
  const date = new Date(/Z$|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`);
  if (Number.isNaN(date.getTime())) return text;
  return h("time", { datetime: date.toISOString(), title: date.toISOString() }, date.toLocaleString());
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  let [value, unit] = [number, 0];
  while (value >= 1024 && unit < 4) [value, unit] = [value / 1024, unit + 1];
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}
