// Files: dropped anywhere on the page or chosen, and those that the server would refuse are left out beforehand, since
// it would refuse all files of an upload for one of them.
(() => {
  const SINGLE = '#actions input[type="file"]';
  const BATCH = '#batch-actions input[type="file"]';
  let refused = [];

  const megabytes = (bytes) => `${Math.floor(bytes / 2 ** 20)} MB`;
  const whyRefused = (file, accepted) => {
    const { types, maxFiles, maxFileBytes, maxRequestBytes } = precis.limits;
    if (!types.some((type) => file.name.toLowerCase().endsWith(type))) return `This page reads ${types.join(", ")}.`;
    if (file.size > maxFileBytes) return `It is larger than ${megabytes(maxFileBytes)}.`;
    if (accepted.length >= maxFiles) return `It is one of more than ${maxFiles} files.`;
    const sum = accepted.reduce((bytes, other) => bytes + other.size, file.size);
    // The form around the files takes some bytes, too.
    if (sum > maxRequestBytes - 2 ** 16) return `The files together are larger than ${megabytes(maxRequestBytes)}.`;
    return "";
  };
  const setFiles = (input, files) => {
    const transfer = new DataTransfer();
    files.forEach((file) => transfer.items.add(file));
    input.files = transfer.files;
  };

  // Runs before Gradio's own listener, which then sees the accepted files only.
  document.addEventListener("change", (event) => {
    const input = event.target;
    if (!input.matches?.(`${SINGLE}, ${BATCH}`) || !input.files.length) return;
    const accepted = [];
    refused = [];
    for (const file of input.files) {
      const reason = whyRefused(file, accepted);
      if (reason) refused.push({ name: file.name, reason });
      else accepted.push(file);
    }
    if (refused.length) setFiles(input, accepted);
    if (accepted.length) {
      precis.showNotice("Uploading…");
    } else {
      event.stopPropagation();
      precis.showNotice(refused.map(({ name, reason }) => `${name}: ${reason}`).join(" "), "error");
    }
  }, true);
  precis.refusedFiles = () => JSON.stringify(refused);

  const upload = (selector, files, tries = 40) => {
    const input = document.querySelector(selector);
    if (input) {
      setFiles(input, files);
      input.dispatchEvent(new Event("change", { bubbles: true }));
    } else if (tries) setTimeout(() => upload(selector, files, tries - 1), 50);
  };
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const showDropHint = (on) => document.body.classList.toggle("dragging-files", on);
  let dragDepth = 0;
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { dragDepth += 1; showDropHint(true); } });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event) && --dragDepth <= 0) showDropHint(false); });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    dragDepth = 0;
    showDropHint(false);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation();
    if (files.length === 1) {
      precis.openTab("One text");
      upload(SINGLE, files);
    } else {
      precis.openTab("Several texts");
      upload(BATCH, files);
    }
  }, true);

  // The table is drawn anew for each document that is done; opened rows stay open.
  const opened = new Set();
  document.addEventListener("toggle", (event) => {
    const { row } = event.target.dataset ?? {};
    if (row) opened[event.target.open ? "add" : "delete"](row);
  }, true);
  precis.onChange(() => {
    for (const details of document.querySelectorAll("details[data-row]")) {
      if (!details.open && opened.has(details.dataset.row)) details.open = true;
    }
  });
  precis.forgetOpenRows = () => opened.clear();
})();
