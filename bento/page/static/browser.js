// What the other scripts share, and what needs no server: copying, downloads, reading aloud, keys and focus.
// The scripts run once, before the page is drawn. Gradio creates components anew, so listeners are on the document.
(() => {
  const find = (selector) => document.querySelector(selector);
  const textBox = () => find("#text textarea");
  const isShown = (element) => Boolean(element?.offsetParent);
  const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const watchers = [];

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

  const download = (name, type, text) => {
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(new Blob([text], { type }));
    anchor.download = name;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 10000);
  };

  const summary = () => find("#summary .gist[data-plain]");
  const sentences = () => [...summary().querySelectorAll("li")].map((item) => item.dataset.plain);
  const asList = () => sentences().map((sentence) => `- ${sentence}\n`).join("") || `${summary().dataset.plain}\n`;

  const readAloud = () => {
    const button = find("#read-aloud");
    if (speechSynthesis.speaking) {
      speechSynthesis.cancel();
      return;
    }
    const label = button.textContent;
    const utterance = new SpeechSynthesisUtterance(summary().dataset.plain);
    utterance.lang = "en";
    utterance.onend = utterance.onerror = () => { button.textContent = label; };
    button.textContent = "Stop reading";
    speechSynthesis.speak(utterance);
  };

  const openTab = (name) =>
    [...document.querySelectorAll('[role="tab"]')].find((tab) => tab.textContent.trim() === name)?.click();

  // In its own panel only: the page itself stays where it is, and no entry is added to the browser's history.
  const scrollToMark = (mark, panel, behavior) => {
    const offset = mark.getBoundingClientRect().top - panel.getBoundingClientRect().top;
    panel.scrollTo({ top: panel.scrollTop + offset - 24, behavior });
  };
  const scrollToFirstMarks = () => {
    for (const panel of document.querySelectorAll(".source:not([data-scrolled])")) {
      if (!isShown(panel)) continue;
      panel.dataset.scrolled = "yes";
      const mark = panel.querySelector("mark");
      if (mark) scrollToMark(mark, panel, "auto");
    }
  };
  const showEvidence = (link) => {
    const mark = document.getElementById(link.hash.slice(1));
    const panel = mark?.closest(".source");
    if (!panel) return;
    panel.querySelectorAll("mark.current").forEach((other) => other.classList.remove("current"));
    mark.classList.add("current");
    scrollToMark(mark, panel, reducedMotion() ? "auto" : "smooth");
    panel.focus({ preventScroll: true });
  };

  // Screen readers hear the notice or status line, and the finished summary, but not each word of it as it comes.
  // Gradio names no button of its menu of tabs.
  const announce = () => {
    const line = find("#announcement");
    const shown = [...document.querySelectorAll(".notice, .status-line .status")].find((part) => isShown(part) && part.textContent);
    const isBusy = shown?.classList.contains("busy");
    const gist = isBusy || !isShown(summary()) ? "" : `Summary: ${summary().dataset.plain} `;
    const parts = [...(shown?.childNodes ?? [])].filter((part) => part.nodeName !== "BUTTON");
    const text = gist + parts.map((part) => part.textContent.trim()).join(" ").trim();
    if (line && line.textContent !== text) line.textContent = text;
    for (const button of document.querySelectorAll(".tab-wrapper button:not([role]):not([aria-label])")) {
      button.setAttribute("aria-label", "More tabs");
    }
  };

  window.precis = {
    find, textBox, isShown, flashLabel, copy, download, openTab, summary,
    onChange: (watcher) => watchers.push(watcher),
    copySummary: () => copy(sentences().length ? asList() : summary().dataset.plain, find("#copy")),
    copyCode: (id) => copy(find(`#${id} code`)?.textContent ?? "", find(`#${id}-copy`)),
    saveText: () => download("summary.txt", "text/plain", asList()),
    saveMarkdown: () => download("summary.md", "text/markdown", `# Summary\n\n${asList()}`),
    readAloud,
    // On a phone the summary is below the fold.
    scrollToSummary: () => {
      if (innerWidth < 900) find("#summary-panel")?.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "start" });
    },
    ...window.precis,
  };

  precis.onChange(announce);
  precis.onChange(scrollToFirstMarks);
  const runWatchers = () => watchers.forEach((watcher) => watcher());
  new MutationObserver(runWatchers).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["aria-selected", "open"] });

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a");
    if (link?.dataset.tab) {
      event.preventDefault();
      openTab(link.dataset.tab);
    } else if (link?.closest(".legend")) {
      event.preventDefault();
      showEvidence(link);
    }
  });

  const moveFocusFromStop = () => {
    const stop = [find("#stop"), find("#stop-batch")].find((button) => button === document.activeElement);
    const next = stop && find(stop.id === "stop" ? "#go" : "#summarize-all");
    if (next) setTimeout(() => next.focus()); // after the click; the button is hidden once the server has stopped
  };
  document.addEventListener("click", (event) => { if (event.target.closest?.("#stop, #stop-batch")) moveFocusFromStop(); });

  const ARROWS = { ArrowLeft: -1, ArrowRight: 1 };
  const moveTab = (event) => {
    const tabs = [...event.target.closest('[role="tablist"]').querySelectorAll('[role="tab"]')].filter(isShown);
    const at = tabs.indexOf(event.target);
    const to = { Home: 0, End: tabs.length - 1 }[event.key] ?? (at + ARROWS[event.key] + tabs.length) % tabs.length;
    if (at < 0 || !(to in tabs)) return;
    event.preventDefault();
    tabs[to].focus();
    tabs[to].click();
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === textBox()) find("#go")?.click();
    if (event.key === "Escape") [find("#stop"), find("#stop-batch")].find(isShown)?.click();
    if (event.target.closest?.('[role="tab"]')) moveTab(event);
  });

  // A text pasted into the empty box is summarized at once.
  document.addEventListener("paste", (event) => {
    if (event.target === textBox() && !textBox().value.trim()) setTimeout(() => textBox().value.trim() && find("#go")?.click(), 60);
  });
})();
