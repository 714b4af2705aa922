// The pages, one line each. Their places in the navigation are said by their own `section` and `order`.

export { default as overview } from "./overview.js";
export { default as servers } from "./servers.js";
export { default as keypairs } from "./keypairs.js";
export { default as topology } from "./topology.js";
export { default as networks } from "./networks.js";
export { default as routers } from "./routers.js";
export { default as floatingIps } from "./floating-ips.js";
export { default as securityGroups } from "./security-groups.js";
export { default as volumes } from "./volumes.js";
export { default as snapshots } from "./snapshots.js";
export { default as images } from "./images.js";
export { default as allServers } from "./all-servers.js";
export { default as hypervisors } from "./hypervisors.js";
export { default as agents } from "./agents.js";
export { default as projects } from "./projects.js";
export { default as users } from "./users.js";
export { default as quotas } from "./quotas.js";
export { default as differences } from "./differences.js";
export { default as fabric } from "./fabric.js";
