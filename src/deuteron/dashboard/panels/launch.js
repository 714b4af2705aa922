// The form that makes a server.

import { flavors, images, named, networks, none } from "../choices.js";
import { ask } from "../dialog.js";

// Text or a file's bytes in base 64, as user data are sent.
export function base64(bytes) {
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  return btoa(text);
}

export async function launch(api, volume = "") {
  const [kinds, pictures, nets, groups, keys, volumes, zones] = await Promise.all([
    flavors(api), images(api), networks(api), api.all("network", "/security-groups", "security_groups"),
    api.get("compute", "/os-keypairs"), api.all("volume", "/volumes/detail", "volumes"), api.get("compute", "/os-availability-zone")]);
  const bootable = volumes.filter((each) => each.status === "available" && each.bootable === "true");
  const from = (...sources) => (values) => sources.includes(values.source);
  const inner = nets.filter((each) => !each.label.endsWith("– external"));
  return ask({
    title: "Launch a server", submit: "Launch", done: "The server is being made.",
    fields: [
      { name: "name", label: "Server name", required: true },
      { name: "count", label: "How many", type: "number", value: 1, min: 1, required: true },
      { name: "source", label: "Boot from", type: "select", value: volume ? "volume" : "image", options: [
        { value: "image", label: "an image" }, { value: "new", label: "an image, on a new volume" }, { value: "volume", label: "a volume" }] },
      { name: "image", label: "Image", type: "select", options: pictures, required: true, when: from("image", "new") },
      { name: "size", label: "Size of the new volume (GiB)", type: "number", value: 1, min: 1, required: true, when: from("new") },
      { name: "ends", label: "Delete the volume with the server", type: "check", when: from("new", "volume") },
      { name: "volume", label: "Volume", type: "select", value: volume || undefined, required: true, when: from("volume"),
        options: named(bootable, (each) => `${each.size} GiB`) },
      { name: "flavor", label: "Flavor", type: "select", options: kinds, required: true },
      { name: "networks", label: "Networks", type: "choices", options: nets, value: inner.length === 1 ? [inner[0].value] : [] },
      { name: "groups", label: "Security groups", type: "choices", options: groups.map((each) => ({ value: each.id, label: each.name })),
        value: groups.filter((each) => each.name === "default").map((each) => each.id) },
      { name: "key", label: "Key pair", type: "select", options: [none("none"), ...keys.keypairs.map((each) => each.keypair.name)] },
      { name: "zone", label: "Availability zone", type: "select", options: [none("any"),
        ...zones.availabilityZoneInfo.filter((each) => each.zoneState.available).map((each) => each.zoneName)] },
      { name: "data", label: "User data", type: "textarea", hint: "A script that begins with #!, or cloud-config; at most 64 KiB." },
      { name: "file", label: "User data from a file", type: "file", hint: "Instead of the text above." },
      { name: "drive", label: "Config drive", type: "check" },
    ],
    run: async (values) => {
      const server = { name: values.name, flavorRef: values.flavor, min_count: values.count, max_count: values.count,
        networks: values.networks.length ? values.networks.map((uuid) => ({ uuid })) : "auto",
        security_groups: values.groups.map((name) => ({ name })) };
      if (values.source === "image") server.imageRef = values.image;
      else {
        server.block_device_mapping_v2 = [{ boot_index: 0, destination_type: "volume", delete_on_termination: values.ends,
          ...(values.source === "new" ? { source_type: "image", uuid: values.image, volume_size: values.size }
            : { source_type: "volume", uuid: values.volume }) }];
      }
      if (values.key) server.key_name = values.key;
      if (values.zone) server.availability_zone = values.zone;
      if (values.drive) server.config_drive = true;
      const data = values.file ? new Uint8Array(await values.file.arrayBuffer()) : new TextEncoder().encode(values.data);
      if (data.length) server.user_data = base64(data);
      return api.post("compute", "/servers", { server });
    },
  });
}
