// Quotas: what each project may have, and of one what it uses.

import { ask } from "../dialog.js";
import { table } from "../table.js";
import { h, link, part } from "../ui.js";

const SERVICES = [
  { name: "Compute", service: "compute", show: (id) => `/os-quota-sets/${id}/detail`, set: (id) => `/os-quota-sets/${id}`, key: "quota_set",
    read: ({ quota_set }) => rowsOf(quota_set, "in_use") },
  { name: "Network", service: "network", show: (id) => `/quotas/${id}/details.json`, set: (id) => `/quotas/${id}`, key: "quota",
    read: ({ quota }) => rowsOf(quota, "used") },
  { name: "Volumes", service: "volume", show: (id) => `/os-quota-sets/${id}?usage=true`, set: (id) => `/os-quota-sets/${id}`, key: "quota_set",
    read: ({ quota_set }) => rowsOf(quota_set, "in_use") },
];

const rowsOf = (found, used) => Object.entries(found).filter(([, value]) => typeof value === "object" && value !== null)
  .map(([name, value]) => ({ name, limit: value.limit, used: value[used], reserved: value.reserved }));
const limit = (number) => (number < 0 ? "unlimited" : String(number));

async function one(container, { api, every, title }, id) {
  let look = async () => {};
  const tables = SERVICES.map((each) => table({
    caption: `${each.name} quotas`, key: (row) => row.name,
    columns: [
      { title: "Of", value: (row) => row.name.replaceAll("_", " ") },
      { title: "Used", value: (row) => row.used },
      { title: "Limit", value: (row) => row.limit, cell: (row) => limit(row.limit) },
    ],
    actions: (row) => [{ label: "Change", run: () => ask({ title: `How much ${row.name.replaceAll("_", " ")}`, submit: "Save", done: "The quota is set.",
      fields: [{ name: "limit", label: "Limit", type: "number", value: row.limit, min: -1, required: true, hint: "-1 is unlimited." }],
      run: (values) => api.put(each.service, each.set(id), { [each.key]: { [row.name]: values.limit } }) }).then(() => look()) }],
  }));
  container.append(...SERVICES.map((each, index) => part(each.name, tables[index].element)));
  look = await every(async () => {
    const [{ project }, ...found] = await Promise.all([api.get("identity", `/projects/${id}`), ...SERVICES.map((each) => api.get(each.service, each.show(id)))]);
    title(`Quotas of ${project.name}`);
    SERVICES.forEach((each, index) => tables[index].update(each.read(found[index])));
  });
}

async function list(container, { api, every }) {
  const projects = table({
    caption: "Projects", key: (row) => row.id,
    columns: [
      { title: "Project", value: (row) => row.name, cell: (row) => link(row.name, `#/quotas/${row.id}`) },
      { title: "Servers", value: (row) => row.servers },
      { title: "VCPUs", value: (row) => row.cores },
      { title: "Memory (MiB)", value: (row) => row.memory },
    ],
  });
  container.append(h("p", {}, "Choose a project to see and change what it may have."), projects.element);
  await every(async () => {
    const found = await api.get("identity", "/projects");
    projects.update(await Promise.all(found.projects.map(async (each) => {
      const { quota_set: of } = await api.get("compute", `/os-quota-sets/${each.id}/detail`);
      const words = (one) => `${one.in_use} of ${limit(one.limit)}`;
      return { ...each, servers: words(of.instances), cores: words(of.cores), memory: words(of.ram) };
    })));
  });
}

export default {
  id: "quotas", title: "Quotas", section: "Administration", order: 7, admin: true,
  show: (container, context) => (context.parts[0] ? one(container, context, context.parts[0]) : list(container, context)),
};
