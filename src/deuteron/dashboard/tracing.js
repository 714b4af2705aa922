// The trace between two objects of a drawing: asked of the Network API, told in words, hop by hop.

import { counting, words as spoken } from "./counting.js";
import { bar, button, fill, h, note, part } from "./ui.js";

const PROTOCOLS = ["icmp", "tcp/22", "tcp/80", "tcp/443", "udp/53"];

// `names` says what an id is called. `shown(chosen, trace)` hears of each choice, and of a trace when there is one.
// `beside(trace)` are places whose counters are wanted with those of its hops, `counts(of)` hears what they have counted:
// `of(place)` is {packets} or {entered, left} with `since`, or null.
export function tracing({ api, names, shown, signal, beside = () => [], counts = () => {} }) {
  let chosen = [];
  let asked = 0;
  let lines = []; // of the hops: where a count is written
  const counter = counting({ api, signal, shown: (of) => {
    for (const [hop, place] of lines) {
      const count = of(hop);
      const text = count ? spoken(count) : "";
      if (place.textContent !== text) place.textContent = text;
      place.classList.toggle("moving", Boolean(count?.since));
    }
    counts(of);
  } });
  const words = h("p", { class: "note", role: "status" });
  const told = h("div", { class: "trace", "aria-live": "polite" });
  const protocol = h("select", { "aria-label": "What is sent", onchange: () => void ask() },
    PROTOCOLS.map((each) => h("option", { value: each }, each)));
  const clear = button("Choose anew", () => {
    chosen = [];
    say();
  });

  function say() {
    asked += 1;
    lines = [];
    counter.watch(null);
    fill(told);
    const [from, to] = chosen.map(names);
    words.textContent = !from ? "Choose where a packet comes from: click, or press Enter."
      : !to ? `From ${from}; choose where it goes.` : `From ${from} to ${to}.`;
    shown(chosen, null);
  }

  async function ask() {
    if (chosen.length < 2) return;
    const mine = (asked += 1);
    counter.watch(null);
    fill(told, note("The packet is followed…"));
    const [source, destination] = chosen;
    const query = new URLSearchParams({ source, destination, protocol: protocol.value });
    try {
      const { trace } = await api.get("network", `/trace?${query}`);
      if (mine !== asked) return;
      lines = [];
      fill(told, report(trace, (hop, place) => lines.push([hop, place])));
      shown(chosen, trace);
      counter.watch(trace, beside(trace));
    } catch (error) {
      if (mine === asked) fill(told, h("p", { class: "problem" }, error.message));
    }
  }

  function choose(id) {
    chosen = chosen.length === 1 && chosen[0] !== id ? [chosen[0], id] : [id];
    say();
    void ask();
  }
  say();
  return { element: h("div", {}, bar(h("span", {}, "Send"), protocol, clear), words, told), choose, chosen: () => chosen };
}

// `line(hop, place)` hears of each hop, and where its count is to be written: what is not read aloud each second.
function report(trace, line) {
  const list = (title, hops) => hops.length > 0 && part(title, h("ol", { class: "hops" }, hops.map((hop) => {
    const place = h("span", { class: "count", "aria-live": "off" });
    line(hop, place);
    return h("li", {}, said(hop), place);
  })));
  return [
    h("p", { class: trace.is_answered ? "verdict good" : "verdict bad" }, `${trace.is_answered ? "●" : "▲"} ${trace.packet || "The packet"} ${trace.verdict}.`),
    trace.cause && h("p", { class: "cause" }, trace.cause.text),
    trace.cause?.hint && h("p", {}, "What would let it pass: ", h("code", {}, trace.cause.hint)),
    trace.notes.map((each) => note(each)),
    list("There", trace.there), list("Back", trace.back),
  ];
}

const said = ({ kind, host, place, name, does, rule }) => [
  h("strong", {}, name ? `${kind} ${name}` : kind), host && ` on ${host}`, place && `: ${place}`, does && ` – ${does}`,
  rule && h("code", { class: "rule" }, rule)];
