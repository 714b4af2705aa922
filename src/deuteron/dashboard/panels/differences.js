// What `deuteron diff` says: how each host differs from what it should be, as its agent sees it when it is asked.

import { table } from "../table.js";
import { badge, bar, button, fill, h, note } from "../ui.js";

export default {
  id: "differences", title: "Differences", section: "Administration", order: 4, admin: true,
  async show(container, { api, signal }) {
    const state = h("div", { role: "status" });
    const list = table({
      caption: "Differences of hosts", key: (row) => row.key, empty: "Nothing differs.",
      columns: [
        { title: "Host", value: (row) => row.host },
        { title: "Kind", value: (row) => row.kind },
        { title: "Table", value: (row) => row.table },
        { title: "What", value: (row) => row.words },
      ],
    });
    let asked = 0;
    const look = async () => {
      const mine = (asked += 1);
      fill(state, note("The hosts are asked…"));
      const { hosts } = await api.get("dashboard", "/hosts");
      const rows = [];
      const states = await Promise.all(hosts.map(async ({ name }) => {
        try {
          const { differences } = await api.get("dashboard", `/hosts/${encodeURIComponent(name)}/differences`);
          differences.forEach((each, index) => rows.push({ ...each, host: name, key: `${name} ${index}` }));
          return [name, differences.length ? "differs" : "as it should be", differences.length ? "" : "good"];
        } catch (error) {
          return [name, error.message, "bad"];
        }
      }));
      if (signal.aborted || mine !== asked) return; // who asked again sees what was answered to that
      fill(state, h("ul", {}, states.map(([name, words, kind]) => h("li", {}, `${name}: `, kind === "good" ? "everything is as it should be" : kind ? h("span", { class: "problem" }, words) : badge("differs")))));
      list.update(rows);
    };
    container.append(note("Wanted against actual, as the host's agent sees it now. The agent mends what it finds by itself; what stays here is what it cannot mend, or what was changed by hand a moment ago."),
      bar(button("Ask again", look, { primary: true })), state, list.element);
    await look();
  },
};
