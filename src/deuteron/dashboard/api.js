// HTTP to the services of the same server, with the session's token.
//
// Each page has its own: its requests are those of who was logged in, and of the project, when it was shown, whoever it is
// when they are sent, so that all of a form is done in one project. What a page reads ends with `signal`, when it is left,
// with an AbortError; what it asked to be done is done.

import { ApiError, problemOf } from "./problem.js";

// Where each service is, and how a request names its microversion.
const SERVICES = {
  identity: { root: () => "/identity/v3" },
  network: { root: () => "/network/v2.0" },
  compute: { root: () => "/compute/v2.1", version: (number) => ["OpenStack-API-Version", `compute ${number}`], usual: "2.96" },
  image: { root: () => "/image/v2" },
  volume: {
    root: (project) => `/volume/v3/${project}`,
    version: (number) => ["OpenStack-API-Version", `volume ${number}`], usual: "3.71",
  },
  placement: {
    root: () => "/placement", version: (number) => ["OpenStack-API-Version", `placement ${number}`], usual: "1.39",
  },
  dashboard: { root: () => "/dashboard" },
};

const PAGE = 1000;
const MOST_PAGES = 50;

export class Api {
  constructor(session, signal) {
    this.session = session;
    this.signal = signal;
    this.token = session.token;
    this.project = session.project;
  }

  get(service, path, microversion) { return this.send("GET", service, path, undefined, microversion); }
  delete(service, path, microversion) { return this.send("DELETE", service, path, undefined, microversion); }
  post(service, path, body, microversion) { return this.send("POST", service, path, body, microversion); }
  put(service, path, body, microversion) { return this.send("PUT", service, path, body, microversion); }
  patch(service, path, body, microversion) { return this.send("PATCH", service, path, body, microversion); }

  // All of a collection, page by page. `name` is its key in the answer.
  async all(service, path, name, microversion) {
    const found = [];
    let next = `${path}${path.includes("?") ? "&" : "?"}limit=${PAGE}`;
    const { pathname } = new URL(path, "http://x");
    for (let page = 0; next && page < MOST_PAGES; page += 1) {
      const body = await this.get(service, next, microversion);
      const items = body[name] ?? [];
      found.push(...items);
      const link = typeof body.next === "string" ? body.next : body[`${name}_links`]?.find((each) => each.rel === "next")?.href;
      // Only the query of the link is taken: where the service is, we know.
      next = link && items.length ? pathname + new URL(link, location.origin).search : null;
    }
    return found;
  }

  // Send one request. A body that is a Blob goes as it is. Throws ApiError; a 401 also ends the session.
  async send(method, service, path, body, microversion, type) {
    const { root, version, usual } = SERVICES[service];
    const headers = { "X-Auth-Token": this.token ?? "", Accept: "application/json" };
    if (version) {
      const [name, value] = version(microversion ?? usual);
      headers[name] = value;
    }
    const isRaw = body instanceof Blob;
    if (body !== undefined) headers["Content-Type"] = type ?? (isRaw ? "application/octet-stream" : "application/json");
    const signal = method === "GET" ? this.signal : null;
    let response;
    try {
      response = await fetch(root(this.project?.id) + path, {
        method, headers, body: body === undefined || isRaw ? body : JSON.stringify(body), cache: "no-store", redirect: "error", signal,
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw new ApiError(0, `The server cannot be reached: ${error.message}`);
    }
    if (response.status === 401) {
      if (this.token === this.session.token) this.session.forget("Your session has ended; log in again.");
      throw await problemOf(response);
    }
    if (!response.ok) throw await problemOf(response);
    if (response.status === 204 || response.headers.get("Content-Length") === "0") return null;
    const kind = response.headers.get("Content-Type") ?? "";
    return kind.includes("json") ? response.json() : response.text();
  }
}
