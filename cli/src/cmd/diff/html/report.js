"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("live");
  const all = (selector, inside = document) => Array.from(inside.querySelectorAll(selector));
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // What there is to filter: each section's table, with the text of each row, read once.
  const tables = all("section table").map((table) => {
    const section = table.closest("section");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => {
      const word = row.querySelector(".pill");
      return { row, text: row.textContent.toLowerCase(), word: word ? word.textContent : "" };
    });
    return { section, table, body, rows, words: new Set() };
  });

  const search = document.getElementById("search");
  const found = document.getElementById("found");

  function filter() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    let total = 0;
    let any = wanted.length > 0;
    for (const { section, rows, words } of tables) {
      let here = 0;
      any = any || words.size > 0;
      for (const { row, text, word } of rows) {
        const fits =
          wanted.every((part) => text.includes(part)) && (words.size === 0 || words.has(word));
        row.hidden = !fits;
        here += fits ? 1 : 0;
      }
      // A section that a chip emptied stays, or the chip could not be let go of.
      section.hidden = wanted.length > 0 && here === 0 && words.size === 0;
      shown += here;
      total += rows.length;
    }
    found.textContent = any ? `${shown.toLocaleString("en")} of ${total.toLocaleString("en")} rows` : "";
  }

  // A table is sorted by a column, up, down, and as it came.
  function sort({ table, body, rows }, column) {
    const heads = Array.from(table.tHead.rows[0].cells);
    const before = heads[column].getAttribute("aria-sort");
    const next = before === null ? "ascending" : before === "ascending" ? "descending" : null;
    for (const head of heads) head.removeAttribute("aria-sort");
    let order = rows;
    if (next !== null) {
      heads[column].setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const keyed = rows.map((item) => {
        const cell = item.row.cells[column];
        const value = cell.dataset.value;
        return { item, number: value === undefined ? NaN : Number(value), text: cell.textContent };
      });
      keyed.sort((a, b) =>
        sign * (Number.isNaN(a.number) ? collator.compare(a.text, b.text) : a.number - b.number),
      );
      order = keyed.map(({ item }) => item);
    }
    body.append(...order.map(({ row }) => row));
  }

  for (const one of tables) {
    all("th button", one.table).forEach((button, column) => {
      button.addEventListener("click", () => sort(one, column));
    });
    for (const chip of all(".chip", one.section)) {
      chip.addEventListener("click", () => {
        const word = chip.dataset.word;
        if (!one.words.delete(word)) one.words.add(word);
        chip.setAttribute("aria-pressed", String(one.words.has(word)));
        filter();
      });
    }
  }

  if (search) {
    search.addEventListener("input", filter);
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && document.activeElement !== search) {
        event.preventDefault();
        search.focus();
      } else if (event.key === "Escape" && document.activeElement === search) {
        search.value = "";
        filter();
      }
    });
    document.getElementById("theme").addEventListener("click", () => {
      // The other one, and back to what the system says.
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      if (root.dataset.theme) delete root.dataset.theme;
      else root.dataset.theme = dark ? "light" : "dark";
    });
  }

  // Paper cannot be unfolded.
  addEventListener("beforeprint", () => {
    for (const fold of all("details")) fold.open = true;
  });
})();
