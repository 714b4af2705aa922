// Users of the cloud.

import { named, none } from "../choices.js";
import { ask, confirm } from "../dialog.js";
import { table } from "../table.js";
import { badge, button } from "../ui.js";

export default {
  id: "users", title: "Users", section: "Administration", order: 6, admin: true,
  async show(container, { api, session, every }) {
    let look = async () => {};
    const after = (work) => work.then(() => look());
    const list = table({
      caption: "Users", key: (row) => row.id,
      columns: [
        { title: "Name", value: (row) => row.name },
        { title: "Description", value: (row) => row.description },
        { title: "Domain", value: (row) => row.domain_id },
        { title: "Enabled", value: (row) => (row.enabled ? "yes" : "no"), cell: (row) => badge(row.enabled) },
        { title: "ID", value: (row) => row.id },
      ],
      actions: (row) => [
        { label: "Set password", run: () => after(ask({ title: `A new password for ${row.name}`, submit: "Save", done: "The password is set.",
          fields: [{ name: "password", label: "New password", type: "password", required: true, autocomplete: "new-password" }],
          run: (user) => api.patch("identity", `/users/${row.id}`, { user }) })) },
        row.id !== session.user.id && { label: row.enabled ? "Disable" : "Enable", run: () => after(confirm({ title: `${row.enabled ? "Disable" : "Enable"} ${row.name}?`,
          text: row.enabled ? "Their tokens end." : "They can log in again.", submit: row.enabled ? "Disable" : "Enable", done: "It is done.",
          run: () => api.patch("identity", `/users/${row.id}`, { user: { enabled: !row.enabled } }) })) },
        row.id !== session.user.id && { label: "Delete", danger: true, run: () => after(confirm({ title: `Delete the user ${row.name}?`, text: "What they made in projects stays.", submit: "Delete",
          done: "The user is deleted.", run: () => api.delete("identity", `/users/${row.id}`) })) }],
      tools: [button("Create user", async () => {
        const [{ projects }, { roles }] = await Promise.all([api.get("identity", "/projects"), api.get("identity", "/roles")]);
        await after(ask({ title: "Create a user", submit: "Create", done: "The user is created.", fields: [
          { name: "name", label: "Name", required: true },
          { name: "password", label: "Password", type: "password", required: true, autocomplete: "new-password" },
          { name: "project", label: "Project", type: "select", options: [none("none yet"), ...named(projects)] },
          { name: "role", label: "Role there", type: "select", options: named(roles), value: roles.find((each) => each.name === "member")?.id, when: (values) => values.project }],
        run: async ({ name, password, project, role }) => {
          const { user } = await api.post("identity", "/users", { user: { name, password, ...(project ? { default_project_id: project } : {}) } });
          if (project) await api.put("identity", `/projects/${project}/users/${user.id}/roles/${role}`);
        } }));
      }, { primary: true })],
    });
    container.append(list.element);
    look = await every(async () => list.update((await api.get("identity", "/users")).users));
  },
};
