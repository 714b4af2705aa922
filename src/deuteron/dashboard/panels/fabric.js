// What hosts should really have, for administrators: bridges with their ports and VLANs, patches, tunnels, namespaces. Two
// ports that are chosen are the ends of a trace, whose way is marked device by device.

import { counted } from "../counting.js";
import { count, drawing, line, mark, node, redraw } from "../drawing.js";
import { SIZE, stacked } from "../layout.js";
import { table } from "../table.js";
import { tracing } from "../tracing.js";
import { h, note, part, svg } from "../ui.js";

const ENDS = /^(compute|network):/;

// Hosts with groups of items, as they are drawn. `called` says what a port's id is called.
export function world(hosts, called) {
  const byTunnel = new Map(hosts.map((each) => [each.tunnel_ip, each.name]));
  return hosts.map((host) => {
    const wires = Object.entries(host.wires);
    const owners = new Map(host.bridges.flatMap((each) => each.ports.map((port) => [port.name, port])));
    const item = (group, device, words) => ({ id: `${host.name} ${group} ${device.name}`, host: host.name, group, name: device.name,
      portId: device.port_id ?? "", kind: words, tag: device.tag ?? null, to: byTunnel.get(device.to) ?? device.to ?? "",
      whose: device.port_id ? called(device.port_id) : "" });
    const bridges = host.bridges.map((bridge) => ({
      id: `${host.name} ${bridge.name}`, host: host.name, name: bridge.name,
      title: [bridge.kind === "linux" ? "Linux bridge" : "bridge", bridge.name,
        ...wires.filter(([, name]) => name === bridge.name).map(([wire]) => `physical network ${wire}`)].join("  "),
      items: bridge.ports.map((port) => item(bridge.name, port, port.type)) }));
    const namespaces = host.namespaces.map((space) => ({
      id: `${host.name} ${space.name}`, host: host.name, name: space.name, title: `namespace ${space.name}`,
      items: space.devices.map((device) => item(space.name, { ...owners.get(device.name), name: device.name, to: device.addresses.join(" ") },
        "device")) }));
    return { id: host.name, title: `host ${host.name}${host.tunnel_ip ? `  tunnels from ${host.tunnel_ip}` : ""}`, groups: [...bridges, ...namespaces] };
  });
}

const spoken = (item) => [item.kind, item.name, `in ${item.group} of host ${item.host}`, item.tag === null ? "" : `VLAN ${item.tag}`,
  item.whose, item.to && (item.kind === "device" ? item.to : `to ${item.to}`)].filter(Boolean).join(", ");

function drawn(hosts, isEnd, choose) {
  const found = stacked(hosts);
  const groups = new Map(hosts.flatMap((host) => host.groups).map((each) => [each.id, each]));
  const items = new Map([...groups.values()].flatMap((group) => group.items).map((each) => [each.id, each]));
  const titles = new Map(hosts.map((each) => [each.id, each.title]));
  const at = new Map(found.items.map((box) => [box.id, box]));
  const box = (kind, title) => ({ id, x, y, width, height }) => svg("g", { class: `band ${kind}`, "data-id": id },
    svg("rect", { x, y, width, height, rx: 8 }), svg("text", { x: x + 12, y: y + SIZE.head - 10 }, title(id).slice(0, 120)));
  // A patch is drawn once, from the end whose name comes first.
  const patches = [...items.values()].filter((each) => each.kind === "patch");
  const ends = new Map(patches.map((each) => [`${each.host} ${each.name}`, at.get(each.id)]));
  const lines = patches.filter((each) => each.name < each.to && ends.has(`${each.host} ${each.to}`)).map((each) => line({
    points: [at.get(each.id), ends.get(`${each.host} ${each.to}`)].map((end) => [end.x + end.width / 2, end.y + end.height / 2]) }));
  const nodes = found.items.map((place) => {
    const item = items.get(place.id);
    const second = [item.kind, item.tag === null ? "" : `VLAN ${item.tag}`, item.whose || item.to].filter(Boolean).join(" ");
    return node({ ...place, kind: item.kind, texts: [item.name, second], label: spoken(item), isEnd: isEnd(item) });
  });
  return drawing({ width: found.width, height: found.height, label: "What hosts should have",
    parts: [found.hosts.map(box("host", (id) => titles.get(id))), found.groups.map(box("bridge", (id) => groups.get(id).title)), lines, nodes], choose });
}

// Ids of what a trace passes: the device itself, and of a bridge or namespace the ports by which it comes and goes.
export function passed(trace, hosts) {
  const places = new Set([...(trace?.there ?? []), ...(trace?.back ?? [])].flatMap(({ host, place = "" }) => place.split(" ").map((word) => `${host} ${word}`)));
  return new Set(hosts.flatMap((host) => host.groups).flatMap((group) => group.items).filter((item) => places.has(`${item.host} ${item.name}`)).map((item) => item.id));
}

export default {
  id: "fabric", title: "Fabric", section: "Administration", order: 4.5, admin: true,
  async show(container, { api, every, signal }) {
    let [hosts, items, ports, before] = [[], [], new Map(), ""];
    const place = h("div", { class: "scroll drawn", tabindex: "0", role: "group", "aria-label": "Drawing" });
    const state = { chosen: [], trace: null, counts: new Map() };
    const isEnd = (item) => ENDS.test(ports.get(item.portId)?.device_owner ?? "");
    const remark = () => {
      const chosen = new Set(items.filter((each) => each.portId && state.chosen.includes(each.portId)).map((each) => each.id));
      const about = state.trace?.cause?.about?.[1];
      mark(place, { chosen, passed: passed(state.trace, hosts),
        stopped: new Set(items.filter((each) => about && each.portId === about).map((each) => each.id)) });
      count(place, state.counts);
    };
    // Devices that the trace passes, whether a hop tells of them or not.
    const beside = (trace) => {
      const way = passed(trace, hosts);
      return items.filter((each) => way.has(each.id)).map((each) => ({ host: each.host, place: each.name }));
    };
    const counts = (of) => {
      const way = passed(state.trace, hosts);
      state.counts = new Map(items.filter((each) => way.has(each.id)).flatMap((each) => {
        const found = of({ host: each.host, place: each.name });
        // What comes into a bridge leaves the namespace that its device is in.
        return found ? [[each.id, each.kind === "device" ? counted(found.left, found.entered) : counted(found.entered, found.left)]] : [];
      }));
      count(place, state.counts);
    };
    const called = (id) => { const port = ports.get(id); return port ? [port.server, port.name, port.addresses].filter(Boolean).join(" ") || id : id; };
    const ends = tracing({ api, names: (id) => `port ${called(id)}`, signal, beside, counts,
      shown: (chosen, trace) => { Object.assign(state, { chosen, trace, counts: new Map() }); remark(); } });
    const list = table({
      caption: "Ports of hosts", key: (row) => row.id,
      columns: [
        { title: "Device", value: (row) => row.name }, { title: "Host", value: (row) => row.host },
        { title: "Bridge or namespace", value: (row) => row.group }, { title: "Type", value: (row) => row.kind },
        { title: "VLAN", value: (row) => row.tag }, { title: "Whose", value: (row) => row.whose }, { title: "To", value: (row) => row.to },
      ],
      actions: (row) => [isEnd(row) && { label: "Trace", run: () => ends.choose(row.portId) }],
    });
    container.append(note("What every host should have, from the plan that its agent carries out; Differences tells whether it is so. Choose two ports to follow a packet."),
      place, part("Trace", ends.element), part("The same as a table", list.element));
    await every(async () => {
      const [{ fabric }, listed, servers] = await Promise.all([api.get("network", "/fabric"), api.all("network", "/ports", "ports"),
        api.all("compute", "/servers/detail?all_tenants=1", "servers")]);
      const names = new Map(servers.map((each) => [each.id, each.name]));
      const known = listed.map(({ id, name, device_id: device, device_owner: owner, fixed_ips: fixed }) => [id, {
        name, device_owner: owner, server: names.get(device) ?? "", addresses: fixed.map((each) => each.ip_address).join(" ") }]);
      const text = JSON.stringify([fabric, known]);
      if (signal.aborted || text === before) return;
      before = text;
      ports = new Map(known);
      hosts = world(fabric.hosts, called);
      items = hosts.flatMap((host) => host.groups).flatMap((group) => group.items);
      const portOf = new Map(items.map((each) => [each.id, each.portId]));
      redraw(place, drawn(hosts, isEnd, (id) => ends.choose(portOf.get(id))));
      remark();
      list.update(items);
    });
  },
};
