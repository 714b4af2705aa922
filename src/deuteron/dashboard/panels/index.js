// The pages, one line each. Their places in the navigation are said by their own `section` and `order`.

export { default as overview } from "./overview.js";
export { default as servers } from "./servers.js";
