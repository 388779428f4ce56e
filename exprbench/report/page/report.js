// The first page: the table as links, filters, distributions, drift and the list of cases; and the address of each view.
"use strict";
(function () {
  const report = window.ExprBenchData;
  const plot = window.ExprBenchPlot;
  const player = window.ExprBenchReport;
  const byId = (id) => document.getElementById(id);
  const SPLITS = { "": "both", single: "single", multi: "multi" };
  const TRACKS = { "": "both", self: "self", cross: "cross" };
  const NUM_EXTREMES = 5;
  const view = { split: "", track: "", metric: "", method: "", search: "", problems: "", sort: "", order: "" };
  let scroll = 0;

  function make(tag, properties, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  const column = () => report.columns[metricIndex()];
  const defaultMetric = mostComplete();
  function metricIndex() {
    const found = report.columns.findIndex((c) => c.name === view.metric);
    return found < 0 ? defaultMetric : found;
  }

  // The first of the columns that have values in the most cases.
  function mostComplete() {
    const counts = report.columns.map((_, i) => report.cases.filter((c) => c.values.some((values) => values[i] !== null)).length);
    return counts.indexOf(Math.max(...counts));
  }
  const printed = (value) => (value === null ? "\u2013" : value.toFixed(column().decimals));
  const isWorse = (a, b) => (column().higher ? a - b : b - a); // sorts the worst first
  const methods = () => (view.method === "" ? report.methods.map((_, i) => i) : [Number(view.method)]);

  function hash(changes) {
    const wanted = { ...view, ...changes };
    const pairs = Object.entries(wanted).filter(([, value]) => value !== "");
    return `#${new URLSearchParams(pairs)}`;
  }

  // ---- the table: every number is a link to its cases

  function linkTable() {
    const rows = document.querySelectorAll("#table tbody tr");
    rows.forEach((row, r) => {
      const [split, method] = report.table.rows[r];
      row.classList.toggle("first", r > 0 && split !== report.table.rows[r - 1][0]);
      report.table.columns.forEach(([track, metric], c) => {
        const cell = row.cells[c + 2];
        if (cell.className === "none" || !report.columns.some((one) => one.name === metric)) return;
        const target = hash({ split, track, metric, method: String(method), search: "", problems: "", sort: "worst", order: "" });
        const link = make("a", { href: target, title: cell.title }, ...cell.childNodes);
        link.addEventListener("click", () => requestAnimationFrame(() => byId("filters").scrollIntoView()));
        cell.replaceChildren(link);
      });
    });
  }

  function linkFigures() {
    const names = report.figures.filter((name) => name.endsWith(".pdf"));
    byId("figures").hidden = names.length === 0;
    names.forEach((name, i) => byId("figures").append(i ? ", " : "Figures: ", make("a", { href: `figures/${name}`, textContent: name })));
  }

  // ---- filters

  function fill(select, entries) {
    select.replaceChildren(...entries.map(([value, text]) => make("option", { value, textContent: text })));
  }

  function buildFilters() {
    const present = (field, names) => Object.entries(names).filter(([value]) => value === "" || report.cases.some((c) => c[field] === value));
    fill(byId("split"), present("split", SPLITS));
    fill(byId("track"), present("track", TRACKS));
    fill(byId("metric"), report.columns.map((c) => [c.name, c.title + (c.unit ? ` (${c.unit})` : "")]));
    fill(byId("method"), [["", "all"], ...report.methods.map((name, i) => [String(i), name])]);
    for (const name of ["split", "track", "metric", "method"]) byId(name).addEventListener("change", () => change({ [name]: byId(name).value }));
    byId("search").addEventListener("input", () => change({ search: byId("search").value }));
    byId("problems").addEventListener("change", () => change({ problems: byId("problems").checked ? "1" : "" }));
    byId("reset").addEventListener("click", () => change(Object.fromEntries(Object.keys(view).map((name) => [name, ""]))));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
  }

  function change(changes) {
    history.replaceState(null, "", hash(changes));
    route();
  }

  function matches(one) {
    if (view.split && one.split !== view.split) return false;
    if (view.track && one.track !== view.track) return false;
    if (view.problems && !methods().some((m) => one.problems[m])) return false;
    const words = view.search.toLowerCase().split(/\s+/).filter(Boolean);
    const text = `${one.id} ${one.names} ${methods().map((m) => one.problems[m]).join(" ")}`.toLowerCase();
    return words.every((word) => text.includes(word));
  }

  const valueOf = (one, method) => one.values[method][metricIndex()];
  const best = (values) => values.reduce((a, b) => (a === null ? b : b === null ? a : isWorse(a, b) > 0 ? a : b), null);
  const worst = (values) => values.reduce((a, b) => (a === null ? b : b === null ? a : isWorse(a, b) < 0 ? a : b), null);

  // ---- distributions

  function drawDistributions(found) {
    const rows = methods().map((method) => ({
      method,
      label: report.methods[method],
      points: found.filter((c) => valueOf(c, method) !== null).map((c) => ({ value: valueOf(c, method), id: c.id })),
    }));
    const { title, unit, meaning, higher } = column();
    byId("meaning").textContent = `${title}: ${meaning}${unit ? `, in ${unit}` : ""}; ${higher ? "higher" : "lower"} is better. One point for each case, the median as a line, half of the cases in the box.`;
    byId("strips").setAttribute("aria-label", `Distribution of ${title} over ${found.length} cases for each method`);
    plot.strips(byId("strips"), { rows, label: title + (unit ? ` (${unit})` : ""), onPick: openCase, fromZero: !higher });
    drawSummary(rows);
    const points = rows.flatMap((row) => row.points.map((p) => ({ ...p, row })));
    points.sort((a, b) => isWorse(a.value, b.value));
    const count = Math.min(NUM_EXTREMES, Math.ceil(points.length / 2));
    byId("worst").replaceChildren(...points.slice(0, count).map(extreme));
    byId("best").replaceChildren(...points.slice(points.length - count).reverse().map(extreme));
  }

  function extreme(point) {
    const text = make("span", {}, point.id, make("small", { textContent: point.row.label }));
    const link = make("a", { href: `#case=${point.id}` }, thumbnail(point.id), text, make("b", { textContent: printed(point.value) }));
    return make("li", {}, link);
  }

  const withFiles = new Set(report.cases.filter((c) => c.media).map((c) => c.id));
  function thumbnail(id) {
    if (!withFiles.has(id)) return make("span", { className: "thumb" });
    return make("img", { className: "thumb", src: `cases/${id}.jpg`, alt: "", loading: "lazy", decoding: "async", width: 40, height: 40 });
  }

  function drawSummary(rows) {
    const names = ["Method", "cases", "mean", "lowest", "first quartile", "median", "third quartile", "highest"];
    const head = make("tr", {}, ...names.map((name) => make("th", { textContent: name, scope: "col" })));
    const body = rows.map((row) => {
      const s = plot.summary(row.points.map((p) => p.value));
      const values = [s.mean, s.low, s.first, s.median, s.third, s.high].map((v) => make("td", { textContent: printed(v) }));
      return make("tr", {}, make("th", { textContent: row.label, scope: "row" }), make("td", { textContent: s.count }), ...values);
    });
    byId("strips-table").querySelector("div").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
  }

  // ---- drift

  function drawDrift() {
    const ofMetric = report.drift.groups.filter((g) => g.column === column().name);
    const groups = ofMetric.filter((g) => (!view.split || g.split === view.split) && (!view.track || g.track === view.track));
    byId("over-time").hidden = report.drift.groups.length === 0;
    const names = [...new Set(report.drift.groups.map((g) => g.column.toUpperCase()))].join(", ");
    byId("time-hint").textContent = groups.length
      ? `Means over cases in steps of ${report.drift.width} s. A curve that rises shows a method that drifts.`
      : `There are curves of ${names} here; choose one of them as the metric.`;
    const shown = new Set(methods());
    const figures = groups.map((g) => {
      const one = report.columns.find((c) => c.name === g.column) || { title: g.column.toUpperCase(), unit: "" };
      const videos = Math.max(...Object.values(g.counts).flat());
      const caption = make("figcaption", { textContent: one.title }, make("span", { textContent: `${one.unit ? ` in ${one.unit}` : ""}, ${g.split} ${g.track}, ${videos} ${videos === 1 ? "case" : "cases"}` }));
      const canvas = make("canvas", {});
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${one.title} over time, ${g.split} ${g.track}; ${driftText(g)}`);
      return { g, canvas, figure: make("figure", {}, caption, canvas) };
    });
    const legend = make("div", { className: "legend" }, ...methods().map((m) => {
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = plot.colour(m);
      return make("span", {}, swatch, report.methods[m]);
    }));
    byId("drift").replaceChildren(...figures.map((f) => f.figure));
    byId("over-time").querySelector(".legend")?.remove();
    if (groups.length) byId("drift").before(legend);
    for (const f of figures) {
      const series = Object.entries(f.g.means).map(([m, values]) => ({ method: Number(m), values })).filter((s) => shown.has(s.method));
      plot.lines(f.canvas, { series, x: (i) => (i + 0.5) * report.drift.width, label: "seconds" });
    }
  }

  function driftText(group) {
    const parts = Object.entries(group.means).map(([m, values]) => {
      const known = values.filter((v) => v !== null);
      return known.length ? `${report.methods[m]} from ${known[0]} to ${known[known.length - 1]}` : "";
    });
    return parts.filter(Boolean).join(", ");
  }

  // ---- the list of cases

  function spread(one) {
    const known = methods().map((m) => valueOf(one, m)).filter((v) => v !== null);
    return known.length > 1 ? Math.max(...known) - Math.min(...known) : null;
  }

  // Returns what a case is sorted by: null goes last in both orders.
  function sortValue(one) {
    if (view.sort === "spread") return spread(one);
    if (view.sort === "worst") return worst(methods().map((m) => valueOf(one, m)));
    if (view.sort.startsWith("m")) return valueOf(one, Number(view.sort.slice(1)));
    return one.id;
  }

  function sorted(found) {
    const sign = view.order === "down" ? -1 : 1;
    if (!view.sort || view.sort === "id") return sign < 0 ? [...found].reverse() : found;
    const compare = view.sort === "worst" ? isWorse : (a, b) => a - b;
    return found.map((one) => [sortValue(one), one]).sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b))).map(([, one]) => one);
  }

  function heading(name, text, start) {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", () => {
      const again = view.sort === name || (name === "id" && !view.sort);
      change({ sort: name, order: again ? (view.order === "down" ? "" : "down") : start });
      [...document.querySelectorAll("#cases th button")].find((b) => b.textContent === text)?.focus();
    });
    const cell = make("th", { scope: "col" }, button);
    if (view.sort === name) cell.setAttribute("aria-sort", view.order === "down" ? "descending" : "ascending");
    return cell;
  }

  function drawCases(found) {
    const shown = methods();
    const head = [make("th", { textContent: "" }, make("span", {})), heading("id", "Case", ""), make("th", { textContent: "Portrait and drivers", scope: "col" })];
    head.push(...shown.map((m) => heading(`m${m}`, report.methods[m], column().higher ? "" : "down")));
    if (shown.length > 1) head.push(heading("spread", "Spread", "down"));
    byId("cases").querySelector("thead").replaceChildren(make("tr", {}, ...head));
    byId("cases").querySelector("tbody").replaceChildren(...sorted(found).map((one) => caseRow(one, shown)));
  }

  function caseRow(one, shown) {
    const values = shown.map((m) => valueOf(one, m));
    const top = shown.length > 1 ? best(values) : null;
    const cells = shown.map((m, i) => {
      const cell = make("td", { textContent: printed(values[i]), className: values[i] === null ? "none" : values[i] === top ? "best" : "" });
      if (one.problems[m]) cell.append(mark(one.problems[m]));
      return cell;
    });
    if (shown.length > 1) cells.push(make("td", { textContent: printed(spread(one)) }));
    const name = one.media ? make("a", { href: `#case=${one.id}`, textContent: one.id }) : one.id;
    const row = make("tr", {}, make("td", {}, thumbnail(one.id)), make("td", {}, name), make("td", { textContent: one.names }), ...cells);
    if (one.media) row.addEventListener("click", (event) => event.target.closest("a") || openCase(one.id));
    return row;
  }

  function mark(text) {
    const node = make("span", { className: "mark", title: text, textContent: "\u26a0" });
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", text);
    return node;
  }

  // ---- views

  function openCase(id) {
    if (withFiles.has(id)) location.hash = `#case=${id}`;
  }

  function showCase(id) {
    const one = report.cases.find((c) => c.id === id);
    if (!byId("overview").hidden) scroll = window.scrollY;
    byId("overview").hidden = true;
    byId("viewer").hidden = false;
    byId("case-title").textContent = id;
    byId("case-names").textContent = `${one.split} ${one.track}${one.names ? `: ${one.names}` : ""}`;
    document.title = `${id} \u2013 ${title}`;
    const order = sorted(report.cases.filter(matches)).filter((c) => c.media).map((c) => c.id);
    const place = order.indexOf(id);
    go(byId("previous"), place > 0 ? order[place - 1] : "");
    go(byId("next"), place >= 0 ? order[place + 1] || "" : "");
    byId("back").href = hash({});
    player.open(id);
    window.scrollTo(0, 0);
    byId("case-title").focus({ preventScroll: true });
  }

  function go(link, id) {
    link.setAttribute("aria-disabled", String(!id));
    if (id) link.href = `#case=${id}`;
    else link.removeAttribute("href");
  }

  function showOverview() {
    const wasHidden = byId("overview").hidden;
    player.close();
    byId("viewer").hidden = true;
    byId("overview").hidden = false;
    document.title = title;
    draw();
    if (wasHidden) window.scrollTo(0, scroll);
  }

  function draw() {
    for (const name of ["split", "track", "method"]) byId(name).value = view[name];
    byId("metric").value = column().name;
    byId("problems").checked = view.problems === "1";
    if (byId("search").value !== view.search) byId("search").value = view.search;
    const found = report.cases.filter(matches);
    byId("count").textContent = `${found.length} of ${report.cases.length} cases`;
    drawDistributions(found);
    drawDrift();
    drawCases(found);
  }

  // The address holds the view, so that it can be shared: #case=ID, or the filters.
  function route() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const id = wanted.get("case");
    if (id !== null && withFiles.has(id)) {
      showCase(id);
      return;
    }
    for (const name of Object.keys(view)) view[name] = wanted.get(name) || "";
    if (!/^\d+$/.test(view.method) || Number(view.method) >= report.methods.length) view.method = "";
    if (!Object.hasOwn(SPLITS, view.split)) view.split = "";
    if (!Object.hasOwn(TRACKS, view.track)) view.track = "";
    showOverview();
  }

  document.addEventListener("keydown", (event) => {
    if (byId("viewer").hidden || player.key(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox], [type=range]), select, textarea")) return;
    const links = { Escape: "back", p: "previous", n: "next" };
    if (links[event.key] && byId(links[event.key]).href) byId(links[event.key]).click();
  });
  let resizing = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => byId("overview").hidden || draw(), 150);
  });
  window.addEventListener("hashchange", route);
  window.addEventListener("beforeprint", () => { for (const node of document.querySelectorAll("#table details")) node.open = true; });

  const title = document.title;
  const { benchmark } = report;
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  byId("about").textContent = `Benchmark ${benchmark.name}, ${plural(report.cases.length, "case")}, ${plural(report.methods.length, "method")}; sha256 ${benchmark.sha256.slice(0, 16)}`;
  if (report.columns.length) {
    linkTable();
    linkFigures();
    buildFilters();
    route();
  } else {
    byId("about").textContent += ". The records have no values of single cases.";
    for (const node of document.querySelectorAll("#overview > :not(:first-child)")) node.hidden = true;
  }
})();
