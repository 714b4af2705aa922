// Who is logged in: Keystone's password method, then a token of one project.
//
// The token is kept in memory, and in this tab's sessionStorage so that a reload keeps it: neither is read by a script of
// another origin, and both end with the tab (decision 0035). It is sent in a header, never in an address or a cookie, so
// no other page can make this browser use it.
//
// Invariant: the answer to what was asked before the last change of it (another project, log out) changes nothing.

import { ApiError, problemOf } from "./problem.js";

const KEY = "deuteron.session";
const TOKENS = "/identity/v3/auth/tokens";

export class Session extends EventTarget {
  constructor(storage = window.sessionStorage) {
    super();
    this.storage = storage;
    this.turn = 0; // which change is the last
    this.state = this.read();
  }

  read() {
    try {
      const found = JSON.parse(this.storage.getItem(KEY));
      return found && typeof found.token === "string" && new Date(found.expires) > new Date() ? found : null;
    } catch {
      return null;
    }
  }

  get token() { return this.state?.token ?? null; }
  get user() { return this.state?.user ?? null; }
  get project() { return this.state?.project ?? null; }
  get projects() { return this.state?.projects ?? []; }
  get roles() { return this.state?.roles ?? []; }
  get isAdmin() { return this.roles.includes("admin"); }
  get isOpen() { return this.token !== null; }

  // Log in by name and password. Throws ApiError in Keystone's words.
  async open(user, password, domain) {
    const identity = { methods: ["password"], password: { user: { name: user, domain: { name: domain }, password } } };
    const first = await ask(identity, "unscoped");
    const projects = await projectsOf(first.token);
    if (!projects.length) {
      throw new ApiError(403, "This user has a role in no project, so there is nothing to show.");
    }
    const wanted = projects.find((each) => each.id === first.about.user.default_project_id) ?? projects[0];
    await this.enter(first.token, wanted, projects);
  }

  // Go to another project of the user. Resolves with whether it is the session's then: not so when somebody logged out, or
  // chose yet another, meanwhile.
  async change(projectId) {
    const wanted = this.projects.find((each) => each.id === projectId);
    return Boolean(wanted) && this.enter(this.token, wanted, this.projects);
  }

  async enter(token, project, projects) {
    const mine = (this.turn += 1);
    let found;
    try {
      found = await ask({ methods: ["token"], token: { id: token } }, { project: { id: project.id } });
    } catch (error) {
      if (mine !== this.turn) return false;
      throw error;
    }
    const { token: scoped, about } = found;
    if (mine !== this.turn) {
      void revoke(scoped);
      return false;
    }
    this.state = {
      token: scoped, expires: about.expires_at, projects,
      user: { id: about.user.id, name: about.user.name },
      project: { id: about.project.id, name: about.project.name, domain: about.project.domain.name },
      roles: about.roles.map((role) => role.name),
    };
    this.storage.setItem(KEY, JSON.stringify(this.state));
    this.dispatchEvent(new Event("change"));
    return true;
  }

  // Log out: the token is revoked, as far as the server can be reached.
  async close() {
    const { token } = this;
    this.forget("");
    if (token) await revoke(token);
  }

  // The token is no longer good; `why` is shown above the log-in form.
  forget(why) {
    this.turn += 1;
    this.state = null;
    this.why = why;
    this.storage.removeItem(KEY);
    this.dispatchEvent(new Event("change"));
  }
}

const revoke = (token) =>
  fetch(TOKENS, { method: "DELETE", headers: { "X-Auth-Token": token, "X-Subject-Token": token } }).catch(() => {});

async function ask(identity, scope) {
  const response = await fetch(TOKENS, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ auth: { identity, scope } }),
  });
  if (!response.ok) throw await problemOf(response);
  return { token: response.headers.get("X-Subject-Token"), about: (await response.json()).token };
}

async function projectsOf(token) {
  const response = await fetch("/identity/v3/auth/projects", { headers: { "X-Auth-Token": token } });
  if (!response.ok) throw await problemOf(response);
  const { projects } = await response.json();
  return projects
    .map(({ id, name }) => ({ id, name }))
    .sort((one, other) => one.name.localeCompare(other.name));
}
