// What a person finds on a page: things that are seen, by their role and the words that name them. Of an open dialog,
// those in it alone: nothing else can be reached.
const ROLES = {
  button: "button, summary",
  link: "a[href]",
  field: "input, select, textarea",
  check: "input[type=checkbox]",
};
function nameOf(element) {
  const label = element.getAttribute("aria-label")
    || (element.labels && element.labels.length ? element.labels[0].innerText : element.innerText);
  return (label || "").replace(" (needed)", "").replace(/\s+/g, " ").trim();
}
function find(role, name) {
  const open = [...document.querySelectorAll("dialog[open]")].pop();
  const seen = [...(open || document).querySelectorAll(ROLES[role])].filter((each) => each.checkVisibility({ visibilityProperty: true }));
  return seen.find((each) => nameOf(each) === name) || seen.find((each) => nameOf(each).startsWith(name)) || null;
}
function choose(select, words) {
  if (!select) return false;
  const option = [...select.options].find((each) => each.label.trim() === words) || [...select.options].find((each) => each.label.trim().startsWith(words));
  if (!option) return false;
  select.value = option.value;
  select.dispatchEvent(new Event("input", { bubbles: true }));
  select.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}
