// Networks, and of one its subnets and ports.

import { ask, confirm } from "../dialog.js";
import { named, none } from "../choices.js";
import { table } from "../table.js";
import { badge, bar, button, facts, fill, h, link, part } from "../ui.js";

const lines = (text) => text.split(/[\s,]+/).filter(Boolean);

const SUBNET = [
  { name: "subnet", label: "Subnet name" },
  { name: "cidr", label: "Network address", required: true, hint: "For example 10.0.0.0/24, or 2001:db8::/64." },
  { name: "gateway", label: "Gateway address", hint: "Empty: the first address." },
  { name: "without", label: "No gateway", type: "check" },
  { name: "dhcp", label: "Addresses by DHCP", type: "check", value: true },
  { name: "mode", label: "IPv6 addresses", type: "select", options: [none("as the network has them"), "slaac", "dhcpv6-stateful", "dhcpv6-stateless"],
    when: (values) => values.cidr.includes(":") },
  { name: "dns", label: "Name servers", hint: "Addresses, with spaces between." },
];

const subnetOf = (network_id, values) => ({ subnet: {
  network_id, name: values.subnet, cidr: values.cidr, ip_version: values.cidr.includes(":") ? 6 : 4, enable_dhcp: values.dhcp,
  ...(values.without ? { gateway_ip: null } : values.gateway ? { gateway_ip: values.gateway } : {}),
  ...(values.mode ? { ipv6_address_mode: values.mode, ipv6_ra_mode: values.mode } : {}),
  ...(values.dns ? { dns_nameservers: lines(values.dns) } : {}),
} });

async function create(api, session) {
  return ask({
    title: "Create a network", submit: "Create", done: "The network is created.",
    fields: [
      { name: "name", label: "Network name", required: true },
      ...(session.isAdmin ? [
        { name: "external", label: "External network", type: "check" },
        { name: "shared", label: "Shared with all projects", type: "check" },
        { name: "type", label: "Provider network type", type: "select", options: [none("as the cloud chooses"), "vxlan", "geneve", "gre", "vlan", "flat", "local"] },
        { name: "physical", label: "Physical network", when: (values) => ["vlan", "flat"].includes(values.type) },
        { name: "segment", label: "Segmentation ID", type: "number", when: (values) => ["vxlan", "geneve", "gre", "vlan"].includes(values.type) },
      ] : []),
      { name: "with", label: "With a subnet", type: "check", value: true },
      ...SUBNET.map((field) => ({ ...field, when: (values) => values.with && (!field.when || field.when(values)) })),
    ],
    run: async (values) => {
      const wanted = { name: values.name };
      if (values.external) wanted["router:external"] = true;
      if (values.shared) wanted.shared = true;
      if (values.type) wanted["provider:network_type"] = values.type;
      if (values.physical) wanted["provider:physical_network"] = values.physical;
      if (values.segment) wanted["provider:segmentation_id"] = values.segment;
      const { network } = await api.post("network", "/networks", { network: wanted });
      if (!values.with) return;
      try {
        await api.post("network", "/subnets", subnetOf(network.id, values));
      } catch (error) {
        await api.delete("network", `/networks/${network.id}`); // all of the form, or nothing
        throw error;
      }
    },
  });
}

function list(container, { api, session, every }) {
  let look = async () => {};
  const made = table({
    caption: "Networks", key: (row) => row.id, empty: "There are no networks yet.",
    columns: [
      { title: "Name", value: (row) => row.name, cell: (row) => link(row.name || row.id, `#/networks/${row.id}`) },
      { title: "Subnets", value: (row) => row.ranges },
      { title: "Kind", value: (row) => [row["router:external"] && "external", row.shared && "shared"].filter(Boolean).join(", ") || "private" },
      { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
      { title: "MTU", value: (row) => row.mtu },
    ],
    actions: (row) => (row.project_id === session.project.id || session.isAdmin ? [{ label: "Delete", danger: true, run: () => confirm({
      title: `Delete the network ${row.name}?`, text: "Its subnets go with it.", submit: "Delete", done: `${row.name} is deleted.`,
      run: () => api.delete("network", `/networks/${row.id}`),
    }).then(() => look()) }] : []),
    tools: [button("Create network", () => create(api, session).then(() => look()), { primary: true })],
  });
  container.append(made.element);
  return every(async () => {
    const [networks, subnets] = await Promise.all([api.all("network", "/networks", "networks"), api.all("network", "/subnets", "subnets")]);
    const ranges = Map.groupBy(subnets, (each) => each.network_id);
    made.update(networks.map((each) => ({ ...each, ranges: (ranges.get(each.id) ?? []).map((one) => one.cidr).join(", ") })));
  }).then((again) => { look = again; });
}

async function one(container, context, id) {
  const { api, every, title, go } = context;
  let look = async () => {};
  const after = (work) => work.then(() => look());
  const head = h("div");
  const subnets = table({
    caption: "Subnets", key: (row) => row.id,
    columns: [
      { title: "Name", value: (row) => row.name || row.id },
      { title: "Network address", value: (row) => row.cidr },
      { title: "Gateway", value: (row) => row.gateway_ip },
      { title: "DHCP", value: (row) => (row.enable_dhcp ? "yes" : "no") },
      { title: "Name servers", value: (row) => row.dns_nameservers.join(", ") },
    ],
    actions: (row) => [{ label: "Delete", danger: true, run: () => after(confirm({
      title: `Delete the subnet ${row.name || row.cidr}?`, text: "", submit: "Delete", done: "The subnet is deleted.",
      run: () => api.delete("network", `/subnets/${row.id}`) })) }],
    tools: [button("Add subnet", () => after(ask({
      title: "Add a subnet", submit: "Add", done: "The subnet is added.", fields: SUBNET,
      run: (values) => api.post("network", "/subnets", subnetOf(id, values)) })), { primary: true })],
  });
  const ports = table({
    caption: "Ports", key: (row) => row.id, name: (row) => row.name || row.id.slice(0, 11),
    columns: [
      { title: "Name", value: (row) => row.name || row.id.slice(0, 11) },
      { title: "Addresses", value: (row) => row.fixed_ips.map((each) => each.ip_address).join(", ") },
      { title: "MAC address", value: (row) => row.mac_address },
      { title: "Of", value: (row) => row.device_owner || "nobody",
        cell: (row) => (row.device_owner.startsWith("compute:") ? link("a server", `#/servers/${row.device_id}`) : row.device_owner || "nobody") },
      { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
    ],
    actions: (row) => (row.device_owner ? [] : [{ label: "Delete", danger: true, run: () => after(confirm({
      title: `Delete the port ${row.name || row.id}?`, text: "", submit: "Delete", done: "The port is deleted.",
      run: () => api.delete("network", `/ports/${row.id}`) })) }]),
    tools: [button("Create port", async () => {
      const groups = await api.all("network", "/security-groups", "security_groups");
      await after(ask({
        title: "Create a port", submit: "Create", done: "The port is created.",
        fields: [{ name: "name", label: "Name" }, { name: "address", label: "Address", hint: "Empty: the next free one." },
          { name: "groups", label: "Security groups", type: "choices", options: named(groups), value: groups.filter((each) => each.name === "default").map((each) => each.id) }],
        run: (values) => api.post("network", "/ports", { port: { network_id: id, name: values.name, security_groups: values.groups,
          ...(values.address ? { fixed_ips: [{ ip_address: values.address }] } : {}) } }),
      }));
    })],
  });
  container.append(head, part("Subnets", subnets.element), part("Ports", ports.element));
  look = await every(async () => {
    const [{ network }, here, there] = await Promise.all([
      api.get("network", `/networks/${id}`), api.all("network", `/subnets?network_id=${id}`, "subnets"),
      api.all("network", `/ports?network_id=${id}`, "ports")]);
    title(network.name || network.id);
    fill(head, bar(button("Rename", () => after(ask({
      title: "Rename the network", submit: "Save", fields: [{ name: "name", label: "Network name", value: network.name }],
      run: (values) => api.put("network", `/networks/${id}`, { network: values }) }))),
    button("Delete network", () => confirm({ title: `Delete the network ${network.name}?`, text: "Its subnets go with it.", submit: "Delete",
      done: "The network is deleted.", run: async () => {
        await api.delete("network", `/networks/${id}`);
        go("#/networks");
      } }), { danger: true })),
    facts([["ID", network.id], ["Status", badge(network.status)], ["MTU", network.mtu],
      ["Kind", [network["router:external"] && "external", network.shared && "shared"].filter(Boolean).join(", ") || "private"],
      network["provider:network_type"] && ["Type", `${network["provider:network_type"]} ${network["provider:segmentation_id"] ?? ""} ${network["provider:physical_network"] ?? ""}`.trim()],
    ]));
    subnets.update(here);
    ports.update(there);
  });
}

export default {
  id: "networks", title: "Networks", section: "Network", order: 1,
  show: (container, context) => (context.parts[0] ? one(container, context, context.parts[0]) : list(container, context)),
};
