// The user's key pairs. A private key is shown once, in the answer that made it, and is kept nowhere.

import { ask, confirm, show } from "../dialog.js";
import { table } from "../table.js";
import { button, h, note } from "../ui.js";

const GENERATES = "2.91"; // the last version of Compute that makes keys itself

export default {
  id: "keypairs", title: "Key pairs", section: "Project", order: 3,
  async show(container, { api, session, every }) {
    const user = session.user.id;
    let look = async () => {};
    const list = table({
      caption: "Key pairs", key: (row) => row.name, empty: "There are no key pairs yet.",
      columns: [
        { title: "Name", value: (row) => row.name },
        { title: "Type", value: (row) => row.type },
        { title: "Fingerprint", value: (row) => row.fingerprint },
      ],
      actions: (row) => [{ label: "Delete", danger: true, run: () => confirm({
        title: `Delete the key pair ${row.name}?`, text: "Servers that were made with it keep its public key.", submit: "Delete",
        done: `${row.name} is deleted.`, run: () => api.delete("compute", `/os-keypairs/${encodeURIComponent(row.name)}`),
      }).then(() => look()) }],
      tools: [
        button("Create key pair", async () => {
          const made = await ask({
            title: "Create a key pair", submit: "Create", fields: [{ name: "name", label: "Name", required: true }],
            run: async ({ name }) => (await api.post("compute", "/os-keypairs", { keypair: { name } }, GENERATES)).keypair,
          });
          // Whoever is before the screen after somebody logged out is not shown it.
          if (made && session.user?.id === user) privateKey(made);
          await look();
        }, { primary: true }),
        button("Import public key", async () => {
          await ask({
            title: "Import a public key", submit: "Import", done: "The key is imported.",
            fields: [{ name: "name", label: "Name", required: true },
              { name: "key", label: "Public key", type: "textarea", required: true, hint: "A line that begins with ssh-ed25519, ssh-rsa, …" }],
            run: ({ name, key }) => api.post("compute", "/os-keypairs", { keypair: { name, public_key: key.trim() } }, GENERATES),
          });
          await look();
        }),
      ],
    });
    container.append(list.element);
    look = await every(async () => {
      const { keypairs } = await api.get("compute", "/os-keypairs");
      list.update(keypairs.map((each) => each.keypair));
    });
  },
};

function privateKey(made) {
  const address = URL.createObjectURL(new Blob([made.private_key], { type: "application/x-pem-file" }));
  const dialog = show(`The private key of ${made.name}`, note("It is shown this once: save it now. Nobody else has it."),
    h("pre", { tabindex: "0", "aria-label": "Private key" }, made.private_key),
    h("p", {}, h("a", { href: address, download: `${made.name.replace(/[^\w.-]/g, "_")}.pem` }, "Save as a file")));
  dialog.addEventListener("close", () => URL.revokeObjectURL(address));
}
