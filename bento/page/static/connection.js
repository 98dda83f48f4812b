// What the page says while an event is sent, waits or fails.
//
// Gradio's client neither recovers from a broken stream nor reports it where the visitor looks, so it is handed a
// stream that ends as if all were well, and the page says in place what happened. A notice stands where the status
// line is and hides it.
(() => {
  const QUIET_SECONDS = 5; // a running event is repeated twice a second, so a longer silence is worth a word
  const LOST = "The connection to the server broke. Your text is still here.";
  const encoder = new TextEncoder();
  const ended = () => encoder.encode('data: {"msg": "close_stream", "event_id": null}\n\n');
  const fetchFromServer = window.fetch.bind(window);
  let notice = { text: "", kind: "", retry: false };
  let joined = false; // whether the server runs an event of this page
  let leaving = false;
  let lastHeard = 0;

  const draw = () => {
    for (const line of document.querySelectorAll(".notice")) {
      const shown = JSON.stringify(notice);
      if (line.dataset.shown === shown) continue;
      line.dataset.shown = shown;
      line.className = `notice status ${notice.kind}`;
      line.textContent = notice.text;
      if (!notice.retry) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Try again";
      button.addEventListener("click", retry);
      line.append(" ", button);
    }
  };
  const show = (text, kind = "busy", canRetry = false) => {
    notice = { text, kind, retry: canRetry };
    draw();
  };
  const fail = (text) => {
    joined = false;
    if (leaving) return;
    document.body.classList.add("interrupted");
    document.querySelectorAll('[aria-busy="true"]').forEach((part) => part.removeAttribute("aria-busy"));
    show(text, "error", true);
  };
  const heard = () => {
    lastHeard = performance.now();
    if (notice.kind === "busy") show("", "");
  };

  // The page is loaded anew, because after a restart the server may have another one.
  const retry = async () => {
    show("Trying again…");
    try {
      const response = await fetchFromServer("../readyz", { cache: "no-store" });
      if (!response.ok) throw new Error(response.statusText);
    } catch {
      show("The server cannot be reached. Your text is still here.", "error", true);
      return;
    }
    precis.summarizeAfterReload();
    location.reload();
  };

  const join = async (input, init) => {
    document.body.classList.remove("interrupted");
    show("Sending…");
    try {
      const response = await fetchFromServer(input, init);
      if (response.ok) {
        joined = true;
        lastHeard = performance.now();
        return response;
      }
      const body = await response.json().catch(() => ({}));
      fail(body.detail ?? body.error?.message ?? LOST);
    } catch {
      fail(LOST);
    }
    return Response.json({ event_id: "refused" });
  };

  const stream = async (input, init) => {
    if (!joined) return new Response(ended());
    try {
      const response = await fetchFromServer(input, init);
      if (!response.ok) throw new Error(response.statusText);
      return new Response(watched(response.body.getReader()), { headers: response.headers });
    } catch {
      fail(LOST);
      return new Response(ended());
    }
  };

  const watched = (reader) => {
    const decoder = new TextDecoder();
    let tail = "";
    return new ReadableStream({
      pull: async (controller) => {
        const { done, value } = await reader.read().catch(() => ({ done: true }));
        const complete = tail.includes('"close_stream"');
        if (!done) {
          tail = (tail + decoder.decode(value, { stream: true })).slice(-200);
          heard();
          controller.enqueue(value);
          return;
        }
        joined = false;
        if (!complete) {
          fail(LOST);
          controller.enqueue(ended());
        }
        controller.close();
      },
      cancel: (reason) => reader.cancel(reason),
    });
  };

  window.fetch = (input, init) => {
    const { pathname } = new URL(input instanceof Request ? input.url : input, location.href);
    if (pathname.endsWith("/queue/join")) return join(input, init);
    if (pathname.endsWith("/queue/data")) return stream(input, init);
    return fetchFromServer(input, init);
  };
  setInterval(() => {
    const seconds = Math.round((performance.now() - lastHeard) / 1000);
    if (joined && seconds >= QUIET_SECONDS) show(`Nothing from the server for ${seconds} s; still waiting.`, "busy", true);
  }, 1000);
  addEventListener("beforeunload", () => { leaving = true; });
  addEventListener("pageshow", () => { leaving = false; });
  precis.onChange(draw);
  precis.showNotice = show;
  precis.clearNotice = () => show("", "");
})();
