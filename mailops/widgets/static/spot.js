// One thing in detail: what is put here comes into sight with the keyboard's focus on its heading; Close gives it back.
function render({ model, el }) {
  const root = document.createElement("section");
  el.append(root);
  let before = null;
  function draw() {
    root.innerHTML = model.get("html");
    root.setAttribute("aria-label", model.get("label"));
    if (!model.get("html")) { if (before) before.focus(); before = null; return; }
    const close = document.createElement("button");
    close.type = "button"; close.textContent = "Close"; close.className = "mo-close";
    close.addEventListener("click", () => { model.set("html", ""); model.save_changes(); draw(); });
    root.append(close);
  }
  model.on("change:shown", () => {
    if (document.activeElement && document.activeElement !== document.body) before = document.activeElement;
    draw();
    const heading = root.querySelector("h2, h3, h4");
    if (!heading) return;
    heading.tabIndex = -1; heading.focus({ preventScroll: true });
    root.scrollIntoView({ block: "nearest" });
  });
  draw();
}
export default { render };
