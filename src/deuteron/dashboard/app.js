// The page: log in, navigation, and one panel at a time, named by the part of the address behind `#`.
//
//   #/servers            the panel "servers"
//   #/servers/<id>       the same, with what follows in `context.parts`
//
// A panel is a module of `panels/` whose default is {id, title, section, order, admin?, show(container, context)}. `context` has
//
//   api        get, post, put, patch, delete, all: see api.js; of this page
//   session    user, project, isAdmin
//   parts      what follows the panel's name in the address
//   go(hash)   leave for another page, unless somebody did already
//   title(t)   what this page is called, where it is about one object
//   every(f)   run `f` now, and again when something changed that this project sees; awaits the first time
//   signal     aborted when the page is left

import { Api } from "./api.js";
import { closeQuestions } from "./dialog.js";
import { Feed } from "./feed.js";
import { logIn } from "./login.js";
import * as modules from "./panels/index.js";
import { Session } from "./session.js";
import { button, fill, freshId, h, toasts } from "./ui.js";

export const SECTIONS = ["Project", "Network", "Storage", "Administration"];
const panels = Object.values(modules).sort((one, other) =>
  SECTIONS.indexOf(one.section) - SECTIONS.indexOf(other.section) || one.order - other.order);

const session = new Session();
const feed = new Feed(session);
let page = null; // the AbortController of the panel that is shown
let main = null;

function themed() {
  const chosen = localStorage.getItem("deuteron.theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
}

function turnTheme() {
  const now = document.documentElement.dataset.theme
    ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  localStorage.setItem("deuteron.theme", now === "dark" ? "light" : "dark");
  themed();
}

const allowed = () => panels.filter((panel) => !panel.admin || session.isAdmin);

function go(hash) {
  if (location.hash === hash) void showPanel();
  else location.hash = hash;
}

function navigation() {
  const id = freshId("menu");
  const lists = SECTIONS.map((section) => {
    const here = allowed().filter((panel) => panel.section === section && panel.title);
    const heading = freshId("section");
    return here.length > 0 && h("div", {}, h("h2", { id: heading }, section), h("ul", { "aria-labelledby": heading },
      here.map((panel) => h("li", {}, h("a", { href: `#/${panel.id}`, "data-panel": panel.id }, panel.title)))));
  });
  const toggle = h("button", { type: "button", class: "menu", "aria-expanded": "false", "aria-controls": id, onclick: () => {
    toggle.setAttribute("aria-expanded", String(toggle.getAttribute("aria-expanded") !== "true"));
  } }, "Menu");
  return [toggle, h("nav", { id, "aria-label": "Main" }, lists)];
}

function projectChoice() {
  const id = freshId("project");
  const select = h("select", { id, onchange: async () => {
    const before = location.hash;
    main.inert = true; // what is pressed would be done in the project that is left
    try {
      // What is shown may not be of this project; but who went to another page meanwhile stays there.
      if (await session.change(select.value) && location.hash === before) location.hash = "#/overview";
    } catch (error) {
      session.forget(error.message);
    }
  } }, session.projects.map((each) => h("option", { value: each.id, selected: each.id === session.project.id }, each.name)));
  return [h("label", { for: id }, "Project"), select];
}

// Whoever logs in next begins at the beginning; after a session that ended, where it was.
function logOut() {
  history.replaceState(null, "", "#/overview");
  return session.close();
}

// The whole page anew: somebody logged in, out, or went to another project.
function build() {
  page?.abort();
  closeQuestions();
  themed();
  main = h("main", { id: "main", tabindex: "-1" });
  const skip = h("a", { class: "skip", href: "#main", onclick: (event) => {
    event.preventDefault();
    main.focus();
  } }, "Skip to the content");
  const theme = button("Dark or light", turnTheme);
  const header = h("header", { class: "top" }, h("a", { class: "name", href: "#/overview" }, "Deuteron"), h("span", { class: "space" }),
    session.isOpen && [projectChoice(), h("span", { class: "user" }, session.user.name)], theme,
    session.isOpen && button("Log out", logOut));
  fill(document.body, skip, header, h("div", { class: "below" }, session.isOpen && navigation(), main), toasts());
  if (session.isOpen) {
    feed.start();
    void showPanel();
  } else {
    feed.stop();
    document.title = "Log in – Deuteron";
    logIn(main, session);
  }
}

async function showPanel() {
  if (!session.isOpen) return;
  page?.abort();
  closeQuestions();
  const mine = new AbortController();
  page = mine;
  const [id, ...parts] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  const panel = allowed().find((each) => each.id === (id || "overview"));
  for (const each of document.querySelectorAll("nav a")) {
    if (each.dataset.panel === panel?.id) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  document.querySelector("button.menu")?.setAttribute("aria-expanded", "false");
  const heading = h("h1", { tabindex: "-1" });
  const problem = h("p", { class: "problem", role: "alert" });
  const container = h("div", { class: "panel" });
  main.replaceChildren(heading, problem, container);
  main.dataset.page = [id || "overview", ...parts].join("/");
  const title = (text) => {
    if (mine.signal.aborted) return;
    heading.textContent = text;
    document.title = `${text} – Deuteron`;
  };
  title(panel ? panel.title || id : "There is no such page");
  heading.focus();
  if (!panel) {
    container.append(h("p", {}, "It may be an administrator's. ", h("a", { href: "#/overview" }, "Go to the overview")));
    return;
  }
  const say = (error) => {
    if (!mine.signal.aborted) problem.textContent = error ? error.message : "";
  };
  const every = (look) => feed.every(look, mine.signal, say);
  const api = new Api(session, mine.signal);
  const leave = (hash) => {
    if (!mine.signal.aborted) go(hash);
  };
  container.setAttribute("aria-busy", "true");
  try {
    await panel.show(container, { api, session, parts, go: leave, title, every, signal: mine.signal });
  } catch (error) {
    say(error);
  } finally {
    container.removeAttribute("aria-busy");
    performance.mark("shown");
  }
}

function decoded(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

session.addEventListener("change", build);
window.addEventListener("hashchange", () => void showPanel());
build();
