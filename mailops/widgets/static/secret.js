function render({ model, el }) {
  const form = document.createElement("form");
  form.className = "mo-secret"; form.autocomplete = "off";
  const label = document.createElement("label"), field = document.createElement("input");
  const button = document.createElement("button"), said = document.createElement("span");
  const id = "mo" + Math.random().toString(36).slice(2);
  label.textContent = model.get("label"); label.htmlFor = id;
  field.id = id; field.type = "password"; field.autocomplete = "new-password";
  button.type = "submit"; button.textContent = "Save secret";
  button.setAttribute("aria-label", "Save secret: " + model.get("label"));
  said.setAttribute("role", "status"); said.textContent = model.get("said");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = field.value;
    field.value = "";
    if (typed) model.send({ typed });
  });
  model.on("change:said", () => { said.textContent = model.get("said"); });
  // another button saves what is typed here first; a refused text stays for the person to mend
  model.on("msg:custom", (message) => {
    if (message.give) model.send({ typed: field.value, asked: message.give });
    if (message.taken) field.value = "";
  });
  model.set("shown", true); model.save_changes();
  form.append(label, field, button, said);
  el.append(form);
}
export default { render };
