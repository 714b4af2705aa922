// Routers, and of one its gateway, interfaces and routes.

import { named, none, subnets as subnetChoices } from "../choices.js";
import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, bar, button, facts, fill, h, link, part } from "../ui.js";

const externals = async (api) => named(await api.all("network", "/networks?router:external=True", "networks"));
const gatewayOf = (router) => router.external_gateway_info;

function list(container, { api, every }) {
  let look = async () => {};
  const made = table({
    caption: "Routers", key: (row) => row.id, empty: "There are no routers yet.",
    columns: [
      { title: "Name", value: (row) => row.name, cell: (row) => link(row.name || row.id, `#/routers/${row.id}`) },
      { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
      { title: "Gateway", value: (row) => row.outside },
      { title: "Outside addresses", value: (row) => (gatewayOf(row)?.external_fixed_ips ?? []).map((each) => each.ip_address).join(", ") },
    ],
    actions: (row) => [{ label: "Delete", danger: true, run: () => confirm({
      title: `Delete the router ${row.name}?`, text: "Its interfaces have to be removed before.", submit: "Delete", done: `${row.name} is deleted.`,
      run: () => api.delete("network", `/routers/${row.id}`) }).then(() => look()) }],
    tools: [button("Create router", async () => {
      const [outside, inside] = await Promise.all([externals(api), subnetChoices(api)]);
      await ask({
        title: "Create a router", submit: "Create", done: "The router is created.",
        fields: [{ name: "name", label: "Router name", required: true },
          { name: "gateway", label: "Gateway to", type: "select", options: [none("nowhere"), ...outside] },
          { name: "subnets", label: "Interfaces on", type: "choices", options: inside }],
        run: async (values) => {
          const { router } = await api.post("network", "/routers", { router: { name: values.name,
            ...(values.gateway ? { external_gateway_info: { network_id: values.gateway } } : {}) } });
          const joined = [];
          try {
            for (const subnet_id of values.subnets) {
              await api.put("network", `/routers/${router.id}/add_router_interface`, { subnet_id });
              joined.push(subnet_id);
            }
          } catch (error) { // all of the form, or nothing
            for (const subnet_id of joined) await api.put("network", `/routers/${router.id}/remove_router_interface`, { subnet_id });
            await api.delete("network", `/routers/${router.id}`);
            throw error;
          }
        },
      });
      await look();
    }, { primary: true })],
  });
  container.append(made.element);
  return every(async () => {
    const [routers, nets] = await Promise.all([
      api.all("network", "/routers", "routers"), api.all("network", "/networks?router:external=True", "networks")]);
    const names = new Map(nets.map((each) => [each.id, each.name]));
    made.update(routers.map((each) => ({ ...each, outside: names.get(gatewayOf(each)?.network_id) ?? gatewayOf(each)?.network_id })));
  }).then((again) => { look = again; });
}

async function one(container, { api, every, title, go }, id) {
  let look = async () => {};
  const after = (work) => work.then(() => look());
  const head = h("div");
  const interfaces = table({
    caption: "Interfaces", key: (row) => row.id, name: (row) => row.addresses,
    columns: [
      { title: "Address", value: (row) => row.addresses },
      { title: "Network", value: (row) => row.network, cell: (row) => link(row.network, `#/networks/${row.network_id}`) },
      { title: "MAC address", value: (row) => row.mac_address },
      { title: "Kind", value: (row) => row.device_owner.replace("network:", "") },
      { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
    ],
    actions: (row) => (row.device_owner === "network:router_gateway" ? [] : [{ label: "Remove", danger: true, run: () => after(confirm({
      title: `Remove the interface ${row.addresses}?`, text: "", submit: "Remove", done: "The interface is removed.",
      run: () => api.put("network", `/routers/${id}/remove_router_interface`, { port_id: row.id }) })) }]),
    tools: [button("Add interface", async () => {
      const options = await subnetChoices(api);
      await after(ask({
        title: "Add an interface", submit: "Add", done: "The interface is added.",
        fields: [{ name: "subnet", label: "Subnet", type: "select", options, required: true },
          { name: "address", label: "Address", hint: "Empty: the subnet's gateway address." }],
        run: async (values) => {
          if (!values.address) return api.put("network", `/routers/${id}/add_router_interface`, { subnet_id: values.subnet });
          const { subnet } = await api.get("network", `/subnets/${values.subnet}`);
          const { port } = await api.post("network", "/ports", { port: { network_id: subnet.network_id,
            fixed_ips: [{ subnet_id: subnet.id, ip_address: values.address }] } });
          try {
            return await api.put("network", `/routers/${id}/add_router_interface`, { port_id: port.id });
          } catch (error) {
            await api.delete("network", `/ports/${port.id}`);
            throw error;
          }
        },
      }));
    }, { primary: true })],
  });
  container.append(head, part("Interfaces", interfaces.element));
  look = await every(async () => {
    const [{ router }, ports, nets] = await Promise.all([
      api.get("network", `/routers/${id}`), api.all("network", `/ports?device_id=${id}`, "ports"), api.all("network", "/networks", "networks")]);
    const names = new Map(nets.map((each) => [each.id, each.name || each.id]));
    const gateway = gatewayOf(router);
    title(router.name || router.id);
    fill(head, bar(
      button(gateway ? "Change gateway" : "Set gateway", async () => {
        const options = await externals(api);
        await after(ask({ title: "Set the gateway", submit: "Save", done: "The gateway is set.",
          fields: [{ name: "network", label: "External network", type: "select", options, required: true },
            { name: "snat", label: "Hide inside addresses (SNAT)", type: "check", value: gateway?.enable_snat ?? true }],
          run: (values) => api.put("network", `/routers/${id}`, { router: { external_gateway_info: { network_id: values.network,
            ...(values.snat === (gateway?.enable_snat ?? true) ? {} : { enable_snat: values.snat }) } } }) }));
      }),
      gateway && button("Clear gateway", () => after(confirm({ title: "Clear the gateway?", text: "Nothing inside reaches the outside any more.",
        submit: "Clear", done: "The gateway is cleared.", run: () => api.put("network", `/routers/${id}`, { router: { external_gateway_info: {} } }) })), { danger: true }),
      button("Static routes", () => after(ask({ title: "Static routes", submit: "Save", done: "The routes are set.",
        fields: [{ name: "routes", label: "Routes", type: "textarea", value: router.routes.map((each) => `${each.destination} via ${each.nexthop}`).join("\n"),
          hint: "One a line: 10.9.0.0/24 via 10.0.0.5" }],
        run: (values) => api.put("network", `/routers/${id}`, { router: { routes: values.routes.split("\n").map((each) => each.trim()).filter(Boolean).map((each) => {
          const [destination, nexthop] = each.split(/\s+via\s+|\s+/);
          return { destination, nexthop: nexthop ?? "" };
        }) } }) }))),
      button("Delete router", () => confirm({ title: `Delete the router ${router.name}?`, text: "", submit: "Delete", done: "The router is deleted.",
        run: async () => {
          await api.delete("network", `/routers/${id}`);
          go("#/routers");
        } }), { danger: true })),
    facts([["ID", router.id], ["Status", badge(router.status)],
      ["Gateway", gateway ? `${names.get(gateway.network_id) ?? gateway.network_id}: ${gateway.external_fixed_ips.map((each) => each.ip_address).join(", ")}` : "none"],
      ["SNAT", gateway ? badge(gateway.enable_snat) : "–"],
      ["Routes", router.routes.map((each) => `${each.destination} via ${each.nexthop}`).join(", ")]]));
    interfaces.update(ports.map((each) => ({ ...each, network: names.get(each.network_id) ?? each.network_id,
      addresses: each.fixed_ips.map((one) => one.ip_address).join(", ") })));
  });
}

export default {
  id: "routers", title: "Routers", section: "Network", order: 2,
  show: (container, context) => (context.parts[0] ? one(container, context, context.parts[0]) : list(container, context)),
};
