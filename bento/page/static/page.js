// Runs once, before the page is drawn. Components come and go, so everything listens at the document.
(() => {
  const find = (selector) => document.querySelector(selector);
  const box = () => find("#text textarea");
  const say = (button, words) => {
    const label = button?.textContent;
    if (!button || button.dataset.said) return;
    button.dataset.said = "yes";
    button.textContent = words;
    setTimeout(() => { button.textContent = label; delete button.dataset.said; }, 1600);
  };

  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
      say(button, "Copied");
    } catch {
      // Browsers give the clipboard to https and localhost only.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      say(button, document.execCommand("copy") ? "Copied" : "Not allowed here");
      area.remove();
      button?.focus();
    }
  };

  window.precis = {
    copySummary: () => copy(find("#summary .gist")?.dataset.plain ?? "", find("#copy")),
    copyLink: () => {
      const address = `${location.origin}${location.pathname}?text=${encodeURIComponent(box().value)}`;
      // Servers and messengers cut longer ones.
      if (address.length <= 8000) copy(address, find("#link"));
      else say(find("#link"), "Too long for a link");
    },
    copyCode: (id) => copy(find(`#${id} code`)?.textContent ?? "", find(`#${id}-copy`)),
    save: (name, type, text) => {
      const anchor = document.createElement("a");
      anchor.href = URL.createObjectURL(new Blob([text], { type }));
      anchor.download = name;
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(anchor.href), 10000);
    },
    count: (text) => {
      const place = find("#count .count");
      const words = text.trim() ? text.trim().split(/\s+/).length : 0;
      if (place) place.textContent = words ? `${words.toLocaleString("en")} ${words === 1 ? "word" : "words"}` : "";
    },
    // On a phone the summary is below the fold.
    show: () => {
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (innerWidth < 900) find("#paper")?.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === box()) find("#go")?.click();
    if (event.key === "Escape") ["#stop", "#stop-all"].map(find).find((stop) => stop?.offsetParent)?.click();
  });

  // A text pasted into the empty box is what the visitor came with: it starts at once.
  document.addEventListener("paste", (event) => {
    if (event.target === box() && !box().value.trim()) setTimeout(() => box().value.trim() && find("#go")?.click(), 60);
  });

  // Files may be dropped anywhere: one is summarized, several make a table.
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const give = (input, files) => {
    const moved = new DataTransfer();
    files.forEach((file) => moved.items.add(file));
    input.files = moved.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const giveWhenThere = (selector, files, tries = 40) => {
    const input = find(selector);
    if (input) give(input, files);
    else if (tries) setTimeout(() => giveWhenThere(selector, files, tries - 1), 50);
  };
  const openTab = (name) =>
    [...document.querySelectorAll('[role="tab"]')].find((tab) => tab.textContent.trim() === name)?.click();
  let depth = 0;
  const dropping = (on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; dropping(true); } });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event) && --depth <= 0) dropping(false); });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    depth = 0;
    dropping(false);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length || event.target.closest("#files")) return;
    event.preventDefault();
    event.stopPropagation();
    if (files.length === 1) {
      openTab("One text");
      giveWhenThere('#act input[type="file"]', files);
    } else {
      openTab("Several texts");
      giveWhenThere('#files input[type="file"]', files);
    }
  }, true);

  // What changes by itself is read out; what is only drawn differently is not.
  const announce = () => {
    for (const id of ["status", "batch-status"]) {
      const place = document.getElementById(id);
      if (place && !place.hasAttribute("aria-live")) { place.setAttribute("role", "status"); place.setAttribute("aria-live", "polite"); }
    }
  };
  new MutationObserver(announce).observe(document.body, { childList: true, subtree: true });
  announce();
})();
