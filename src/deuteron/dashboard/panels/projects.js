// Projects, and who has which role in them.

import { named } from "../choices.js";
import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, bar, button, facts, fill, h, link, part } from "../ui.js";

const forTold = (text) => ({ title: text, submit: "Save" });

function list(container, { api, every }) {
  let look = async () => {};
  const after = (work) => work.then(() => look());
  const made = table({
    caption: "Projects", key: (row) => row.id,
    columns: [
      { title: "Name", value: (row) => row.name, cell: (row) => link(row.name, `#/projects/${row.id}`) },
      { title: "Description", value: (row) => row.description },
      { title: "Domain", value: (row) => row.domain },
      { title: "Enabled", value: (row) => (row.enabled ? "yes" : "no"), cell: (row) => badge(row.enabled) },
    ],
    actions: (row) => [
      { label: "Edit", run: () => after(ask({ ...forTold(`Edit ${row.name}`), fields: [
        { name: "name", label: "Name", value: row.name, required: true }, { name: "description", label: "Description", value: row.description },
        { name: "enabled", label: "Enabled", type: "check", value: row.enabled }],
      run: (project) => api.patch("identity", `/projects/${row.id}`, { project }) })) },
      { label: "Delete", danger: true, run: () => after(confirm({ title: `Delete the project ${row.name}?`, text: "What it owns is left without an owner: delete that before.",
        submit: "Delete", done: "The project is deleted.", run: () => api.delete("identity", `/projects/${row.id}`) })) }],
    tools: [button("Create project", async () => {
      const { domains } = await api.get("identity", "/domains");
      await after(ask({ title: "Create a project", submit: "Create", done: "The project is created.", fields: [
        { name: "name", label: "Name", required: true }, { name: "description", label: "Description" },
        { name: "domain_id", label: "Domain", type: "select", options: named(domains), value: "default" }],
      run: (project) => api.post("identity", "/projects", { project }) }));
    }, { primary: true })],
  });
  container.append(made.element);
  return every(async () => {
    const [{ projects }, { domains }] = await Promise.all([api.get("identity", "/projects"), api.get("identity", "/domains")]);
    const names = new Map(domains.map((each) => [each.id, each.name]));
    made.update(projects.map((each) => ({ ...each, domain: names.get(each.domain_id) ?? each.domain_id })));
  }).then((again) => { look = again; });
}

async function one(container, { api, every, title }, id) {
  let look = async () => {};
  const after = (work) => work.then(() => look());
  const head = h("div");
  const who = table({
    caption: "Members", key: (row) => `${row.kind} ${row.who} ${row.role}`, name: (row) => `${row.roleName} of ${row.name}`, empty: "Nobody has a role in it.",
    columns: [
      { title: "User or group", value: (row) => row.name },
      { title: "Kind", value: (row) => (row.kind === "users" ? "user" : "group") },
      { title: "Role", value: (row) => row.roleName },
    ],
    actions: (row) => [{ label: "Take", danger: true, run: () => after(confirm({ title: `Take the role ${row.roleName} from ${row.name}?`, text: "Their tokens of this project end.",
      submit: "Take", done: "The role is taken.", run: () => api.delete("identity", `/projects/${id}/${row.kind}/${row.who}/roles/${row.role}`) })) }],
    tools: [button("Give a role", async () => {
      const [{ users }, { roles }] = await Promise.all([api.get("identity", "/users"), api.get("identity", "/roles")]);
      await after(ask({ title: "Give a role", submit: "Give", done: "The role is given.", fields: [
        { name: "user", label: "User", type: "select", options: named(users), required: true },
        { name: "role", label: "Role", type: "select", options: named(roles), required: true }],
      run: ({ user, role }) => api.put("identity", `/projects/${id}/users/${user}/roles/${role}`) }));
    }, { primary: true })],
  });
  container.append(head, part("Members", who.element));
  look = await every(async () => {
    const [{ project }, { role_assignments: found }] = await Promise.all([
      api.get("identity", `/projects/${id}`), api.get("identity", `/role_assignments?scope.project.id=${id}&include_names=True`)]);
    title(`Project ${project.name}`);
    fill(head, bar(link("Quotas", `#/quotas/${id}`)),
      facts([["ID", project.id], ["Description", project.description], ["Enabled", badge(project.enabled)], ["Domain", project.domain_id]]));
    who.update(found.map((each) => ({ kind: each.user ? "users" : "groups", who: (each.user ?? each.group).id, name: (each.user ?? each.group).name,
      role: each.role.id, roleName: each.role.name })));
  });
}

export default {
  id: "projects", title: "Projects", section: "Administration", order: 5, admin: true,
  show: (container, context) => (context.parts[0] ? one(container, context, context.parts[0]) : list(container, context)),
};
