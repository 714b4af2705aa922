// Security groups, and of one its rules.

import { named } from "../choices.js";
import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { bar, button, facts, fill, h, link, part } from "../ui.js";

function list(container, { api, every }) {
  let look = async () => {};
  const made = table({
    caption: "Security groups", key: (row) => row.id,
    columns: [
      { title: "Name", value: (row) => row.name, cell: (row) => link(row.name, `#/security-groups/${row.id}`) },
      { title: "Description", value: (row) => row.description },
      { title: "Rules", value: (row) => row.security_group_rules.length },
    ],
    actions: (row) => (row.name === "default" ? [] : [{ label: "Delete", danger: true, run: () => confirm({
      title: `Delete the security group ${row.name}?`, text: "", submit: "Delete", done: `${row.name} is deleted.`,
      run: () => api.delete("network", `/security-groups/${row.id}`) }).then(() => look()) }]),
    tools: [button("Create security group", () => ask({
      title: "Create a security group", submit: "Create", done: "The security group is created.",
      fields: [{ name: "name", label: "Name", required: true }, { name: "description", label: "Description" }],
      run: (values) => api.post("network", "/security-groups", { security_group: values }) }).then(() => look()), { primary: true })],
  });
  container.append(made.element);
  return every(async () => made.update(await api.all("network", "/security-groups", "security_groups"))).then((again) => { look = again; });
}

// What people ask for by a word.
const SERVICES = {
  "SSH": ["tcp", 22, 22], "HTTP": ["tcp", 80, 80], "HTTPS": ["tcp", 443, 443], "DNS": ["udp", 53, 53],
  "All ICMP (ping)": ["icmp", null, null], "All TCP": ["tcp", 1, 65535], "All UDP": ["udp", 1, 65535], "Everything": ["", null, null],
};
const CUSTOM = "Another protocol";

async function addRule(api, id) {
  const groups = await api.all("network", "/security-groups", "security_groups");
  const isCustom = (values) => values.service === CUSTOM;
  return ask({
    title: "Add a rule", submit: "Add", done: "The rule is added.",
    fields: [
      { name: "service", label: "Service", type: "select", options: [...Object.keys(SERVICES), CUSTOM] },
      { name: "protocol", label: "Protocol", value: "tcp", hint: "A name (tcp, udp, icmp, sctp) or a number.", when: isCustom },
      { name: "from", label: "From port", type: "number", min: 0, max: 65535, hint: "Of ICMP, the type.", when: isCustom },
      { name: "to", label: "To port", type: "number", min: 0, max: 65535, hint: "Of ICMP, the code.", when: isCustom },
      { name: "direction", label: "Direction", type: "select", options: [{ value: "ingress", label: "in, to servers" }, { value: "egress", label: "out, from servers" }] },
      { name: "version", label: "IP version", type: "select", options: ["IPv4", "IPv6"] },
      { name: "group", label: "The other end", type: "select", options: [{ value: "", label: "addresses" }, ...named(groups, () => "security group")] },
      { name: "prefix", label: "Addresses", hint: "For example 192.0.2.0/24. Empty: all.", when: (values) => !values.group },
    ],
    run: (values) => {
      const [protocol, low, high] = isCustom(values) ? [values.protocol, values.from, values.to ?? values.from] : SERVICES[values.service];
      const rule = { security_group_id: id, direction: values.direction, ethertype: values.version };
      if (protocol) rule.protocol = protocol === "icmp" && values.version === "IPv6" ? "ipv6-icmp" : protocol;
      if (low !== null) [rule.port_range_min, rule.port_range_max] = [low, high];
      if (values.group) rule.remote_group_id = values.group;
      else if (values.prefix) rule.remote_ip_prefix = values.prefix;
      return api.post("network", "/security-group-rules", { security_group_rule: rule });
    },
  });
}

const ports = (rule) => (rule.port_range_min === null ? "all"
  : rule.port_range_min === rule.port_range_max ? String(rule.port_range_min) : `${rule.port_range_min} to ${rule.port_range_max}`);

async function one(container, { api, every, title }, id) {
  let look = async () => {};
  const after = (work) => work.then(() => look());
  const head = h("div");
  const rules = table({
    caption: "Rules", key: (row) => row.id, name: (row) => `${row.direction} ${row.protocol ?? "everything"} ${ports(row)} ${row.remote}`,
    empty: "Nothing is let through.",
    columns: [
      { title: "Direction", value: (row) => (row.direction === "ingress" ? "in" : "out") },
      { title: "IP version", value: (row) => row.ethertype },
      { title: "Protocol", value: (row) => row.protocol ?? "all" },
      { title: "Ports", value: ports },
      { title: "The other end", value: (row) => row.remote },
    ],
    actions: (row) => [{ label: "Delete", danger: true, run: () => after(confirm({ title: "Delete the rule?", text: "What it let through is refused from then on.",
      submit: "Delete", done: "The rule is deleted.", run: () => api.delete("network", `/security-group-rules/${row.id}`) })) }],
    tools: [button("Add rule", () => after(addRule(api, id)), { primary: true })],
  });
  container.append(head, part("Rules", rules.element));
  look = await every(async () => {
    const [{ security_group: group }, groups] = await Promise.all([
      api.get("network", `/security-groups/${id}`), api.all("network", "/security-groups", "security_groups")]);
    const names = new Map(groups.map((each) => [each.id, each.name]));
    title(group.name);
    fill(head, bar(button("Rename", () => after(ask({ title: "Change the security group", submit: "Save",
      fields: [{ name: "name", label: "Name", value: group.name, required: true }, { name: "description", label: "Description", value: group.description }],
      run: (values) => api.put("network", `/security-groups/${id}`, { security_group: values }) })))),
    facts([["ID", group.id], ["Description", group.description], ["Stateful", group.stateful ? "yes" : "no"]]));
    rules.update(group.security_group_rules.map((each) => ({ ...each,
      remote: each.remote_group_id ? `group ${names.get(each.remote_group_id) ?? each.remote_group_id}`
        : each.remote_ip_prefix ?? (each.remote_address_group_id ? `address group ${each.remote_address_group_id}` : "all addresses") })));
  });
}

export default {
  id: "security-groups", title: "Security groups", section: "Network", order: 4,
  show: (container, context) => (context.parts[0] ? one(container, context, context.parts[0]) : list(container, context)),
};
