// What the project has, and how much of it may be.

import { facts, h, link, part } from "../ui.js";

const KINDS = [
  ["Servers", "#/servers", (limits) => [limits.compute.totalInstancesUsed, limits.compute.maxTotalInstances]],
  ["VCPUs", "#/servers", (limits) => [limits.compute.totalCoresUsed, limits.compute.maxTotalCores]],
  ["Memory (MiB)", "#/servers", (limits) => [limits.compute.totalRAMUsed, limits.compute.maxTotalRAMSize]],
  ["Volumes", "#/volumes", (limits) => [limits.volume.totalVolumesUsed, limits.volume.maxTotalVolumes]],
  ["Volume storage (GiB)", "#/volumes", (limits) => [limits.volume.totalGigabytesUsed, limits.volume.maxTotalVolumeGigabytes]],
  ["Networks", "#/networks", (limits) => used(limits.network.network)],
  ["Routers", "#/routers", (limits) => used(limits.network.router)],
  ["Floating IPs", "#/floating-ips", (limits) => used(limits.network.floatingip)],
  ["Security groups", "#/security-groups", (limits) => used(limits.network.security_group)],
  ["Ports", "#/networks", (limits) => used(limits.network.port)],
];
const used = (quota) => [quota.used, quota.limit];

function meter(title, hash, now, most) {
  const text = most < 0 ? `${now}, without limit` : `${now} of ${most}`;
  return [link(title, hash), [text, most > 0 && h("meter", { class: "meter", min: 0, max: most, value: now, "aria-label": `${title}: ${text}` })]];
}

export default {
  id: "overview", title: "Overview", section: "Project", order: 0,
  async show(container, { api, session, every }) {
    await every(async () => {
      const [compute, volume, network] = await Promise.all([
        api.get("compute", "/limits"), api.get("volume", "/limits"), api.get("network", `/quotas/${session.project.id}/details.json`),
      ]);
      const limits = { compute: compute.limits.absolute, volume: volume.limits.absolute, network: network.quota };
      container.replaceChildren(
        facts([["Project", session.project.name], ["Domain", session.project.domain], ["User", session.user.name],
          ["Roles", session.roles.join(", ")]]),
        part("What is used", facts(KINDS.map(([title, hash, read]) => meter(title, hash, ...read(limits))))));
    });
  },
};
