// Runs once, before the page is drawn. Gradio re-creates components, so the listeners are on the document.
(() => {
  const find = (selector) => document.querySelector(selector);
  const textBox = () => find("#text textarea");
  const flashLabel = (button, message) => {
    const label = button?.textContent;
    if (!button || button.dataset.flashing) return;
    button.dataset.flashing = "yes";
    button.textContent = message;
    setTimeout(() => { button.textContent = label; delete button.dataset.flashing; }, 1600);
  };

  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
      flashLabel(button, "Copied");
    } catch {
      // Browsers allow this API on https and localhost only.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      flashLabel(button, document.execCommand("copy") ? "Copied" : "Not allowed here");
      area.remove();
      button?.focus();
    }
  };

  window.precis = {
    copySummary: () => copy(find("#summary .gist")?.dataset.plain ?? "", find("#copy")),
    copyLink: () => {
      const address = `${location.origin}${location.pathname}?text=${encodeURIComponent(textBox().value)}`;
      // Servers and messengers truncate longer URLs.
      if (address.length <= 8000) copy(address, find("#link"));
      else flashLabel(find("#link"), "Too long for a link");
    },
    copyCode: (id) => copy(find(`#${id} code`)?.textContent ?? "", find(`#${id}-copy`)),
    download: (name, type, text) => {
      const anchor = document.createElement("a");
      anchor.href = URL.createObjectURL(new Blob([text], { type }));
      anchor.download = name;
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(anchor.href), 10000);
    },
    showWordCount: (text) => {
      const counter = find("#count .count");
      const words = text.trim() ? text.trim().split(/\s+/).length : 0;
      if (counter) counter.textContent = words ? `${words.toLocaleString("en")} ${words === 1 ? "word" : "words"}` : "";
    },
    // On a phone the summary is below the fold.
    scrollToSummary: () => {
      const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (innerWidth < 900) find("#summary-panel")?.scrollIntoView({ behavior: reducedMotion ? "auto" : "smooth", block: "start" });
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === textBox()) find("#go")?.click();
    if (event.key === "Escape") ["#stop", "#stop-batch"].map(find).find((stop) => stop?.offsetParent)?.click();
  });

  // A text pasted into the empty box is summarized at once.
  document.addEventListener("paste", (event) => {
    if (event.target === textBox() && !textBox().value.trim()) setTimeout(() => textBox().value.trim() && find("#go")?.click(), 60);
  });

  // Files may be dropped anywhere on the page: one goes to the first tab, several to the second.
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const setFiles = (input, files) => {
    const transfer = new DataTransfer();
    files.forEach((file) => transfer.items.add(file));
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const setFilesWhenReady = (selector, files, tries = 40) => {
    const input = find(selector);
    if (input) setFiles(input, files);
    else if (tries) setTimeout(() => setFilesWhenReady(selector, files, tries - 1), 50);
  };
  const openTab = (name) =>
    [...document.querySelectorAll('[role="tab"]')].find((tab) => tab.textContent.trim() === name)?.click();
  let dragDepth = 0;
  const showDropHint = (on) => document.body.classList.toggle("dragging-files", on);
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { dragDepth += 1; showDropHint(true); } });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event) && --dragDepth <= 0) showDropHint(false); });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    dragDepth = 0;
    showDropHint(false);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length || event.target.closest("#files")) return;
    event.preventDefault();
    event.stopPropagation();
    if (files.length === 1) {
      openTab("One text");
      setFilesWhenReady('#actions input[type="file"]', files);
    } else {
      openTab("Several texts");
      setFilesWhenReady('#files input[type="file"]', files);
    }
  }, true);

  // Screen readers announce changes of the status lines, and of nothing else.
  const announce = () => {
    for (const id of ["status", "batch-status"]) {
      const line = document.getElementById(id);
      if (line && !line.hasAttribute("aria-live")) { line.setAttribute("role", "status"); line.setAttribute("aria-live", "polite"); }
    }
  };
  new MutationObserver(announce).observe(document.body, { childList: true, subtree: true });
  announce();
})();
