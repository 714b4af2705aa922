// Hosts that servers run on, and what they have left, as Placement knows it.

import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, part } from "../ui.js";

export default {
  id: "hypervisors", title: "Hypervisors", section: "Administration", order: 2, admin: true,
  async show(container, { api, every }) {
    let look = async () => {};
    const after = (work) => work.then(() => look());
    const hosts = table({
      caption: "Hypervisors", key: (row) => row.id, name: (row) => row.hypervisor_hostname,
      columns: [
        { title: "Host", value: (row) => row.hypervisor_hostname },
        { title: "Type", value: (row) => row.hypervisor_type },
        { title: "State", value: (row) => row.state, cell: (row) => badge(row.state) },
        { title: "Address", value: (row) => row.host_ip },
        { title: "VCPUs", value: (row) => row.left.VCPU },
        { title: "Memory (MiB)", value: (row) => row.left.MEMORY_MB },
        { title: "Disk (GiB)", value: (row) => row.left.DISK_GB },
      ],
    });
    const services = table({
      caption: "Compute services", key: (row) => row.id, name: (row) => `${row.binary} of ${row.host}`,
      columns: [
        { title: "Host", value: (row) => row.host },
        { title: "Program", value: (row) => row.binary },
        { title: "State", value: (row) => row.state, cell: (row) => badge(row.state) },
        { title: "Takes servers", value: (row) => row.status, cell: (row) => badge(row.status) },
        { title: "Why not", value: (row) => row.disabled_reason },
      ],
      actions: (row) => (row.binary !== "nova-compute" ? [] : [row.status === "enabled"
        ? { label: "Disable", run: () => after(ask({ title: `Let ${row.host} take no more servers`, submit: "Disable", done: "It takes no more servers.",
          fields: [{ name: "why", label: "Why" }], run: ({ why }) => api.put("compute", `/os-services/${row.id}`, { status: "disabled", ...(why ? { disabled_reason: why } : {}) }) })) }
        : { label: "Enable", run: () => after(confirm({ title: `Let ${row.host} take servers again?`, text: "", submit: "Enable", done: "It takes servers.",
          run: () => api.put("compute", `/os-services/${row.id}`, { status: "enabled" }) })) }]),
    });
    container.append(hosts.element, part("Services", services.element));
    look = await every(async () => {
      const [found, of] = await Promise.all([api.get("compute", "/os-hypervisors/detail"), api.get("compute", "/os-services")]);
      const rows = await Promise.all(found.hypervisors.map(async (each) => ({ ...each, left: await room(api, each.id) })));
      hosts.update(rows);
      services.update(of.services);
    });
  },
};

// What is used of what there is, by class of resource.
async function room(api, id) {
  try {
    const [{ inventories }, { usages }] = await Promise.all([
      api.get("placement", `/resource_providers/${id}/inventories`), api.get("placement", `/resource_providers/${id}/usages`)]);
    return Object.fromEntries(Object.entries(inventories).map(([name, { total }]) => [name, `${usages[name] ?? 0} of ${total}`]));
  } catch {
    return {};
  }
}
