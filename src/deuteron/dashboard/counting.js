// Packets that the hops of a trace have counted, asked of their hosts once a second while a page shows it: for
// administrators, since they are counts of hosts' flows, rules and devices, which carry what is everybody's.

const EVERY_MS = 1000;
const MOST = 250; // places of one question

const nameOf = ({ host, place, rule = "" }) => [host, place, rule].join("\n");

// What of a trace counts: rules, and devices that are in a bridge. Which these are the host knows.
const placesOf = (trace) => [...trace.there, ...trace.back].filter((hop) => hop.host && hop.host !== "outside" && hop.place);

// `watch(trace, more)` begins with those of a trace and other places ({host, place}), and ends with null. `shown(counts)`
// hears of each look: of a place {packets} or {entered, left}, and `since`, what was counted since the first look.
export function counting({ api, signal, shown }) {
  let [turn, timer] = [0, null];
  signal.addEventListener("abort", () => watch(null));

  function watch(trace, more = []) {
    turn += 1;
    clearTimeout(timer);
    if (!trace || !api.session.isAdmin || signal.aborted) return;
    const hosts = new Map();
    for (const each of [...placesOf(trace), ...more]) {
      const places = hosts.get(each.host) ?? new Map();
      if (places.size < MOST) places.set(nameOf(each), { place: each.place, rule: each.rule ?? "" });
      hosts.set(each.host, places);
    }
    void look(turn, hosts, new Map());
  }

  async function look(mine, hosts, first) {
    const counts = new Map();
    const waits = document.hidden ? [] : [...hosts].map(async ([host, places]) => {
      const { counters } = await api.post("dashboard", `/hosts/${encodeURIComponent(host)}/counters`, { places: [...places.values()] });
      [...places.keys()].forEach((name, index) => counts.set(name, counters[index]));
    });
    await Promise.allSettled(waits); // a host that is away has no counts
    if (mine !== turn) return;
    for (const [name, count] of counts) if (!first.has(name)) first.set(name, count);
    if (waits.length) shown((place) => sinceFirst(counts.get(nameOf(place)), first.get(nameOf(place))));
    timer = setTimeout(() => void look(mine, hosts, first), EVERY_MS);
  }
  return { watch };
}

function sinceFirst(now, first) {
  if (!now) return null;
  if (now.packets !== undefined) return { ...now, since: Math.max(0, now.packets - (first?.packets ?? 0)) };
  if (now.entered === undefined) return null;
  return { ...now, since: Math.max(0, now.entered + now.left - (first?.entered ?? 0) - (first?.left ?? 0)) };
}

// On a box of a drawing, as of the box itself.
export const counted = (incoming, outgoing) => `${incoming} in, ${outgoing} out`;

export const words = ({ packets, entered, left, since }) => {
  const all = packets === undefined ? counted(entered, left) : `${packets} ${packets === 1 ? "packet" : "packets"}`;
  return since ? `${all} (+${since})` : all;
};
