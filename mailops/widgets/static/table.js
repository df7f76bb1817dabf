function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "mo-table";
  el.append(root);
  const button = (text, label, enabled, act) => {
    const b = document.createElement("button");
    b.type = "button"; b.textContent = text; b.disabled = !enabled;
    if (label) b.setAttribute("aria-label", label);
    b.addEventListener("click", act);
    return b;
  };
  function select(ids) { model.set("selected", ids); model.save_changes(); marks(); }
  function marks() {
    const chosen = new Set(model.get("selected"));
    root.querySelectorAll("input[data-id]").forEach((i) => {
      i.checked = chosen.has(Number(i.dataset.id));
      i.closest("tr").classList.toggle("mo-on", i.checked);
    });
    const note = root.querySelector(".mo-selected");
    if (note) note.textContent = chosen.size ? chosen.size + " selected" : "";
  }
  function draw() {
    const focus = document.activeElement && root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    root.replaceChildren();
    const columns = model.get("columns"), rows = model.get("rows"), total = model.get("total");
    const offset = model.get("offset"), limit = model.get("limit");
    const scroll = document.createElement("div"); scroll.className = "mo-scroll";
    const table = document.createElement("table");
    const caption = document.createElement("caption"); caption.textContent = model.get("caption"); table.append(caption);
    const head = table.createTHead().insertRow();
    if (model.get("selectable")) {
      const th = document.createElement("th"); th.scope = "col";
      const all = document.createElement("input"); all.type = "checkbox"; all.dataset.key = "all";
      all.setAttribute("aria-label", "Select all on this page");
      all.addEventListener("change", () => {
        const here = rows.map((r) => r.id), chosen = new Set(model.get("selected"));
        here.forEach((id) => all.checked ? chosen.add(id) : chosen.delete(id));
        select([...chosen]);
      });
      th.append(all); head.append(th);
    }
    columns.forEach((c) => {
      const th = document.createElement(c.label ? "th" : "td");
      if (c.label) th.scope = "col";
      if (c.kind === "number") th.className = "mo-number";
      if (c.sortable) {
        const on = model.get("sort") === c.key, down = model.get("descending");
        th.setAttribute("aria-sort", on ? (down ? "descending" : "ascending") : "none");
        const b = button(c.label + (on ? (down ? " ▾" : " ▴") : ""), "Sort by " + c.label, true, () => {
          model.set("descending", on ? !down : true); model.set("sort", c.key); model.set("offset", 0);
          model.save_changes();
        });
        b.className = "mo-sort"; b.dataset.key = "sort-" + c.key; th.append(b);
      } else th.textContent = c.label;
      head.append(th);
    });
    const body = table.createTBody();
    rows.forEach((r) => {
      const tr = body.insertRow();
      if (model.get("selectable")) {
        const box = document.createElement("input"); box.type = "checkbox"; box.dataset.id = r.id; box.dataset.key = "row-" + r.id;
        box.setAttribute("aria-label", "Select " + (r.label || r.id));
        box.addEventListener("change", () => {
          const chosen = new Set(model.get("selected"));
          if (box.checked) chosen.add(r.id); else chosen.delete(r.id);
          select([...chosen]);
        });
        tr.insertCell().append(box);
      }
      columns.forEach((c, n) => {
        const td = tr.insertCell(), value = r[c.key];
        if (c.kind === "state" && value) {
          const chip = document.createElement("span"); chip.className = "mo-chip mo-" + value.tone;
          chip.textContent = value.icon + " " + value.word; td.append(chip);
        } else if (n === 0 && model.get("openable")) {
          const b = button(String(value), "Open " + (r.label || r.id), true, () => {
            model.set("opened", r.id); model.set("presses", model.get("presses") + 1); model.save_changes();
          });
          b.className = "mo-link"; b.dataset.key = "open-" + r.id; td.append(b);
        } else { td.textContent = value === null || value === undefined ? "" : value; td.title = td.textContent.length > 60 ? td.textContent : ""; }
        if (c.kind === "number") td.className = "mo-number";
        if (c.kind === "long") td.className = "mo-long";
      });
    });
    if (!rows.length) {
      const td = body.insertRow().insertCell(); td.colSpan = columns.length + 1; td.className = "mo-empty";
      td.textContent = model.get("empty");
    }
    scroll.append(table);
    const trouble = model.get("trouble");
    if (trouble) {
      const note = document.createElement("p"); note.className = "mo-trouble"; note.setAttribute("role", "alert");
      const retry = button("Try again", "Try to read the table again", true, () => {
        model.set("tries", model.get("tries") + 1); model.save_changes();
      });
      retry.dataset.key = "retry"; note.textContent = "✗ " + trouble + " "; note.append(retry); root.append(note);
    }
    const foot = document.createElement("div"); foot.className = "mo-foot";
    const go = (to) => () => { model.set("offset", to); model.save_changes(); };
    const last = Math.max(0, Math.floor((total - 1) / limit) * limit);
    const keyed = (b, k) => { b.dataset.key = k; return b; };
    const place = document.createElement("span"); place.setAttribute("role", "status");
    place.textContent = total ? (offset + 1).toLocaleString() + "–" + (offset + rows.length).toLocaleString() + " of " + total.toLocaleString() : "";
    const note = document.createElement("span"); note.className = "mo-selected"; note.setAttribute("role", "status");
    foot.append(
      keyed(button("« First", "First page", offset > 0, go(0)), "first"),
      keyed(button("‹ Previous", "Previous page", offset > 0, go(Math.max(0, offset - limit))), "previous"),
      keyed(button("Next ›", "Next page", offset + limit < total, go(offset + limit)), "next"),
      keyed(button("Last »", "Last page", offset + limit < total, go(last)), "last"), place, note);
    root.append(scroll, foot);
    marks();
    if (focus) { const back = root.querySelector('[data-key="' + focus + '"]'); if (back) back.focus(); }
  }
  model.on("change:version", draw);
  model.on("change:selected", marks);
  draw();
}
export default { render };
