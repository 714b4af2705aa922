// What a server may be asked, as its state allows it; the service has the last word.

import { flavors, images } from "../choices.js";
import { ask, confirm } from "../dialog.js";
import { button } from "../ui.js";

const CONSOLES = [["VNC", "vnc", "novnc"], ["SPICE", "spice", "spice-html5"], ["Terminal", "serial", "serial"]];

// A console is opened in a window of its own, which hears nothing of this one.
async function openConsole(api, id, protocol, type) {
  const { remote_console: found } = await api.post("compute", `/servers/${id}/remote-consoles`, { remote_console: { protocol, type } });
  if (api.signal.aborted) return; // who left the page, or logged out, is shown no console of it
  const url = new URL(found.url);
  // The address of a terminal is a WebSocket's: the page that speaks to it has the same one.
  if (url.protocol === "ws:") url.protocol = "http:";
  if (url.protocol === "wss:") url.protocol = "https:";
  if (url.origin !== location.origin) throw new Error(`The console is at another place, ${url.origin}, which is not opened from here.`);
  window.open(url.href, "_blank", "noopener,noreferrer");
}

export function actionsOf({ api, session, server, after, go }) {
  const { id, status } = server;
  const act = (body) => api.post("compute", `/servers/${id}/action`, body);
  const is = (...states) => states.includes(status);
  const sure = (label, text, body, done) => button(label, () => after(confirm({ title: `${label} ${server.name}?`, text, submit: label, done, run: () => act(body) })));
  const now = (label, body) => button(label, () => after(act(body)));
  const others = [
    is("SHUTOFF") && now("Start", { "os-start": null }),
    is("ACTIVE") && sure("Stop", "The guest is asked to shut down.", { "os-stop": null }, "The server is being stopped."),
    is("ACTIVE") && sure("Reboot", "The guest is asked to start again.", { reboot: { type: "SOFT" } }, "The server starts again."),
    is("ACTIVE", "SHUTOFF", "ERROR") && sure("Hard reboot", "As if the power were cut and came back.", { reboot: { type: "HARD" } }, "The server starts again."),
    is("ACTIVE") && now("Pause", { pause: null }),
    is("PAUSED") && now("Unpause", { unpause: null }),
    is("ACTIVE") && now("Suspend", { suspend: null }),
    is("SUSPENDED") && now("Resume", { resume: null }),
    is("ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED") && sure("Shelve", "It gives its host's memory back, and keeps its disk.", { shelve: null }, "The server is being shelved."),
    is("SHELVED", "SHELVED_OFFLOADED") && now("Unshelve", { unshelve: null }),
    is("VERIFY_RESIZE") && now("Confirm resize", { confirmResize: null }),
    is("VERIFY_RESIZE") && now("Revert resize", { revertResize: null }),
    is("RESCUE") && now("Unrescue", { unrescue: null }),
    is("ACTIVE", "SHUTOFF") && sure("Rescue", "It boots from a rescue disk, with its own beside it.", { rescue: {} }, "The server is being rescued."),
    server.locked ? now("Unlock", { unlock: null }) : now("Lock", { lock: null }),
    is("ACTIVE", "SHUTOFF") && button("Resize", async () => after(ask({ title: `Resize ${server.name}`, submit: "Resize", done: "The server is being resized.",
      fields: [{ name: "flavorRef", label: "New flavor", type: "select", options: await flavors(api), required: true }], run: (resize) => act({ resize }) }))),
    is("ACTIVE", "SHUTOFF", "ERROR") && button("Rebuild", async () => after(ask({ title: `Rebuild ${server.name}`, danger: true, submit: "Rebuild", done: "The server is being rebuilt.",
      text: "What is on its disk is lost.", fields: [{ name: "imageRef", label: "Image", type: "select", options: await images(api), required: true }], run: (rebuild) => act({ rebuild }) }))),
    is("ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED") && button("Create image", () => after(ask({ title: `An image of ${server.name}`, submit: "Create", done: "The image is being made.",
      fields: [{ name: "name", label: "Image name", required: true }], run: (createImage) => act({ createImage }) }))),
    button("Rename", () => after(ask({ title: "Rename the server", submit: "Save", fields: [{ name: "name", label: "Server name", value: server.name, required: true }],
      run: (values) => api.put("compute", `/servers/${id}`, { server: values }) }))),
    session.isAdmin && is("ACTIVE", "SHUTOFF") && button("Migrate", () => after(ask({ title: `Move ${server.name} to another host`, submit: "Move", done: "The server moves.",
      fields: [{ name: "host", label: "Host", hint: "Empty: the cloud chooses." }],
      run: ({ host }) => act(status === "ACTIVE" ? { "os-migrateLive": { host: host || null, block_migration: "auto" } } : { migrate: { host: host || null } }) }))),
    button("Delete", () => confirm({ title: `Delete the server ${server.name}?`, text: "Its disk goes with it, volumes stay unless they were made to go.",
      submit: "Delete", done: `${server.name} is being deleted.`, run: async () => {
        await api.delete("compute", `/servers/${id}`);
        go("#/servers");
      } }), { danger: true }),
  ];
  const consoles = is("ACTIVE", "PAUSED", "RESCUE") ? CONSOLES.map(([label, protocol, type]) =>
    button(`${label} console`, () => openConsole(api, id, protocol, type))) : [];
  return [...consoles, ...others];
}
