// Questions: a form in a dialog, and "are you sure".
//
// A field is {name, label, type, value?, options?, required?, hint?, when?}: `type` is one of text, password, number,
// textarea, select, choices (several of the options), check, file. `options` are texts or {value, label}. `when(values)`
// says whether it is asked, and may depend on what is answered above it.

import { fill, freshId, h, toast } from "./ui.js";

// Ask for `fields`; `run(values)` does it, and what it throws is shown in the dialog. Resolves with what `run` gave, or
// with undefined when the person changed their mind. Who closes the dialog, or leaves the page, while it is being done is told
// by a message what became of it. A question that comes late, when another one is being answered, is not asked.
export function ask({ title, text = "", fields, submit = "Save", done = "", danger = false, run }) {
  if (document.querySelector("dialog[open]")) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const before = document.activeElement;
    const heading = freshId("dialog");
    const controls = fields.map((field) => control(field, () => look()));
    const problem = h("p", { class: "problem", role: "alert" });
    const send = h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit);
    let result;
    let sent = null;
    const form = h("form", { novalidate: true, onsubmit: answer },
      h("h2", { id: heading, tabindex: "-1" }, title), text && h("p", {}, text), controls.map((each) => each.element), problem,
      h("div", { class: "bar" }, send, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));
    const dialog = h("dialog", { "aria-labelledby": heading, onclose: async () => {
      questions.delete(dialog);
      dialog.remove();
      if (before?.isConnected) before.focus();
      await sent;
      resolve(result);
    } }, form);

    const values = () => Object.fromEntries(controls.map((each) => [each.field.name, each.read()]));
    function look() {
      const now = values();
      for (const each of controls) each.element.hidden = Boolean(each.field.when && !each.field.when(now));
    }

    function answer(event) {
      event.preventDefault();
      if (send.disabled) return;
      const asked = controls.filter((each) => !each.element.hidden);
      const wrong = asked.map((each) => each.judge()).filter(Boolean);
      problem.textContent = wrong.length ? "Some fields need a look." : "";
      if (wrong.length) {
        wrong[0].focus();
        return;
      }
      sent = work(Object.fromEntries(asked.map((each) => [each.field.name, each.read()])));
    }

    async function work(given) {
      send.disabled = true;
      send.setAttribute("aria-busy", "true");
      try {
        result = (await run(given)) ?? null;
        dialog.close();
        if (done) toast(done); // after: what is behind an open dialog is not read aloud
      } catch (error) {
        if (dialog.open && dialog.isConnected) problem.textContent = error.message;
        else if (error.name !== "AbortError") toast(error.message, true);
      } finally {
        send.disabled = false;
        send.removeAttribute("aria-busy");
      }
    }

    questions.add(dialog);
    document.body.append(dialog);
    look();
    dialog.showModal();
    (controls.find((each) => !each.element.hidden)?.first ?? form.querySelector("h2")).focus();
  });
}

const questions = new Set();

// Of a page that is left: what would be answered is not there any more.
export function closeQuestions() {
  for (const each of questions) each.close();
  questions.clear();
}

export const confirm = ({ title, text, submit, done, run }) => ask({ title, text, fields: [], submit, done, danger: true, run });

// Show something in a dialog that has but one answer.
export function show(title, ...children) {
  const before = document.activeElement;
  const heading = freshId("dialog");
  const dialog = h("dialog", { class: "wide", "aria-labelledby": heading, onclose: () => {
    dialog.remove();
    if (before?.isConnected) before.focus();
  } }, h("h2", { id: heading }, title), children,
  h("div", { class: "bar" }, h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// One field: `element` with label, hint and error, `read` its value, `judge` the element that is wrong, if it is.
export function control(field, changed = () => {}) {
  const id = freshId("field");
  const hint = field.hint ? h("p", { class: "hint", id: `${id}-hint` }, field.hint) : null;
  const error = h("p", { class: "problem", id: `${id}-error` });
  const about = [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  const usual = { id, name: field.name, "aria-describedby": about, "aria-required": field.required ? "true" : null,
    oninput: () => changed(), onchange: () => changed() };
  const options = (field.options ?? []).map((each) => (typeof each === "object" ? each : { value: each, label: each }));
  const label = h("label", { for: id }, field.label, field.required && h("span", { class: "must" }, " (needed)"));

  if (field.type === "choices") {
    const boxes = options.map(({ value, label: words }) => {
      const box = h("input", { type: "checkbox", id: freshId("choice"), value, checked: (field.value ?? []).includes(value), onchange: () => changed() });
      return { box, value, line: h("div", { class: "choice" }, box, h("label", { for: box.id }, words)) };
    });
    const element = h("fieldset", { "aria-describedby": about }, h("legend", {}, field.label, field.required && h("span", { class: "must" }, " (needed)")),
      hint, boxes.length ? boxes.map((each) => each.line) : h("p", { class: "hint" }, "There are none."), error);
    const read = () => boxes.filter((each) => each.box.checked).map((each) => each.value);
    const judge = () => {
      const isWrong = field.required && !read().length;
      error.textContent = isWrong ? "Choose at least one." : "";
      return isWrong ? boxes[0]?.box ?? element : null;
    };
    return { field, element, first: boxes[0]?.box ?? element, read, judge };
  }
  if (field.type === "check") {
    const box = h("input", { ...usual, type: "checkbox", checked: Boolean(field.value) });
    const element = h("div", { class: "field" }, h("div", { class: "choice" }, box, label), hint, error);
    return { field, element, first: box, read: () => box.checked, judge: () => null };
  }
  const input = field.type === "select" ? h("select", usual)
    : field.type === "textarea" ? h("textarea", { ...usual, rows: field.rows ?? 5, spellcheck: "false" })
      : h("input", { ...usual, type: field.type ?? "text", min: field.min, max: field.max, autocomplete: field.autocomplete ?? "off" });
  if (field.type === "select") fill(input, options.map(({ value, label: words }) => h("option", { value }, words)));
  if (field.value !== undefined && field.type !== "file") input.value = field.value;
  const element = h("div", { class: "field" }, label, hint, input, error);
  const read = () => {
    if (field.type === "file") return input.files[0] ?? null;
    if (field.type === "number") return input.value === "" ? null : Number(input.value);
    return field.type === "textarea" || field.type === "password" ? input.value : input.value.trim();
  };
  const judge = () => {
    const value = read();
    const isMissing = field.required && (value === "" || value === null);
    const isOdd = field.type === "number" && (input.validity.badInput || Number.isNaN(value));
    error.textContent = isMissing ? "This is needed." : isOdd ? "A number is expected." : "";
    input.setAttribute("aria-invalid", String(isMissing || isOdd));
    return isMissing || isOdd ? input : null;
  };
  return { field, element, first: input, read, judge, input };
}
