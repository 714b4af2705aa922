// Every server of every project, with its host and addresses (SEEDS KH-03).

import { table } from "../table.js";
import { badge, link, when } from "../ui.js";

export default {
  id: "all-servers", title: "All servers", section: "Administration", order: 1, admin: true,
  async show(container, { api, every }) {
    const list = table({
      caption: "Servers of all projects", key: (row) => row.id, empty: "There are no servers in the cloud.",
      columns: [
        { title: "Name", value: (row) => row.name, cell: (row) => link(row.name, `#/servers/${row.id}`) },
        { title: "Project", value: (row) => row.project },
        { title: "Host", value: (row) => row["OS-EXT-SRV-ATTR:host"] },
        { title: "Addresses", value: (row) => row.all },
        { title: "Floating IPs", value: (row) => row.floating },
        { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
        { title: "Instance", value: (row) => row["OS-EXT-SRV-ATTR:instance_name"] },
        { title: "Made", value: (row) => row.created, cell: (row) => when(row.created) },
      ],
    });
    container.append(list.element);
    await every(async () => {
      const [servers, { projects }] = await Promise.all([
        api.all("compute", "/servers/detail?all_tenants=1", "servers"), api.get("identity", "/projects")]);
      const names = new Map(projects.map((each) => [each.id, each.name]));
      list.update(servers.map((each) => {
        const addresses = Object.entries(each.addresses).map(([network, all]) => [network, all]);
        const those = (type) => addresses.map(([network, all]) => [network, all.filter((one) => one["OS-EXT-IPS:type"] === type).map((one) => one.addr)])
          .filter(([, all]) => all.length).map(([network, all]) => `${network}=${all.join(", ")}`).join("; ");
        return { ...each, project: names.get(each.tenant_id) ?? each.tenant_id, all: those("fixed"), floating: those("floating") };
      }));
    });
  },
};
