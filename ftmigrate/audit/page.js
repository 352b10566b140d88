"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const audit = read("audit");
  const order = Object.keys(audit.words);
  const marks = { exact: "=", adapted: "\u2192", made_explicit: "+", inert: "\u00b7", approximate: "\u2248", dropped: "\u00d7", manual: "\u270e" };
  const worst = Object.keys({ inert: 0, exact: 0, made_explicit: 0, adapted: 0, approximate: 0, dropped: 0, manual: 0 });
  const kinds = { refused: "not convertible", unreadable: "cannot be read", fault: "a fault of ours", manual: "by hand", dropped: "lost" };
  const causes = [...audit.blockers, ...audit.approximations];
  const $ = (selector, from = document) => from.querySelector(selector);

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined) continue;
      if (name === "colour") node.style.setProperty("--c", `var(--${value})`);
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // --- what is shown: kept in the address, so that a view can be shared -------------------------------------------

  const start = () => ({ sort: "outcome", down: true, find: "", outcomes: [], cause: null, open: null, line: null });
  let state = start();

  function fromAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    state = start();
    const sort = said.get("sort");
    if (sort) {
      state.down = sort.startsWith("-");
      state.sort = sort.replace(/^-/, "");
    }
    if (!columns.some((column) => column.id === state.sort)) state.sort = "outcome";
    state.find = said.get("find") || "";
    state.outcomes = (said.get("outcome") || "").split(",").filter((word) => order.includes(word));
    const cause = said.get("cause");
    state.cause = cause !== null && causes[Number(cause)] ? Number(cause) : null;
    const open = audit.files.findIndex((file) => file.path === said.get("open"));
    state.open = open < 0 ? null : open;
    state.line = Number(said.get("line")) || null;
  }

  function toAddress() {
    const said = new URLSearchParams();
    if (state.sort !== "outcome" || !state.down) said.set("sort", (state.down ? "-" : "") + state.sort);
    if (state.find) said.set("find", state.find);
    if (state.outcomes.length) said.set("outcome", state.outcomes.join(","));
    if (state.cause !== null) said.set("cause", state.cause);
    if (state.open !== null) said.set("open", audit.files[state.open].path);
    if (state.open !== null && state.line) said.set("line", state.line);
    const text = said.toString();
    if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  function set(change) {
    Object.assign(state, change);
    toAddress();
    show();
  }

  // --- the table of files -----------------------------------------------------------------------------------------

  const count = (word) => (file) => (converted(file) ? file.summary[word] || 0 : -1);
  const converted = (file) => file.out !== null;
  const columns = [
    { id: "path", title: "file", of: (file) => file.path },
    { id: "recipe", title: "recipe", of: (file) => file.recipe || file.framework || "" },
    { id: "outcome", title: "result", of: (file) => order.indexOf(file.outcome), down: true },
    { id: "manual", title: "by hand", of: count("manual"), number: true, down: true },
    { id: "dropped", title: "dropped", of: count("dropped"), number: true, down: true },
    { id: "approximate", title: "approximate", of: count("approximate"), number: true, down: true },
    { id: "kept", title: "kept", of: (file) => (converted(file) ? (file.summary.exact || 0) + (file.summary.adapted || 0) : -1), number: true, down: true },
  ];
  const texts = audit.files.map((file) =>
    [file.path, file.recipe, file.framework, file.reason, audit.words[file.outcome], ...file.causes.map((cause) => cause[1])].join("\n").toLowerCase());
  const members = causes.map((cause) => new Set(cause.files));
  const rows = audit.files.map(row);

  function row(file, index) {
    const toggle = () => set({ open: state.open === index ? null : index, line: null });
    const button = make("button", { type: "button", class: "path", "aria-expanded": "false", onclick: toggle }, file.path);
    const where = file.line ? `line ${file.line}: ` : "";
    const cells = columns.slice(3).map((column) => {
      const value = column.of(file);
      return make("td", { class: "number" }, value < 0 ? "" : String(value));
    });
    return make("tr", { class: "row", "data-path": file.path, "data-outcome": file.outcome },
      make("td", {}, button),
      make("td", {}, file.recipe || file.framework || ""),
      make("td", {},
        make("span", { class: "kind", colour: file.outcome }, audit.words[file.outcome]),
        file.reason ? make("p", { class: "dim" }, where + file.reason) : null),
      ...cells);
  }

  function chosen() {
    const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
    const column = columns.find((one) => one.id === state.sort);
    const found = [];
    audit.files.forEach((file, index) => {
      if (state.outcomes.length && !state.outcomes.includes(file.outcome)) return;
      if (state.cause !== null && !members[state.cause].has(index)) return;
      if (words.every((word) => texts[index].includes(word))) found.push(index);
    });
    const way = state.down ? -1 : 1;
    return found.sort((a, b) => {
      const [one, other] = [column.of(audit.files[a]), column.of(audit.files[b])];
      return one < other ? -way : one > other ? way : a - b;
    });
  }

  let opened = null;

  function show() {
    const found = chosen();
    if (state.open !== null && !found.includes(state.open)) state.open = null;
    if (opened && opened.index !== state.open) opened = null;
    if (state.open !== null && !opened) opened = { index: state.open, ...details(state.open) };
    const list = [];
    for (const index of found) {
      list.push(rows[index]);
      if (index === state.open) list.push(opened.node);
    }
    rows.forEach((node, index) => $(".path", node).setAttribute("aria-expanded", String(index === state.open)));
    const focused = document.activeElement;
    $("#files tbody").replaceChildren(...list);
    if (focused && focused.isConnected) focused.focus({ preventScroll: true });
    const cause = state.cause === null ? "" : ` with ${causes[state.cause].name}`;
    $("#shown").textContent = `${found.length} of ${audit.files.length} files${cause}`;
    if ($("#find").value !== state.find) $("#find").value = state.find;
    for (const button of document.querySelectorAll("#outcomes button")) {
      button.setAttribute("aria-pressed", String(state.outcomes.includes(button.dataset.outcome)));
    }
    for (const button of document.querySelectorAll("button[data-cause]")) {
      const on = Number(button.dataset.cause) === state.cause;
      button.setAttribute("aria-pressed", String(on));
      button.closest("tr").classList.toggle("picked", on);
    }
    document.querySelectorAll("#files thead th").forEach((head, index) => {
      const on = columns[index].id === state.sort;
      head.setAttribute("aria-sort", on ? (state.down ? "descending" : "ascending") : "none");
    });
    if (opened) opened.begin(state.line);
  }

  // --- one file: source and target side by side -------------------------------------------------------------------

  function details(index) {
    const file = audit.files[index];
    const data = read(`file-${index}`);
    const entries = data.lines.map(([verdict, line, lines, source, targets, note]) => ({ verdict, line, lines, source, targets, note: audit.notes[note] }));
    const cell = make("td", { colspan: columns.length });
    const node = make("tr", { class: "opened" }, cell);
    if (!data.source) {
      cell.append(make("p", { class: "dim" }, file.reason || "Nothing to convert here."));
      return { node, begin: () => undefined };
    }
    const left = pane(data.source, (entry) => (entry.line ? [entry.line] : []), "source");
    const right = pane(data.target || "", (entry) => entry.lines, "target");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("aria-hidden", "true");
    const pair = make("div", { class: "pair" },
      make("div", {}, make("h3", {}, file.path), left.node), make("div", { class: "gap" }),
      make("div", {}, make("h3", {}, data.target ? `as ${audit.title}` : "nothing is written"), right.node), svg);
    const said = make("div", { class: "said-of", role: "status" });
    const silent = entries.filter((entry) => !entry.line);
    const list = make("ul", { class: "silent" }, ...silent.map((entry) => {
      const button = make("button", { type: "button", onclick: () => pick([entry], null), onfocus: () => pick([entry], null) }, ...words(entry));
      return make("li", { colour: entry.verdict }, button);
    }));
    cell.append(pair, said);
    cell.append(make("p", { class: "keys" }, ...worst.slice().reverse().map((verdict) =>
      make("span", {}, make("b", { class: "verdict", colour: verdict }, marks[verdict]), ` ${verdict.replace("_", " ")}: ${file.summary[verdict] || 0}`))));
    for (const warning of data.warnings) cell.append(make("p", { class: "dim" }, warning));
    if (silent.length) cell.append(make("h2", {}, "Said by no line of the source"), list);

    function pane(text, lines, side) {
      const at = new Map();
      for (const entry of entries) for (const line of lines(entry)) at.set(line, [...(at.get(line) || []), entry]);
      const box = make("div", { class: "pane", tabindex: at.size ? null : "0", role: "group", "aria-label": side });
      const nodes = text.replace(/\r?\n$/, "").split(/\r?\n/).map((line, number) => {
        const own = at.get(number + 1);
        const verdict = own && worst[Math.max(...own.map((entry) => worst.indexOf(entry.verdict)))];
        const made = make("div", { class: own ? "said" : /^\s*#/.test(line) ? "note" : null, colour: verdict, "data-line": number + 1 },
          make("i", {}, String(number + 1)), make("b", {}, own ? marks[verdict] : ""), make("span", {}, line));
        if (own) {
          made.tabIndex = -1;
          made.setAttribute("role", "button");
          made.setAttribute("aria-label", `line ${number + 1}, ${verdict.replace("_", " ")}: ${line.trim()}`);
          made.addEventListener("focus", () => { focusable(made); pick(own, side); });
          made.addEventListener("click", () => { made.focus(); remember(side === "source" ? number + 1 : null); });
          made.addEventListener("mouseenter", () => pick(own, side, true));
          made.addEventListener("keydown", (event) => move(event, made));
        }
        return made;
      });
      box.append(...nodes);
      const first = nodes.find((one) => one.classList.contains("said"));
      if (first) first.tabIndex = 0;
      box.addEventListener("scroll", draw, { passive: true });
      box.addEventListener("mouseleave", () => pick(kept.entries, null, true));

      function focusable(chosenNode) {
        for (const one of nodes) if (one.tabIndex === 0) one.tabIndex = -1;
        chosenNode.tabIndex = 0;
      }
      function move(event, from) {
        const all = nodes.filter((one) => one.classList.contains("said"));
        const now = all.indexOf(from);
        const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 }[event.key];
        if (next !== undefined && all[next]) {
          event.preventDefault();
          all[next].focus();
        }
        if ((event.key === "ArrowRight" || event.key === "ArrowLeft")) {
          const other = (event.key === "ArrowRight" ? right : left).nodes.find((one) => one.classList.contains("on"));
          if (other) other.focus();
        }
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          from.click();
        }
      }
      return { node: box, nodes };
    }

    let on = [];
    const kept = { entries: [] };
    const remember = (line) => { state.line = line; toAddress(); };

    function words(entry) {
      const target = entry.targets.length ? ` \u2192 ${entry.targets.join(", ")}` : "";
      return [make("span", { class: "verdict", colour: entry.verdict }, entry.verdict.replace("_", " ")), " ",
        entry.source || target ? make("code", {}, (entry.source || "") + target) : null,
        entry.note ? `${entry.source || target ? ": " : ""}${entry.note}` : null];
    }

    function pick(chosenEntries, from, passing = false) {
      on = chosenEntries;
      if (!passing) kept.entries = chosenEntries;
      said.replaceChildren(...(on.length ? on.map((entry) => make("p", {}, ...words(entry)))
        : [make("p", { class: "dim" }, file.reason || "Point at a line, or move with the arrow keys: what became of it is said here.")]));
      const lines = { left: new Set(on.map((entry) => entry.line)), right: new Set(on.flatMap((entry) => entry.lines)) };
      left.nodes.forEach((one, number) => one.classList.toggle("on", lines.left.has(number + 1)));
      right.nodes.forEach((one, number) => one.classList.toggle("on", lines.right.has(number + 1)));
      list.querySelectorAll("button").forEach((button, number) => button.classList.toggle("on", on.includes(silent[number])));
      if (!passing) {
        if (from !== "source") reveal(left);
        if (from !== "target") reveal(right);
      }
      draw();
    }

    function reveal(side) {
      const first = side.nodes.find((one) => one.classList.contains("on"));
      if (!first) return;
      const [box, line] = [side.node.getBoundingClientRect(), first.getBoundingClientRect()];
      if (line.top < box.top || line.bottom > box.bottom) side.node.scrollTop += line.top - box.top - box.height / 3;
    }

    function draw() {
      const around = pair.getBoundingClientRect();
      const [a, b] = [left.node.getBoundingClientRect(), right.node.getBoundingClientRect()];
      const paths = [];
      const place = (side, box, number) => {
        const line = side.nodes[number - 1];
        if (!line) return null;
        const rect = line.getBoundingClientRect();
        const middle = rect.top + rect.height / 2;
        return middle < box.top || middle > box.bottom ? null : middle - around.top;
      };
      for (const entry of entries) {
        if (!entry.line) continue;
        const from = place(left, a, entry.line);
        if (from === null) continue;
        for (const number of entry.lines) {
          const to = place(right, b, number);
          if (to === null) continue;
          const [x, y] = [a.right - around.left, b.left - around.left];
          const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
          path.setAttribute("d", `M${x} ${from}C${x + 30} ${from} ${y - 30} ${to} ${y} ${to}`);
          path.style.setProperty("--c", `var(--${entry.verdict})`);
          if (on.includes(entry)) path.setAttribute("class", "on");
          paths.push(path);
        }
      }
      svg.replaceChildren(...paths);
    }

    let begun = false;
    function begin(line) {
      if (begun) return draw();
      begun = true;
      const own = line ? entries.filter((entry) => entry.line === line) : [];
      pick(own, null);
      new ResizeObserver(draw).observe(pair);
    }
    return { node, begin };
  }

  // --- the rest of the page ---------------------------------------------------------------------------------------

  function causeRow(cause, index, blocking) {
    const toggle = () => set({ cause: state.cause === index ? null : index });
    const about = [cause.meaning, cause.examples.length && cause.kind !== "refused" ? `for instance ${cause.examples.join("; ")}` : ""].filter(Boolean).join("; ");
    return make("tr", { class: "row" },
      make("td", { class: "number" }, String(cause.count)),
      blocking ? make("td", { class: "number" }, String(cause.frees)) : null,
      blocking ? make("td", { class: "number" }, String(cause.freed)) : null,
      blocking ? make("td", { class: "kind", colour: cause.kind }, kinds[cause.kind]) : null,
      make("td", {}, make("button", { type: "button", "data-cause": index, "aria-pressed": "false", title: "show its files", onclick: toggle }, cause.name),
        about ? make("p", { class: "dim" }, about) : null));
  }

  function build() {
    document.title = `${audit.path} to ${audit.title}`;
    $("#title").textContent = document.title;
    $("#about").textContent = `${audit.summary.files} configs, audited by ftmigrate ${audit.ftmigrate}`;
    for (const outcome of order) {
      const number = audit.summary.outcomes[outcome];
      if (!number) continue;
      const part = make("span", { colour: outcome });
      part.style.flexGrow = number;
      $("#bar").append(part);
      const toggle = () => set({ outcomes: state.outcomes.includes(outcome) ? state.outcomes.filter((one) => one !== outcome) : [...state.outcomes, outcome] });
      $("#outcomes").append(make("button", { type: "button", colour: outcome, "data-outcome": outcome, "aria-pressed": "false", onclick: toggle },
        make("b", {}, String(number)), ` ${audit.words[outcome]}`));
    }
    $("#blockers tbody").append(...audit.blockers.map((cause, index) => causeRow(cause, index, true)));
    $("#approximations tbody").append(...audit.approximations.map((cause, index) => causeRow(cause, audit.blockers.length + index, false)));
    $("#blocking").hidden = !audit.blockers.length;
    $("#nearly").hidden = !audit.approximations.length;
    $("#files thead tr").append(...columns.map((column) => make("th", { class: column.number ? "number" : null, scope: "col" },
      make("button", { type: "button", onclick: () => set({ sort: column.id, down: state.sort === column.id ? !state.down : Boolean(column.down) }) }, column.title))));
    $("#find").addEventListener("input", (event) => set({ find: event.target.value }));
    $("#reset").addEventListener("click", () => set({ find: "", outcomes: [], cause: null }));
    window.addEventListener("hashchange", () => { fromAddress(); opened = null; show(); });
  }

  build();
  fromAddress();
  if (state.cause !== null && state.cause >= audit.blockers.length) $("#nearly").open = true;
  show();
  if (opened) rows[opened.index].scrollIntoView({ block: "start" });
})();
