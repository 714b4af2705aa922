// Floating IPs: taken from an external network, and associated with ports.

import { named, none } from "../choices.js";
import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, button, link } from "../ui.js";

// The ports that an address may be associated with, by the server that each is of.
export async function targets(api, deviceId = null) {
  const [ports, servers] = await Promise.all([
    api.all("network", deviceId ? `/ports?device_id=${deviceId}` : "/ports", "ports"), api.all("compute", "/servers", "servers")]);
  const names = new Map(servers.map((each) => [each.id, each.name]));
  return ports
    .filter((each) => !each.device_owner.startsWith("network:") && each.fixed_ips.length > 0)
    .flatMap((port) => port.fixed_ips.filter((each) => !each.ip_address.includes(":")).map((each) => ({
      value: `${port.id} ${each.ip_address}`,
      label: `${names.get(port.device_id) ?? (port.name || port.id.slice(0, 11))}: ${each.ip_address}` })));
}

const associated = (value) => {
  const [port_id, fixed_ip_address] = value.split(" ");
  return value ? { port_id, fixed_ip_address } : { port_id: null };
};

// Take a new address, or one that is free, for a port.
export async function associate(api, { deviceId = null, floating = null } = {}) {
  const [ports, free, nets] = await Promise.all([
    targets(api, deviceId), api.all("network", "/floatingips?status=DOWN", "floatingips"),
    api.all("network", "/networks?router:external=True", "networks")]);
  const addresses = free.filter((each) => !each.port_id).map((each) => ({ value: each.id, label: each.floating_ip_address }));
  return ask({
    title: floating ? `Associate ${floating.floating_ip_address}` : "Associate a floating IP", submit: "Associate", done: "The floating IP is associated.",
    fields: [
      ...(floating ? [] : [{ name: "address", label: "Floating IP", type: "select",
        options: [...addresses, ...named(nets).map(({ value, label }) => ({ value: `new ${value}`, label: `a new one of ${label}` }))], required: true }]),
      { name: "port", label: "Port", type: "select", options: ports, required: true }],
    run: ({ address, port }) => (floating || !address.startsWith("new ")
      ? api.put("network", `/floatingips/${floating?.id ?? address}`, { floatingip: associated(port) })
      : api.post("network", "/floatingips", { floatingip: { floating_network_id: address.slice(4), ...associated(port) } })),
  });
}

export default {
  id: "floating-ips", title: "Floating IPs", section: "Network", order: 3,
  async show(container, { api, every }) {
    let look = async () => {};
    const after = (work) => work.then(() => look());
    const list = table({
      caption: "Floating IPs", key: (row) => row.id, name: (row) => row.floating_ip_address, empty: "There are no floating IPs yet.",
      columns: [
        { title: "Address", value: (row) => row.floating_ip_address },
        { title: "Associated with", value: (row) => row.server || row.fixed_ip_address,
          cell: (row) => (row.server ? link(`${row.server} (${row.fixed_ip_address})`, `#/servers/${row.port_details.device_id}`) : row.fixed_ip_address ?? "nothing") },
        { title: "External network", value: (row) => row.network },
        { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
      ],
      actions: (row) => [
        row.port_id
          ? { label: "Disassociate", run: () => after(confirm({ title: `Disassociate ${row.floating_ip_address}?`, text: "Nobody reaches the server by it any more.",
            submit: "Disassociate", done: "It is disassociated.", run: () => api.put("network", `/floatingips/${row.id}`, { floatingip: { port_id: null } }) })) }
          : { label: "Associate", run: () => after(associate(api, { floating: row })) },
        { label: "Release", danger: true, run: () => after(confirm({ title: `Release ${row.floating_ip_address}?`, text: "Another project may get it.",
          submit: "Release", done: "It is released.", run: () => api.delete("network", `/floatingips/${row.id}`) })) }],
      tools: [button("Allocate floating IP", async () => {
        const nets = named(await api.all("network", "/networks?router:external=True", "networks"));
        const ports = await targets(api);
        await after(ask({
          title: "Allocate a floating IP", submit: "Allocate", done: "The floating IP is yours.",
          fields: [{ name: "network", label: "External network", type: "select", options: nets, required: true },
            { name: "port", label: "Associate with", type: "select", options: [none("nothing yet"), ...ports] }],
          run: (values) => api.post("network", "/floatingips", { floatingip: { floating_network_id: values.network, ...(values.port ? associated(values.port) : {}) } }),
        }));
      }, { primary: true })],
    });
    container.append(list.element);
    look = await every(async () => {
      const [found, nets, servers] = await Promise.all([
        api.all("network", "/floatingips", "floatingips"), api.all("network", "/networks?router:external=True", "networks"),
        api.all("compute", "/servers", "servers")]);
      const networks = new Map(nets.map((each) => [each.id, each.name]));
      const names = new Map(servers.map((each) => [each.id, each.name]));
      list.update(found.map((each) => ({ ...each, network: networks.get(each.floating_network_id) ?? each.floating_network_id,
        server: names.get(each.port_details?.device_id) ?? "" })));
    });
  },
};
