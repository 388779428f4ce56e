// The viewer of one case. One tiled video holds the driver and all methods, so they cannot get out of step; each picture is
// a canvas onto which its tile is drawn.
"use strict";
(function () {
  const plot = window.ExprBenchPlot;
  const report = window.ExprBenchData;
  const byId = (id) => document.getElementById(id);
  const video = byId("tiled");
  const cases = {};
  const landmarks = {};
  const state = { id: "", data: null, frame: 0, wanted: null, screens: [], plots: [], hidden: new Set(), face: "mean", token: 0 };

  function make(tag, properties, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  function load(path, ready, failed) {
    const script = make("script", { src: path, onload: ready, onerror: failed });
    document.head.append(script);
    script.addEventListener("load", () => script.remove());
  }

  function say(text) {
    byId("message").textContent = text;
    byId("message").hidden = !text;
  }

  const columnOf = (name) => report.columns.find((column) => column.name === name);
  const printed = (value, column) => (value === null || value === undefined ? "\u2013" : value.toFixed(column ? column.decimals : 2));

  // A picture is shown at the middle of its time: at its first instant, rounding can give the picture before.
  const timeOf = (frame) => (frame + 0.5) / state.data.fps;

  function open(id) {
    close();
    state.token += 1;
    const token = state.token;
    if (cases[id]) {
      show(id);
      return;
    }
    load(`cases/${id}.js`, () => token === state.token && show(id), () => say(`The file cases/${id}.js is missing; build the report again.`));
  }

  function close() {
    video.pause();
    video.removeAttribute("src");
    state.data = null;
    state.plots = [];
    say("");
    for (const name of ["screens", "curves"]) byId(name).replaceChildren();
    byId("frame-table").open = false;
    byId("curves-head").hidden = byId("frame-table").hidden = true;
  }

  function show(id) {
    const data = cases[id];
    Object.assign(state, { id, data, frame: 0, wanted: null, face: "mean" });
    state.screens = data.screens.map((screen, i) => buildScreen(screen, i));
    byId("screens").replaceChildren(sourceFigure(id), ...state.screens.map((s) => s.figure));
    byId("position").max = data.frames - 1;
    buildFaces(data);
    buildCurves();
    byId("play").textContent = "Play";
    setFrame(0);
    video.src = `cases/${id}.mp4`;
    video.playbackRate = Number(byId("speed").value);
    watch();
    seek(0);
    if (byId("landmarks").checked) loadLandmarks();
  }

  function sourceFigure(id) {
    const image = make("img", { src: `cases/${id}.jpg`, alt: "source image" });
    return make("figure", {}, make("figcaption", { textContent: "source" }), image);
  }

  function buildScreen(screen, index) {
    const figure = make("figure", {});
    const caption = make("figcaption", {});
    const value = make("p", { className: "value" });
    const name = make("span", { textContent: screen.name, title: screen.name });
    if (screen.method === null) caption.append(name);
    else {
      const box = make("input", { type: "checkbox", checked: !state.hidden.has(screen.method) });
      box.setAttribute("aria-label", `show ${screen.name}`);
      box.addEventListener("change", () => toggle(screen.method, box.checked));
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = plot.colour(screen.method);
      caption.append(make("label", {}, box, swatch, name));
    }
    figure.append(caption);
    figure.classList.toggle("off", state.hidden.has(screen.method));
    let canvas = null;
    if (screen.tile) {
      canvas = make("canvas", { width: screen.tile[2], height: screen.tile[3] });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", screen.method === null ? `video of the ${screen.name}` : `video of ${screen.name}`);
      figure.append(canvas);
    } else figure.append(make("div", { className: "empty", textContent: "no video" }));
    figure.append(value);
    if (screen.note) figure.append(make("p", { className: "note", textContent: screen.note }));
    return { screen, index, figure, canvas, value };
  }

  function toggle(method, isShown) {
    if (isShown) state.hidden.delete(method);
    else state.hidden.add(method);
    for (const s of state.screens) s.figure.classList.toggle("off", state.hidden.has(s.screen.method));
    for (const p of state.plots) p.lines.show(visible());
    setFrame(state.frame);
  }

  const visible = () => new Set(report.methods.map((_, i) => i).filter((i) => !state.hidden.has(i)));

  function buildFaces(data) {
    byId("face-label").hidden = data.faces < 2;
    const options = [["mean", "mean of all"], ...Array.from({ length: data.faces }, (_, i) => [String(i), `${i + 1} from the left`])];
    byId("face").replaceChildren(...options.map(([value, text]) => make("option", { value, textContent: text })));
  }

  // The values of one screen: those of the chosen face, or the mean over the faces that have a value in a frame.
  function valuesOf(column, index) {
    const faces = state.data.curves[column][index];
    if (!faces) return null;
    if (state.face !== "mean") return faces[Number(state.face)] || null;
    if (faces.length === 1) return faces[0];
    return faces[0].map((_, t) => {
      const known = faces.map((face) => face[t]).filter((v) => v !== null);
      return known.length ? known.reduce((sum, v) => sum + v, 0) / known.length : null;
    });
  }

  function buildCurves() {
    const { data } = state;
    const names = Object.keys(data.curves);
    byId("curves-head").hidden = byId("frame-table").hidden = names.length === 0;
    const figures = names.map((name) => {
      const column = columnOf(name) || { title: name.toUpperCase(), unit: "", meaning: "", decimals: 2 };
      const canvas = make("canvas", {});
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${column.title} of each frame; the values are in the table below`);
      const unit = column.unit ? ` in ${column.unit}` : "";
      const caption = make("figcaption", { textContent: column.title }, make("span", { textContent: `${unit}: ${column.meaning}` }));
      return { name, column, canvas, figure: make("figure", {}, caption, canvas) };
    });
    byId("curves").replaceChildren(...figures.map((f) => f.figure));
    state.plots = figures.map((f) => {
      const found = state.screens.filter((s) => s.screen.method !== null && valuesOf(f.name, s.index));
      const series = found.map((s) => ({ method: s.screen.method, index: s.index, values: valuesOf(f.name, s.index) }));
      const lines = plot.lines(f.canvas, { series, x: (i) => i / data.fps, label: "seconds", onPick: goTo });
      lines.show(visible());
      return { name: f.name, column: f.column, series, lines };
    });
  }

  function goTo(frame) {
    video.pause();
    seek(frame);
  }

  function seek(frame) {
    const target = Math.max(0, Math.min(state.data.frames - 1, frame));
    setFrame(target);
    if (video.seeking || video.readyState < 1) state.wanted = target;
    else video.currentTime = timeOf(target);
  }

  // Draws the tiles of the picture that the video shows, and sets everything else to its number.
  function drawPicture(frame) {
    if (!state.data || video.readyState < 2) return;
    for (const s of state.screens) {
      if (!s.canvas) continue;
      const [x, y, width, height] = s.screen.tile;
      const context = s.canvas.getContext("2d");
      context.drawImage(video, x, y, width, height, 0, 0, width, height);
      if (frame >= s.screen.frames) drawEnd(context, width, height);
      else drawLandmarks(context, s, frame, width, height);
    }
    setFrame(frame);
  }

  function drawEnd(context, width, height) {
    context.fillStyle = "#282828";
    context.fillRect(0, 0, width, height);
    context.fillStyle = "#c8c8c8";
    context.font = "14px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText("no frame", width / 2, height / 2);
  }

  function setFrame(frame) {
    state.frame = frame;
    const { data } = state;
    byId("position").value = frame;
    const text = `frame ${frame + 1} of ${data.frames}, ${(frame / data.fps).toFixed(2)} s`;
    byId("position").setAttribute("aria-valuetext", text);
    byId("time").textContent = text;
    for (const p of state.plots) p.lines.playhead(frame);
    for (const s of state.screens) if (s.screen.method !== null) s.value.replaceChildren(...valueTexts(s.index, frame));
    if (byId("frame-table").open) drawTable();
  }

  function valueTexts(index, frame) {
    const found = state.plots.map((p) => [p, p.series.find((one) => one.index === index)]).filter(([, one]) => one);
    return found.flatMap(([p, one]) => [make("span", { textContent: `${p.column.title}\u00a0${printed(one.values[frame], p.column)}` }), " "]);
  }

  function drawTable() {
    const head = make("tr", {}, ...["Method", ...state.plots.map((p) => p.column.title)].map((text) => make("th", { textContent: text, scope: "col" })));
    const methods = state.screens.filter((s) => s.screen.method !== null);
    const rows = methods.map((s) => {
      const values = state.plots.map((p) => {
        const one = p.series.find((series) => series.index === s.index);
        return make("td", { textContent: printed(one ? one.values[state.frame] : null, p.column) });
      });
      return make("tr", {}, make("th", { textContent: s.screen.name, scope: "row" }), ...values);
    });
    const caption = make("caption", { textContent: byId("time").textContent });
    const table = make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...rows));
    byId("frame-table").querySelector("div").replaceChildren(table);
  }

  function loadLandmarks() {
    const { id } = state;
    if (landmarks[id]) redraw();
    else load(`cases/${id}.landmarks.js`, redraw, () => say("This case has no landmarks."));
  }

  function redraw() {
    if (state.data) drawPicture(state.frame);
  }

  function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Uint16Array(bytes.buffer);
  }

  function drawLandmarks(context, s, frame, width, height) {
    const found = landmarks[state.id];
    if (!found || !byId("landmarks").checked) return;
    const isMethod = s.screen.method !== null;
    // In self reenactment the landmarks of the driver belong into the same picture.
    if (isMethod && state.id.includes("-self-")) {
      for (const points of found.screens[0] || []) dots(context, points, found.points, frame, width, height, "#ffffff");
    }
    for (const points of found.screens[s.index] || []) {
      dots(context, points, found.points, frame, width, height, isMethod ? plot.colour(s.screen.method) : "#ffffff");
    }
  }

  function dots(context, points, count, frame, width, height, fill) {
    const size = Math.max(1.2, width / 170);
    for (let k = frame * count * 2; k < Math.min((frame + 1) * count * 2, points.length); k += 2) {
      if (!points[k]) return; // the face is not seen
      const [x, y] = [points[k], points[k + 1]].map((v) => ((v - 1) / 65534) * 2 - 0.5);
      context.fillStyle = "rgba(0, 0, 0, .4)";
      context.fillRect(x * width - size / 2 - 0.5, y * height - size / 2 - 0.5, size + 1, size + 1);
      context.fillStyle = fill;
      context.fillRect(x * width - size / 2, y * height - size / 2, size, size);
    }
  }

  // Follows the pictures of the video. Where requestVideoFrameCallback is missing, `seeked` and a timer do it.
  const hasCallback = "requestVideoFrameCallback" in HTMLVideoElement.prototype;
  function watch() {
    const token = state.token;
    const next = (_, picture) => {
      if (token !== state.token || !state.data) return;
      drawPicture(Math.min(state.data.frames - 1, Math.round(picture.mediaTime * state.data.fps)));
      video.requestVideoFrameCallback(next);
    };
    if (hasCallback) video.requestVideoFrameCallback(next);
  }

  function currentFrame() {
    return Math.min(state.data.frames - 1, Math.floor(video.currentTime * state.data.fps + 1e-6));
  }

  function follow() {
    if (hasCallback || !state.data || video.paused) return;
    drawPicture(currentFrame());
    requestAnimationFrame(follow);
  }

  function pursue() {
    if (state.wanted === null || !state.data) return false;
    const target = state.wanted;
    state.wanted = null;
    video.currentTime = timeOf(target);
    return true;
  }

  video.addEventListener("loadedmetadata", pursue);
  video.addEventListener("loadeddata", () => state.data && !video.seeking && drawPicture(currentFrame()));
  video.addEventListener("seeked", () => state.data && !pursue() && drawPicture(currentFrame()));
  video.addEventListener("play", () => {
    byId("play").textContent = "Pause";
    byId("play").setAttribute("aria-pressed", "true");
    follow();
  });
  video.addEventListener("pause", () => {
    byId("play").textContent = "Play";
    byId("play").setAttribute("aria-pressed", "false");
    if (state.data && !video.ended) seek(state.frame); // to the middle of the frame, so that steps are exact
  });
  video.addEventListener("ended", () => {
    if (!state.data) return;
    if (byId("loop").checked) {
      video.currentTime = 0;
      play();
    } else seek(state.data.frames - 1);
  });
  video.addEventListener("error", () => {
    if (state.data && video.getAttribute("src")) say(`The browser cannot play cases/${state.id}.mp4: ${video.error ? video.error.message : "unknown error"}`);
  });

  function play() {
    const started = video.play();
    if (started) started.catch((error) => error.name !== "AbortError" && say(`The browser did not start the video: ${error.message}`));
  }

  function playOrPause() {
    if (!state.data) return;
    if (!video.paused) {
      video.pause();
      return;
    }
    if (state.frame >= state.data.frames - 1) video.currentTime = 0;
    play();
  }

  const step = (count) => goTo(state.frame + count);

  const KEYS = {
    " ": playOrPause,
    ArrowLeft: (event) => step(event.shiftKey ? -10 : -1),
    ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
    Home: () => goTo(0),
    End: () => goTo(state.data.frames - 1),
    l: () => byId("landmarks").click(),
  };

  // Returns whether the key did something. Keys of form fields and buttons stay theirs.
  function key(event) {
    if (!state.data || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return false;
    const { target } = event;
    const isSlider = target.id === "position";
    if (target.closest("select, textarea, input:not([type=checkbox])") && !isSlider) return false;
    if (event.key === " " && target.closest("button, a, summary, input[type=checkbox]")) return false;
    event.preventDefault();
    KEYS[event.key](event);
    return true;
  }

  byId("play").addEventListener("click", playOrPause);
  byId("step").addEventListener("click", () => step(1));
  byId("step-back").addEventListener("click", () => step(-1));
  byId("position").addEventListener("input", () => goTo(Number(byId("position").value)));
  byId("speed").addEventListener("change", () => { video.playbackRate = Number(byId("speed").value); });
  byId("landmarks").addEventListener("change", () => (byId("landmarks").checked ? loadLandmarks() : redraw()));
  byId("size").addEventListener("input", () => byId("screens").style.setProperty("--side", `${byId("size").value}px`));
  byId("frame-table").addEventListener("toggle", () => state.data && byId("frame-table").open && drawTable());
  byId("face").addEventListener("change", () => {
    state.face = byId("face").value;
    buildCurves();
    setFrame(state.frame);
  });
  let resizing = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      if (!state.data) return;
      for (const p of state.plots) p.lines.draw();
      setFrame(state.frame);
    }, 150);
  });

  window.ExprBenchReport = {
    addCase(id, data) { cases[id] = data; },
    addLandmarks(id, data) {
      const screens = {};
      for (const [index, faces] of Object.entries(data.screens)) screens[index] = faces.map(unpack);
      landmarks[id] = { points: data.points, screens };
    },
    open,
    close,
    key,
    seek: goTo,
    frame: () => state.frame,
  };
})();
