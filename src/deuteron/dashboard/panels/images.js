// Images the project may use.

import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, button, bytes } from "../ui.js";

const FORMATS = ["qcow2", "raw", "iso", "vmdk", "vdi", "vhd", "vhdx", "aki", "ari", "ami"];

const upload = (api) => ask({
  title: "Create an image", submit: "Create", done: "The image is there.",
  fields: [
    { name: "name", label: "Image name", required: true },
    { name: "file", label: "File", type: "file", required: true },
    { name: "format", label: "Format", type: "select", options: FORMATS },
    { name: "disk", label: "Smallest disk (GiB)", type: "number", value: 0, min: 0 },
    { name: "memory", label: "Least memory (MiB)", type: "number", value: 0, min: 0 },
  ],
  run: async (values) => {
    const container_format = ["aki", "ari", "ami"].includes(values.format) ? values.format : "bare";
    const image = await api.post("image", "/images", { name: values.name, disk_format: values.format, container_format,
      min_disk: values.disk ?? 0, min_ram: values.memory ?? 0 });
    try {
      await api.send("PUT", "image", `/images/${image.id}/file`, values.file, undefined, "application/octet-stream");
    } catch (error) {
      await api.delete("image", `/images/${image.id}`);
      throw error;
    }
  },
});

export default {
  id: "images", title: "Images", section: "Storage", order: 3,
  async show(container, { api, session, every }) {
    let look = async () => {};
    const after = (work) => work.then(() => look());
    const list = table({
      caption: "Images", key: (row) => row.id, empty: "There are no images yet.",
      columns: [
        { title: "Name", value: (row) => row.name || row.id },
        { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
        { title: "Format", value: (row) => row.disk_format },
        { title: "Size", value: (row) => row.size ?? 0, cell: (row) => bytes(row.size) },
        { title: "Who sees it", value: (row) => row.visibility },
        { title: "Protected", value: (row) => (row.protected ? "yes" : "no") },
      ],
      actions: (row) => (row.owner === session.project.id || session.isAdmin ? [
        { label: "Rename", run: () => after(ask({ title: `Rename ${row.name}`, submit: "Save", fields: [{ name: "name", label: "Image name", value: row.name, required: true }],
          run: ({ name }) => api.send("PATCH", "image", `/images/${row.id}`, [{ op: "replace", path: "/name", value: name }], undefined,
            "application/openstack-images-v2.1-json-patch") })) },
        { label: "Delete", danger: true, run: () => after(confirm({ title: `Delete the image ${row.name}?`, text: "Servers made of it stay.", submit: "Delete", done: "The image is deleted.",
          run: () => api.delete("image", `/images/${row.id}`) })) }] : []),
      tools: [button("Create image", () => after(upload(api)), { primary: true })],
    });
    container.append(list.element);
    look = await every(async () => list.update(await api.all("image", "/images", "images")));
  },
};
