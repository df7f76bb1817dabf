function render({ model, el }) {
  const row = document.createElement("div");
  row.className = "mo-copy";
  const label = document.createElement("label");
  const field = document.createElement("input");
  const button = document.createElement("button");
  const said = document.createElement("span");
  const id = "mo" + Math.random().toString(36).slice(2);
  label.textContent = model.get("label"); label.htmlFor = id;
  field.id = id; field.readOnly = true; field.value = model.get("value");
  field.addEventListener("focus", () => field.select());
  button.type = "button"; button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + model.get("label"));
  said.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    field.select();
    try { await navigator.clipboard.writeText(model.get("value")); said.textContent = "copied"; }
    catch (e) {
      let ok = false;
      try { ok = document.execCommand("copy"); } catch (e2) { ok = false; }
      said.textContent = ok ? "copied" : "press Ctrl+C";
    }
    setTimeout(() => { said.textContent = ""; }, 4000);
  });
  model.on("change:value", () => { field.value = model.get("value"); });
  row.append(label, field, button, said);
  el.append(row);
}
export default { render };
