// Snapshots of volumes.

import { confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, when } from "../ui.js";

export default {
  id: "snapshots", title: "Volume snapshots", section: "Storage", order: 2,
  async show(container, { api, every }) {
    let look = async () => {};
    const list = table({
      caption: "Volume snapshots", key: (row) => row.id, empty: "There are no snapshots yet. A volume's button makes one.",
      columns: [
        { title: "Name", value: (row) => row.name || row.id },
        { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
        { title: "Of the volume", value: (row) => row.volume },
        { title: "Size (GiB)", value: (row) => row.size },
        { title: "Made", value: (row) => row.created_at, cell: (row) => when(row.created_at) },
      ],
      actions: (row) => [{ label: "Delete", danger: true, run: () => confirm({ title: `Delete the snapshot ${row.name || row.id}?`, text: "", submit: "Delete",
        done: "The snapshot is being deleted.", run: () => api.delete("volume", `/snapshots/${row.id}`) }).then(() => look()) }],
    });
    container.append(list.element);
    look = await every(async () => {
      const [snapshots, volumes] = await Promise.all([
        api.all("volume", "/snapshots/detail", "snapshots"), api.all("volume", "/volumes", "volumes")]);
      const names = new Map(volumes.map((each) => [each.id, each.name]));
      list.update(snapshots.map((each) => ({ ...each, volume: names.get(each.volume_id) || each.volume_id })));
    });
  },
};
