// One server: what it is, its interfaces and volumes, what it was asked, its log, and its consoles.

import { named } from "../choices.js";
import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, bar, button, facts, fill, h, link, part, when } from "../ui.js";
import { actionsOf } from "./server-actions.js";
import { associate } from "./floating-ips.js";

const LINES = 200;

const fault = (server) => server.fault && h("p", { class: "problem" }, `${server.fault.message} (${server.fault.code})`);

function about(server, picture) {
  const { flavor } = server;
  return facts([
    ["ID", server.id], ["Status", badge(server["OS-EXT-STS:task_state"] ?? server.status)],
    ["Flavor", `${flavor.original_name}: ${flavor.vcpus} VCPU, ${flavor.ram} MiB, ${flavor.disk} GiB`],
    ["Image", picture], ["Key pair", server.key_name], ["Availability zone", server["OS-EXT-AZ:availability_zone"]],
    server["OS-EXT-SRV-ATTR:host"] !== undefined && ["Host", server["OS-EXT-SRV-ATTR:host"]],
    ["Made", when(server.created)], ["Since its start", when(server["OS-SRV-USG:launched_at"])],
    ["Locked", server.locked ? "yes" : "no"],
    ["Metadata", Object.entries(server.metadata).map(([key, value]) => `${key}=${value}`).join(", ")],
  ]);
}

function interfacesOf(api, id, after) {
  return table({
    caption: "Interfaces", key: (row) => row.id, name: (row) => row.addresses, empty: "It has no interfaces.",
    columns: [
      { title: "Addresses", value: (row) => row.addresses },
      { title: "Floating IP", value: (row) => row.floating },
      { title: "Network", value: (row) => row.network, cell: (row) => link(row.network, `#/networks/${row.network_id}`) },
      { title: "MAC address", value: (row) => row.mac_address },
      { title: "Security groups", value: (row) => row.groups },
      { title: "Status", value: (row) => row.status, cell: (row) => badge(row.status) },
    ],
    actions: (row) => [
      { label: "Change groups", run: async () => {
        const groups = await api.all("network", "/security-groups", "security_groups");
        await after(ask({ title: `Security groups of ${row.addresses}`, submit: "Save", done: "The security groups are set.",
          fields: [{ name: "security_groups", label: "Security groups", type: "choices", options: named(groups), value: row.security_groups }],
          run: (values) => api.put("network", `/ports/${row.id}`, { port: values }) }));
      } },
      { label: "Detach", danger: true, run: () => after(confirm({ title: `Detach ${row.addresses}?`, text: "The server loses this interface.",
        submit: "Detach", done: "The interface is being detached.", run: () => api.delete("compute", `/servers/${id}/os-interface/${row.id}`) })) }],
    tools: [
      button("Associate floating IP", () => after(associate(api, { deviceId: id }))),
      button("Attach interface", async () => {
        const nets = named(await api.all("network", "/networks", "networks"));
        await after(ask({ title: "Attach an interface", submit: "Attach", done: "The interface is being attached.",
          fields: [{ name: "net_id", label: "Network", type: "select", options: nets, required: true }, { name: "address", label: "Address", hint: "Empty: the next free one." }],
          run: (values) => api.post("compute", `/servers/${id}/os-interface`, { interfaceAttachment: { net_id: values.net_id,
            ...(values.address ? { fixed_ips: [{ ip_address: values.address }] } : {}) } }) }));
      })],
  });
}

function volumesOf(api, id, after) {
  return table({
    caption: "Volumes", key: (row) => row.volumeId, empty: "It has no volumes.",
    columns: [
      { title: "Volume", value: (row) => row.name, cell: (row) => link(row.name, "#/volumes") },
      { title: "Device", value: (row) => row.device },
      { title: "Deleted with the server", value: (row) => (row.delete_on_termination ? "yes" : "no") },
    ],
    actions: (row) => [{ label: "Detach", danger: true, run: () => after(confirm({ title: `Detach ${row.name}?`, text: "Unmount it in the guest before.",
      submit: "Detach", done: "The volume is being detached.", run: () => api.delete("compute", `/servers/${id}/os-volume_attachments/${row.volumeId}`) })) }],
    tools: [button("Attach volume", async () => {
      const free = (await api.all("volume", "/volumes/detail", "volumes")).filter((each) => each.status === "available");
      await after(ask({ title: "Attach a volume", submit: "Attach", done: "The volume is being attached.",
        fields: [{ name: "volumeId", label: "Volume", type: "select", options: named(free, (each) => `${each.size} GiB`), required: true }],
        run: (values) => api.post("compute", `/servers/${id}/os-volume_attachments`, { volumeAttachment: values }) }));
    })],
  });
}

// The log is read when it is opened, and again while it is.
function logOf(api, id) {
  const text = h("pre", { tabindex: "0", "aria-label": "Console log" });
  const problem = h("p", { class: "problem", role: "alert" });
  let asked = 0;
  const read = async () => {
    const mine = (asked += 1);
    try {
      const { output } = await api.post("compute", `/servers/${id}/action`, { "os-getConsoleOutput": { length: LINES } });
      if (mine !== asked) return; // what is newer is shown, or on its way
      const isAtEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 5;
      const shown = output.replace(/\x1b\[[0-9;?]*[A-Za-z]|[^\t\n\x20-\uffff]/g, "");
      if (text.textContent !== shown) text.textContent = shown;
      if (isAtEnd) text.scrollTop = text.scrollHeight;
      problem.textContent = "";
    } catch (error) {
      if (mine === asked) problem.textContent = error.message;
    }
  };
  const details = h("details", { ontoggle: () => details.open && read() }, h("summary", {}, `The last ${LINES} lines`),
    bar(button("Read again", read)), problem, text);
  return { element: part("Console log", details), look: () => (details.open ? read() : null) };
}

export async function one(container, { api, session, every, title, go }, id) {
  let look = async () => {};
  const after = (work) => work.then(() => look());
  const head = h("div");
  const interfaces = interfacesOf(api, id, after);
  const volumes = volumesOf(api, id, after);
  const log = logOf(api, id);
  const asked = table({
    caption: "Actions", key: (row) => row.request_id,
    columns: [
      { title: "When", value: (row) => row.start_time, cell: (row) => when(row.start_time) },
      { title: "Action", value: (row) => row.action },
      { title: "Outcome", value: (row) => row.message ?? "" },
    ],
  });
  container.append(head, part("Interfaces", interfaces.element), part("Volumes", volumes.element), log.element,
    part("What it was asked", asked.element));
  look = await every(async () => {
    const [{ server }, ports, nets, groups, addresses, attached, { instanceActions }] = await Promise.all([
      api.get("compute", `/servers/${id}`), api.all("network", `/ports?device_id=${id}`, "ports"),
      api.all("network", "/networks", "networks"), api.all("network", "/security-groups", "security_groups"),
      api.all("network", "/floatingips", "floatingips"), api.get("compute", `/servers/${id}/os-volume_attachments`),
      api.get("compute", `/servers/${id}/os-instance-actions`)]);
    const found = attached.volumeAttachments;
    const known = found.length ? await api.all("volume", "/volumes/detail", "volumes") : [];
    const picture = server.image ? await api.get("image", `/images/${server.image.id}`).then((each) => each.name, () => server.image.id) : "none: a volume";
    title(server.name);
    fill(head, bar(actionsOf({ api, session, server, after, go })), fault(server), about(server, picture));
    const names = new Map([...nets, ...groups, ...known].map((each) => [each.id, each.name || each.id]));
    const outside = new Map(addresses.map((each) => [each.port_id, each.floating_ip_address]));
    interfaces.update(ports.map((each) => ({ ...each, network: names.get(each.network_id) ?? each.network_id, floating: outside.get(each.id) ?? "",
      addresses: each.fixed_ips.map((fixed) => fixed.ip_address).join(", "), groups: each.security_groups.map((group) => names.get(group) ?? group).join(", ") })));
    volumes.update(found.map((each) => ({ ...each, name: names.get(each.volumeId) ?? each.volumeId })));
    asked.update(instanceActions);
    await log.look();
  });
}
