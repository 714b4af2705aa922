// The log-in form.

import { control } from "./dialog.js";
import { fill, h } from "./ui.js";

export function logIn(main, session) {
  const fields = [
    control({ name: "user", label: "User", required: true, autocomplete: "username" }),
    control({ name: "password", label: "Password", type: "password", required: true, autocomplete: "current-password" }),
    control({ name: "domain", label: "Domain", value: "Default", required: true }),
  ];
  const problem = h("p", { class: "problem", role: "alert" }, session.why ?? "");
  const send = h("button", { type: "submit", class: "primary" }, "Log in");
  const form = h("form", { class: "login", novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    const wrong = fields.map((each) => each.judge()).filter(Boolean);
    if (wrong.length) {
      wrong[0].focus();
      return;
    }
    send.disabled = true;
    problem.textContent = "";
    const [user, password, domain] = fields.map((each) => each.read());
    try {
      await session.open(user, password, domain);
    } catch (error) {
      problem.textContent = error.message;
      send.disabled = false;
      fields[1].first.focus();
    }
  } }, h("h1", { tabindex: "-1" }, "Log in"), fields.map((each) => each.element), problem, send);
  fill(main, form);
  fields[0].first.focus();
}
