// The text, the options and the last summaries of this tab, in its session storage: they survive a reload, Back and a
// restart of the server, and end with the tab. The server keeps none of them.
(() => {
  const CURRENT = "precis.current";
  const RECENT = "precis.recent";
  const RERUN = "precis.rerun";
  const MAX_RECENT = 6;
  const MAX_LINK_CHARACTERS = 8000; // servers never see the fragment, but messengers truncate longer URLs
  const { find, textBox } = precis;
  let current = { text: "", options: [] };
  let started = null; // what the running summary is made of; its text is null until a file has been read
  let result = null; // {text, options, views} of the summary on the page
  let typed = "";
  let undo = null;
  let toRestore = null;

  const read = (key) => {
    try { return JSON.parse(sessionStorage.getItem(key)); } catch { return null; }
  };
  const write = (key, value) => {
    try { sessionStorage.setItem(key, JSON.stringify(value)); } catch { sessionStorage.removeItem(key); } // it is full
  };
  const isOf = (made) => made && made.text === current.text && String(made.options) === String(current.options);

  const draw = () => {
    const panel = find("#summary-panel");
    if (!panel) return;
    panel.classList.toggle("stale", Boolean(result && precis.summary() && !isOf(result)));
    find("#undo")?.classList.toggle("unavailable", undo === null);
    const counter = find("#count .count");
    const words = current.text.trim() ? current.text.trim().split(/\s+/).length : 0;
    const label = words ? `${words.toLocaleString("en")} ${words === 1 ? "word" : "words"}` : "";
    if (counter && counter.textContent !== label) counter.textContent = label;
    drawRecent();
  };
  const save = () => {
    write(CURRENT, { ...current, result });
    draw();
  };

  const drawRecent = () => {
    const list = find("#recent ul");
    const recent = read(RECENT) ?? [];
    const key = JSON.stringify(recent.map((each) => each.summary));
    if (!list || list.dataset.shown === key) return;
    list.dataset.shown = key;
    list.replaceChildren(...recent.map((each, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = each.summary;
      button.addEventListener("click", () => {
        const { text, options, views } = read(RECENT)[at];
        restoreNow({ text, options, result: { text, options, views } });
      });
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
    list.parentElement.hidden = !recent.length;
  };
  const restoreNow = (saved) => {
    toRestore = saved;
    find("#restore")?.click();
  };

  // The fragment of a shared link: text=...&length=3; servers and their logs never see it.
  const fromLink = () => {
    const parameters = new URLSearchParams(location.hash.slice(1));
    if (!parameters.get("text")) return null;
    history.replaceState(null, "", location.pathname + location.search);
    const options = precis.optionNames.map((name, at) => {
      const value = parameters.get(name);
      const isNumber = typeof current.options[at] === "number";
      if (value === null || (isNumber && !(parseFloat(value) >= 0))) return current.options[at];
      return isNumber ? parseFloat(value) : value;
    });
    return { text: parameters.get("text"), options, result: null, run: true };
  };
  const linkAddress = () => {
    const parameters = new URLSearchParams({ text: current.text });
    precis.optionNames.forEach((name, at) => {
      if (String(current.options[at]) !== String(precis.defaultOptions[at])) parameters.set(name, current.options[at]);
    });
    return `${location.origin}${location.pathname}#${parameters}`;
  };

  const nextFrame = () => new Promise((resolve) => { requestAnimationFrame(() => setTimeout(resolve)); });
  const summarizeWhenShown = async () => {
    while (!find("#go")) await nextFrame();
    for (let frames = 0; frames < 60 && textBox()?.value !== current.text; frames += 1) await nextFrame();
    await nextFrame();
    find("#go").click();
  };

  // Takes `saved` as the present state; returns the values that the page has to show. `values` are those that it shows now:
  // text, options and views.
  const apply = (saved, values) => {
    current = { text: saved.text, options: saved.options };
    typed = current.text;
    result = saved.result;
    setTimeout(save);
    if (saved.run) summarizeWhenShown();
    return [current.text, ...current.options, ...(result?.views ?? values.slice(1 + current.options.length))];
  };

  // Gradio draws its components from gradio_config once the scripts have run, so what is put there is never overwritten.
  const restoreBeforeDrawing = () => {
    const names = ["text", ...precis.optionNames, ...precis.viewNames];
    const components = names.map((name) => gradio_config.components.find(({ props }) => props.elem_id === name));
    const values = components.map(({ props }) => props.value ?? "");
    current = { text: values[0], options: values.slice(1, 1 + precis.optionNames.length) };
    const saved = read(CURRENT);
    const run = Boolean(read(RERUN) && saved?.text);
    sessionStorage.removeItem(RERUN);
    const start = fromLink() ?? { ...saved, run };
    if (start.options?.length !== current.options.length) return;
    apply(start, values).forEach((value, at) => { components[at].props.value = value; });
  };

  Object.assign(precis, {
    restore: (...values) => (toRestore ? apply(toRestore, values) : values),
    summarizeAfterReload: () => write(RERUN, true),

    // When an event that summarizes is sent.
    begin: (first, options) => {
      started = { text: typeof first === "string" ? first : null, options };
      precis.scrollToSummary();
      // A text that was cut within an emoji has half of it at its end, which JSON cannot hold.
      return [first?.toWellFormed?.() ?? first, location.href, ...options];
    },
    // When it has ended, in whatever way: `views` are what the page shows then.
    finish: (...views) => {
      if (!started || !String(views[0]).includes("data-plain")) return;
      result = { ...started, views };
      started = null;
      const summary = precis.summary()?.dataset.plain;
      precis.scrollToSummary(); // again, since a text that was read from a file has moved it
      const others = (read(RECENT) ?? []).filter((each) => each.text !== result.text);
      if (summary && summary !== result.text.trim()) write(RECENT, [{ ...result, summary }, ...others].slice(0, MAX_RECENT));
      save();
    },
    // When the text or an option has changed, by the visitor or by the server.
    changed: (text, ...options) => {
      if (text !== current.text && textBox()?.value === text && text !== typed && current.text.trim()) undo = current.text;
      if (started && started.text === null && text !== current.text) started.text = text;
      current = { text, options };
      typed = text;
      save();
    },
    rerun: () => { if (result && current.text.trim()) setTimeout(() => find("#go").click()); },
    clear: () => {
      find("#stop")?.click();
      result = null;
      precis.clearNotice();
      textBox()?.focus();
      return ["", precis.emptySummary, ""];
    },
    undoText: () => {
      const text = undo ?? current.text;
      undo = null;
      return text;
    },
    copyLink: () => {
      const address = linkAddress();
      if (address.length <= MAX_LINK_CHARACTERS) precis.copy(address, find("#link"));
      else precis.flashLabel(find("#link"), "Too long for a link");
    },
  });
  document.addEventListener("input", (event) => { if (event.target === textBox()) typed = textBox().value; });
  addEventListener("hashchange", () => {
    const linked = fromLink();
    if (linked) restoreNow(linked);
  });
  precis.onChange(draw);
  restoreBeforeDrawing();
})();
