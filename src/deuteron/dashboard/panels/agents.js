// "Networks and Network Service Agents" (SEEDS AG-05).

import { confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, link, part, when } from "../ui.js";

export default {
  id: "agents", title: "Networks and Network Service Agents", section: "Administration", order: 3, admin: true,
  async show(container, { api, every }) {
    let look = async () => {};
    const after = (work) => work.then(() => look());
    const agents = table({
      caption: "Network Service Agents", key: (row) => row.id, name: (row) => `${row.agent_type} of ${row.host}`, empty: "There are no agents.",
      columns: [
        { title: "Type", value: (row) => row.agent_type },
        { title: "Name", value: (row) => row.binary },
        { title: "Host", value: (row) => row.host },
        { title: "Mode", value: (row) => row.configurations.agent_mode ?? "" },
        { title: "Zone", value: (row) => row.availability_zone },
        { title: "Status", value: (row) => (row.admin_state_up ? "enabled" : "disabled"), cell: (row) => badge(row.admin_state_up ? "enabled" : "disabled") },
        { title: "State", value: (row) => (row.alive ? "up" : "down"), cell: (row) => badge(row.alive ? "up" : "down") },
        { title: "Last heard", value: (row) => row.heartbeat_timestamp, cell: (row) => when(row.heartbeat_timestamp.replace(" ", "T")) },
      ],
      actions: (row) => [{ label: row.admin_state_up ? "Disable" : "Enable", run: () => after(confirm({
        title: `${row.admin_state_up ? "Disable" : "Enable"} the ${row.agent_type} of ${row.host}?`, submit: row.admin_state_up ? "Disable" : "Enable", done: "It is done.",
        text: row.admin_state_up ? "It gets nothing new to do." : "It gets new work again.",
        run: () => api.put("network", `/agents/${row.id}`, { agent: { admin_state_up: !row.admin_state_up } }) })) }],
    });
    const networks = table({
      caption: "Networks", key: (row) => row.id, empty: "There are no networks.",
      columns: [
        { title: "Name", value: (row) => row.name || row.id, cell: (row) => link(row.name || row.id, `#/networks/${row.id}`) },
        { title: "Project", value: (row) => row.project },
        { title: "Subnets", value: (row) => row.ranges },
        { title: "Type", value: (row) => row["provider:network_type"] },
        { title: "Segment", value: (row) => row["provider:segmentation_id"] },
        { title: "DHCP by", value: (row) => row.dhcp },
        { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
      ],
    });
    container.append(part("Networks", networks.element), part("Network Service Agents", agents.element));
    look = await every(async () => {
      const [{ agents: found }, nets, subnets, ports, { projects }] = await Promise.all([
        api.get("network", "/agents"), api.all("network", "/networks", "networks"), api.all("network", "/subnets", "subnets"),
        api.all("network", "/ports?device_owner=network:dhcp", "ports"), api.get("identity", "/projects")]);
      const names = new Map(projects.map((each) => [each.id, each.name]));
      const ranges = Map.groupBy(subnets, (each) => each.network_id);
      const servers = Map.groupBy(ports, (each) => each.network_id);
      agents.update(found);
      networks.update(nets.map((each) => ({ ...each, project: names.get(each.project_id) ?? each.project_id,
        ranges: (ranges.get(each.id) ?? []).map((one) => one.cidr).join(", "),
        dhcp: (servers.get(each.id) ?? []).map((one) => one["binding:host_id"]).join(", ") })));
    });
  },
};
