// Volumes of the project.

import { images, named, none } from "../choices.js";
import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, button, link } from "../ui.js";
import { launch } from "./launch.js";

async function create(api) {
  const [pictures, snapshots, volumes, types] = await Promise.all([
    images(api), api.all("volume", "/snapshots/detail", "snapshots"), api.all("volume", "/volumes/detail", "volumes"),
    api.get("volume", "/types")]);
  const from = (source) => (values) => values.source === source;
  return ask({
    title: "Create a volume", submit: "Create", done: "The volume is being made.",
    fields: [
      { name: "name", label: "Volume name", required: true },
      { name: "size", label: "Size (GiB)", type: "number", value: 1, min: 1, required: true },
      { name: "source", label: "From", type: "select", options: [none("nothing: it is empty"), { value: "imageRef", label: "an image" },
        { value: "snapshot_id", label: "a snapshot" }, { value: "source_volid", label: "another volume" }] },
      { name: "imageRef", label: "Image", type: "select", options: pictures, required: true, when: from("imageRef") },
      { name: "snapshot_id", label: "Snapshot", type: "select", options: named(snapshots), required: true, when: from("snapshot_id") },
      { name: "source_volid", label: "Volume", type: "select", options: named(volumes), required: true, when: from("source_volid") },
      { name: "type", label: "Volume type", type: "select", options: [none("the usual one"), ...types.volume_types.map((each) => each.name)] },
    ],
    run: ({ source, type, name, size, ...values }) => api.post("volume", "/volumes", { volume: { name, size,
      ...(source ? { [source]: values[source] } : {}), ...(type ? { volume_type: type } : {}) } }),
  });
}

export default {
  id: "volumes", title: "Volumes", section: "Storage", order: 1,
  async show(container, { api, every }) {
    let look = async () => {};
    const after = (work) => work.then(() => look());
    const act = (row, body) => api.post("volume", `/volumes/${row.id}/action`, body);
    const list = table({
      caption: "Volumes", key: (row) => row.id, empty: "There are no volumes yet.",
      columns: [
        { title: "Name", value: (row) => row.name || row.id },
        { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
        { title: "Size (GiB)", value: (row) => row.size },
        { title: "Type", value: (row) => row.volume_type },
        { title: "Bootable", value: (row) => (row.bootable === "true" ? "yes" : "no") },
        { title: "Attached to", value: (row) => row.on.map((each) => `${each.name} as ${each.device}`).join(", "),
          cell: (row) => (row.on.length ? row.on.map((each) => [link(each.name, `#/servers/${each.id}`), ` as ${each.device}`]) : "nothing") },
      ],
      actions: (row) => [
        row.status === "available" && row.bootable === "true" && { label: "Launch from", run: () => after(launch(api, row.id)) },
        row.status === "available" && { label: "Attach", run: async () => {
          const servers = named(await api.all("compute", "/servers", "servers"));
          await after(ask({ title: `Attach ${row.name}`, submit: "Attach", done: "The volume is being attached.",
            fields: [{ name: "server", label: "Server", type: "select", options: servers, required: true }],
            run: ({ server }) => api.post("compute", `/servers/${server}/os-volume_attachments`, { volumeAttachment: { volumeId: row.id } }) }));
        } },
        ...row.on.map((each) => ({ label: "Detach", run: () => after(confirm({ title: `Detach ${row.name} from ${each.name}?`, text: "Unmount it in the guest before.",
          submit: "Detach", done: "The volume is being detached.", run: () => api.delete("compute", `/servers/${each.id}/os-volume_attachments/${row.id}`) })) })),
        ["available", "in-use"].includes(row.status) && { label: "Extend", run: () => after(ask({ title: `Extend ${row.name}`, submit: "Extend", done: "The volume grows.",
          fields: [{ name: "new_size", label: "New size (GiB)", type: "number", value: row.size + 1, min: row.size + 1, required: true }],
          run: (values) => act(row, { "os-extend": values }) })) },
        ["available", "in-use"].includes(row.status) && { label: "Snapshot", run: () => after(ask({ title: `A snapshot of ${row.name}`, submit: "Create", done: "The snapshot is being made.",
          fields: [{ name: "name", label: "Snapshot name", required: true }],
          run: ({ name }) => api.post("volume", "/snapshots", { snapshot: { volume_id: row.id, name, force: true } }, "3.65") })) },
        { label: "Delete", danger: true, run: () => after(confirm({ title: `Delete the volume ${row.name || row.id}?`, text: "What is on it is lost.", submit: "Delete",
          done: "The volume is being deleted.", run: () => api.delete("volume", `/volumes/${row.id}`) })) }],
      tools: [button("Create volume", () => after(create(api)), { primary: true })],
    });
    container.append(list.element);
    look = await every(async () => {
      const [volumes, servers] = await Promise.all([
        api.all("volume", "/volumes/detail", "volumes"), api.all("compute", "/servers", "servers")]);
      const names = new Map(servers.map((each) => [each.id, each.name]));
      list.update(volumes.map((each) => ({ ...each, on: each.attachments.filter((one) => one.server_id).map((one) => ({ id: one.server_id, device: one.device, name: names.get(one.server_id) ?? one.server_id })) })));
    });
  },
};
