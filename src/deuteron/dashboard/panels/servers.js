// The project's servers.

import { table } from "../table.js";
import { badge, link } from "../ui.js";

export const addressesOf = (server) => Object.values(server.addresses).flat().map((each) => each.addr).join(", ");

export default {
  id: "servers", title: "Servers", section: "Project", order: 1,
  async show(container, { api, every }) {
    const list = table({
      caption: "Servers", key: (row) => row.id, empty: "There are no servers yet.",
      columns: [
        { title: "Name", value: (row) => row.name, cell: (row) => link(row.name, `#/servers/${row.id}`) },
        { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
        { title: "Addresses", value: addressesOf },
      ],
    });
    container.append(list.element);
    await every(async () => list.update(await api.all("compute", "/servers/detail", "servers")));
  },
};
