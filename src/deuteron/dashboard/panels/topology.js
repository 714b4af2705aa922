// The project's networks as a drawing: networks with their subnets, routers, servers with their addresses and states. Two
// objects that are chosen are the ends of a trace.

import { counted } from "../counting.js";
import { count, drawing, line, mark, node, redraw } from "../drawing.js";
import { layout, SIZE } from "../layout.js";
import { table } from "../table.js";
import { tracing } from "../tracing.js";
import { badge, h, note, part, svg } from "../ui.js";

const SLOW = /ING$|BUILD|RESIZE|REBOOT/;
const sort = (state) => (state === "ACTIVE" ? "good" : state === "ERROR" ? "bad" : SLOW.test(state) ? "busy" : "off");

// What the APIs say, as objects with the networks that they are on.
export function world({ networks, subnets, routers, ports, servers, floatingips }) {
  const [of, floating, cidrs] = [new Map(), new Map(), new Map()];
  for (const port of ports) of.set(port.device_id, [...(of.get(port.device_id) ?? []), port]);
  for (const each of floatingips) if (each.port_id) floating.set(each.port_id, each.floating_ip_address);
  for (const each of subnets) cidrs.set(each.network_id, [...(cidrs.get(each.network_id) ?? []), each.cidr]);
  const used = new Set();
  const on = (id, more = []) => {
    const held = of.get(id) ?? [];
    const found = [...new Set([...more, ...held.map((port) => port.network_id)])];
    found.forEach((each) => used.add(each));
    return { networks: found, addresses: held.flatMap((port) => port.fixed_ips.map((each) => each.ip_address)),
      floating: held.map((port) => floating.get(port.id)).filter(Boolean) };
  };
  const found = {
    routers: routers.map((each) => ({ id: each.id, kind: "router", name: each.name || each.id, state: each.status,
      ...on(each.id, each.external_gateway_info ? [each.external_gateway_info.network_id] : []) })),
    servers: servers.map((each) => ({ id: each.id, kind: "server", name: each.name || each.id, state: each.status, ...on(each.id) })),
  };
  found.networks = networks.filter((each) => used.has(each.id) || !each.shared).map((each) => ({ id: each.id, kind: "network",
    name: each.name || each.id, state: each.status, isExternal: each["router:external"], networks: [], addresses: cidrs.get(each.id) ?? [], floating: [] }));
  return found;
}

const spoken = ({ kind, name, state, addresses, floating }) =>
  [`${kind} ${name}`, state.toLowerCase(), ...addresses, ...floating.map((each) => `floating IP ${each}`)].join(", ");

function drawn(found, choose) {
  const { width, height, bands, boxes, lines } = layout(found);
  const objects = new Map([...found.networks, ...found.routers, ...found.servers].map((each) => [each.id, each]));
  const parts = [
    bands.map(({ id, x, y, width: wide, height: high }) => {
      const network = objects.get(id);
      const title = network ? `${network.isExternal ? "external " : ""}network ${network.name}  ${network.addresses.join("  ")}` : "on no network";
      return svg("g", { class: network?.isExternal ? "band external" : "band" }, svg("rect", { x, y, width: wide, height: high, rx: 8 }),
        svg("text", { x: x + 12, y: y + SIZE.head - 10 }, title.length > 110 ? `${title.slice(0, 109)}…` : title));
    }),
    lines.map(line),
    boxes.map((box) => {
      const each = objects.get(box.id);
      const second = each.kind === "router" ? `router, ${each.state.toLowerCase()}` : [each.state.toLowerCase(), ...each.addresses].join(" ");
      return node({ ...box, texts: [each.name, second, each.floating.join(" ")].filter(Boolean), label: spoken(each), state: sort(each.state) });
    }),
  ];
  return drawing({ width, height, label: "Networks of the project", parts, choose });
}

async function asked(api, session) {
  const mine = `project_id=${encodeURIComponent(session.project.id)}`;
  const [networks, subnets, routers, ports, servers, floatingips] = await Promise.all([
    api.all("network", "/networks", "networks"), api.all("network", "/subnets", "subnets"),
    api.all("network", `/routers?${mine}`, "routers"), api.all("network", "/ports", "ports"),
    api.all("compute", "/servers/detail", "servers"), api.all("network", `/floatingips?${mine}`, "floatingips")]);
  const shown = networks.filter((each) => each.project_id === session.project.id || each.shared || each["router:external"]);
  return { networks: shown, subnets, routers, ports, servers, floatingips };
}

export default {
  id: "topology", title: "Topology", section: "Network", order: 0,
  async show(container, { api, session, every, signal }) {
    let [objects, before] = [new Map(), ""];
    const place = h("div", { class: "scroll drawn", tabindex: "0", role: "group", "aria-label": "Drawing" });
    let owners = new Map(); // of ports: ids of what they belong to
    const state = { chosen: [], trace: null, counts: new Map() };
    const remark = () => {
      const hops = [...(state.trace?.there ?? []), ...(state.trace?.back ?? [])];
      const passed = new Set(hops.flatMap((hop) => (hop.about ? [hop.about[1]] : [])));
      mark(place, { chosen: new Set(state.chosen), passed, stopped: new Set([state.trace?.cause?.about?.[1]]) });
      count(place, state.counts);
    };
    // What went into a server or router, and out of it, by all devices of it that the trace passes.
    const counts = (of) => {
      const [sums, seen] = [new Map(), new Set()];
      for (const hop of [...state.trace.there, ...state.trace.back]) {
        const found = hop.about && of(hop);
        if (!found || found.packets !== undefined || seen.has(`${hop.host} ${hop.place}`)) continue;
        seen.add(`${hop.host} ${hop.place}`);
        const id = owners.get(hop.about[1]) ?? hop.about[1];
        const [incoming, outgoing] = sums.get(id) ?? [0, 0];
        sums.set(id, [incoming + found.left, outgoing + found.entered]);
      }
      state.counts = new Map([...sums].map(([id, sum]) => [id, counted(...sum)]));
      count(place, state.counts);
    };
    const ends = tracing({ api, names: (id) => { const each = objects.get(id); return each ? `${each.kind} ${each.name}` : id; },
      signal, counts, shown: (chosen, trace) => { Object.assign(state, { chosen, trace, counts: new Map() }); remark(); } });
    const list = table({
      caption: "Objects of the drawing", key: (row) => row.id,
      columns: [
        { title: "Name", value: (row) => row.name },
        { title: "Kind", value: (row) => row.kind },
        { title: "State", value: (row) => row.state, cell: (row) => badge(row.state) },
        { title: "Addresses", value: (row) => [...row.addresses, ...row.floating].join(", ") },
        { title: "On", value: (row) => row.networks.map((id) => objects.get(id)?.name ?? id).join(", ") },
      ],
      actions: (row) => [row.kind !== "network" && { label: "Trace", run: () => ends.choose(row.id) }],
    });
    container.append(note("Networks of this project, what is on them, and how it does. Choose two objects to follow a packet from one to the other."),
      place, part("Trace", ends.element), part("The same as a table", list.element));
    await every(async () => {
      const told = await asked(api, session);
      const found = world(told);
      if (signal.aborted) return;
      owners = new Map(told.ports.map((each) => [each.id, each.device_id]));
      const text = JSON.stringify(found);
      if (text === before) return;
      before = text;
      const rows = [...found.networks, ...found.routers, ...found.servers];
      objects = new Map(rows.map((each) => [each.id, each]));
      redraw(place, drawn(found, ends.choose));
      remark();
      list.update(rows);
    });
  },
};
