// The project's servers. What one server says and may be asked is in `server.js`, how one is made in `launch.js`.

import { confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, button, link } from "../ui.js";
import { launch } from "./launch.js";
import { one } from "./server.js";

export const addressesOf = (server) => Object.values(server.addresses).flat().map((each) => each.addr).join(", ");

async function list(container, { api, every }) {
  let look = async () => {};
  const servers = table({
    caption: "Servers", key: (row) => row.id, empty: "There are no servers yet.",
    columns: [
      { title: "Name", value: (row) => row.name, cell: (row) => link(row.name, `#/servers/${row.id}`) },
      { title: "Status", value: (row) => row.status, cell: (row) => badge(row["OS-EXT-STS:task_state"] ?? row.status) },
      { title: "Addresses", value: addressesOf },
      { title: "Flavor", value: (row) => row.flavor.original_name },
      { title: "Key pair", value: (row) => row.key_name },
    ],
    actions: (row) => [{ label: "Delete", danger: true, run: () => confirm({
      title: `Delete the server ${row.name}?`, text: "Its disk goes with it, volumes stay unless they were made to go.", submit: "Delete",
      done: `${row.name} is being deleted.`, run: () => api.delete("compute", `/servers/${row.id}`) }).then(() => look()) }],
    tools: [button("Launch server", () => launch(api).then(() => look()), { primary: true })],
  });
  container.append(servers.element);
  look = await every(async () => servers.update(await api.all("compute", "/servers/detail", "servers")));
}

export default {
  id: "servers", title: "Servers", section: "Project", order: 1,
  show: (container, context) => (context.parts[0] ? one(container, context, context.parts[0]) : list(container, context)),
};
