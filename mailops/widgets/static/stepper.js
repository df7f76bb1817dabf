// The way through a guide: phases with their steps, a bar, the open step marked, the focus moved to it, errors at fields.
function element(tag, text, attributes) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  return made;
}
function render({ model, el }) {
  const nav = element("nav", "", { "aria-label": "Steps of this guide", class: "mo-steps" });
  el.append(nav);
  function draw() {
    const stops = model.get("stops"), shown = model.get("shown"), done = model.get("done");
    const held = nav.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    const bar = element("progress", "", { max: String(stops.length || 1), value: String(done), "aria-label": "Steps passed" });
    const phases = element("ol", "", { class: "mo-phases" });
    const opened = new Set([...nav.querySelectorAll("details[open]")].map((d) => d.dataset.phase));
    for (const name of [...new Set(stops.map((s) => s.phase))]) {
      const own = stops.filter((s) => s.phase === name);
      const here = own.some((s) => s.id === shown);
      const passed = own.filter((s) => s.word === "passed" || s.word === "warning").length;
      const fold = element("details", "", { "data-phase": name });
      fold.open = here || opened.has(name);
      const head = element("summary", name + " ");
      head.append(element("small", passed === own.length ? "✓ all " + own.length : passed + " of " + own.length));
      const list = element("ol", "");
      for (const s of own) {
        const press = element("button", "", { type: "button", "data-id": s.id, class: "mo-" + s.word });
        press.append(element("span", s.icon, { "aria-hidden": "true", class: "mo-icon" }), element("span", s.number + ". " + s.title),
          element("span", ", " + s.word, { class: "mo-unseen" }));
        if (s.id === shown) press.setAttribute("aria-current", "step");
        press.addEventListener("click", () => model.send({ open: s.id }));
        const item = element("li", ""); item.append(press); list.append(item);
      }
      fold.append(head, list);
      const item = element("li", ""); item.append(fold); phases.append(item);
    }
    nav.replaceChildren(bar, phases);
    if (held) { const again = nav.querySelector('[data-id="' + held + '"]'); if (again) again.focus(); }
  }
  function follow(tries) {
    const heading = document.querySelector('[data-mo-step="' + model.get("shown") + '"]');
    if (!heading) { if (tries) setTimeout(() => follow(tries - 1), 60); return; }
    heading.focus({ preventScroll: true });
    const place = heading.getBoundingClientRect();
    if (place.top < 0 || place.top > innerHeight * 0.7) heading.scrollIntoView({ block: "start" });
  }
  let marked = [];
  function mark(tries) {
    for (const field of marked) { field.removeAttribute("aria-invalid"); field.removeAttribute("aria-describedby"); }
    marked = [];
    const wrong = model.get("wrong"), names = Object.keys(wrong);
    let first = null, found = 0;
    for (const label of document.querySelectorAll("label")) {
      const name = label.textContent.trim();
      if (!(name in wrong)) continue;
      const field = label.control || (label.parentElement && label.parentElement.querySelector("input, select, textarea"));
      const said = document.querySelector('[data-mo-wrong="' + CSS.escape(name) + '"]');
      if (!field || !said) continue;
      found += 1;
      said.id = said.id || "mo" + Math.random().toString(36).slice(2);
      field.setAttribute("aria-invalid", "true"); field.setAttribute("aria-describedby", said.id);
      marked.push(field); first = first || field;
    }
    if (first) first.focus();
    if (found < names.length && tries) setTimeout(() => mark(tries - 1), 60);
  }
  for (const name of ["stops", "shown", "done"]) model.on("change:" + name, draw);
  model.on("change:moved", () => follow(20));
  model.on("change:wrong", () => mark(20));
  draw();
}
export default { render };
