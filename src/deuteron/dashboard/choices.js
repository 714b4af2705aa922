// What fields of forms offer: objects by their names, where there may be two of a name with more about each.

export const named = (items, more = () => "") => items
  .map((each) => ({ value: each.id, label: [each.name || each.id, more(each)].filter(Boolean).join(" – ") }))
  .sort((one, other) => one.label.localeCompare(other.label, undefined, { numeric: true }));

export const none = (label) => ({ value: "", label });

export const flavors = async (api) => {
  const found = await api.all("compute", "/flavors/detail", "flavors");
  found.sort((one, other) => one.ram - other.ram || one.vcpus - other.vcpus);
  return found.map((each) => ({ value: each.id, label: `${each.name} – ${each.vcpus} VCPU, ${each.ram} MiB, ${each.disk} GiB` }));
};

// Images that a disk is made of: not the kernels that others name.
export const images = async (api) => named(
  (await api.all("image", "/images?status=active", "images")).filter((each) => !["aki", "ari"].includes(each.disk_format)),
  (each) => each.disk_format);

export const networks = async (api, more = "") => named(await api.all("network", `/networks${more}`, "networks"),
  (each) => (each["router:external"] ? "external" : each.shared ? "shared" : ""));

// Subnets with the network that each is in.
export const subnets = async (api) => {
  const [found, nets] = await Promise.all([
    api.all("network", "/subnets", "subnets"), api.all("network", "/networks", "networks")]);
  const names = new Map(nets.map((each) => [each.id, each.name]));
  return named(found, (each) => `${each.cidr} in ${names.get(each.network_id) ?? each.network_id}`);
};
