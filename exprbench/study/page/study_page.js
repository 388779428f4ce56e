// The questionnaire. It runs from file:// (classic scripts, nothing fetched) and knows no method, only hashed names.
"use strict";
(function () {
  const study = window.STUDY;
  const byId = (id) => document.getElementById(id);
  const state = { rater: "", answers: [], draft: {}, started: "", plays: 0, watched: 0, shownAt: 0 };

  function make(tag, properties, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  function say(text) {
    byId("message").textContent = text;
    byId("message").hidden = !text;
  }

  function show(id) {
    for (const main of document.querySelectorAll("main")) main.hidden = main.id !== id;
    window.scrollTo(0, 0);
  }

  // All pages opened from file:// share one store, so the key names the study and the rater.
  const storeKey = () => `exprbench-study:${study.study}:${state.rater}`;

  function store() {
    const { rater, answers, draft, started, plays, watched } = state;
    const trial = session()[answers.length] || "";
    try {
      localStorage.setItem(storeKey(), JSON.stringify({ rater, answers, draft, started, plays, watched, trial }));
    } catch (error) {
      say("This browser does not store your answers. Please do not close the page before you have saved them.");
    }
  }

  function restore() {
    let saved = null;
    try {
      saved = JSON.parse(localStorage.getItem(storeKey()));
    } catch (error) { /* a private window, or a damaged entry: start again */ }
    if (!saved || saved.rater !== state.rater || !Array.isArray(saved.answers)) return;
    const ids = session();
    if (saved.answers.length > ids.length || saved.answers.some((answer, i) => answer.trial !== ids[i])) return;
    state.answers = saved.answers;
    state.started = saved.started || "";
    if (saved.trial === ids[saved.answers.length]) {
      state.draft = saved.draft || {};
      state.plays = saved.plays || 0;
      state.watched = saved.watched || 0;
    }
  }

  const session = () => study.raters[state.rater];

  function enter(code) {
    const rater = code.trim().toLowerCase();
    if (!Object.prototype.hasOwnProperty.call(study.raters, rater)) {
      say(`There is no code "${code.trim()}" in this study. Please check it.`);
      return;
    }
    say("");
    state.rater = rater;
    restore();
    state.started = state.started || new Date().toISOString();
    store();
    showTrial();
  }

  function showTrial() {
    const number = state.answers.length;
    const ids = session();
    if (number >= ids.length) {
      finish();
      return;
    }
    const isPractice = study.practice.includes(ids[number]);
    byId("progress").textContent = (isPractice ? "Practice, " : "") + `video ${number + 1} of ${ids.length}`;
    byId("bar").value = number / ids.length;
    byId("progress").hidden = byId("bar").hidden = false;
    state.shownAt = performance.now();
    drawScreens(study.trials[ids[number]]);
    drawQuestions();
    update();
    show("trial");
    preload(ids[number + 1]);
  }

  function screen(kind, caption, media) {
    return make("figure", { className: kind }, make("figcaption", { textContent: caption }), media);
  }

  function video(path) {
    const node = make("video", { src: path, muted: true, playsInline: true, preload: "auto", disablePictureInPicture: true });
    node.setAttribute("playsinline", "");
    node.addEventListener("error", () => say("The video cannot be played. Please reload the page; if this stays, ask the person who invited you."));
    return node;
  }

  function drawScreens(trial) {
    const results = trial.results.map(video);
    const drivers = trial.drivers.map(video);
    const names = results.length === 2 ? ["Left result", "Right result"] : ["Result"];
    const figures = results.map((node, i) => screen("result", names[i], node));
    drivers.forEach((node) => figures.splice(results.length === 2 ? 1 : 0, 0, screen("driver", "Driving video", node)));
    if (trial.source) figures.unshift(screen("source", "Picture", make("img", { src: trial.source, alt: "source picture" })));
    byId("screens").replaceChildren(...figures);
    byId("play").onclick = () => play(results, drivers);
    byId("play").disabled = false;
  }

  function whenReady(node) {
    if (node.readyState >= 4) return Promise.resolve();
    return new Promise((done) => node.addEventListener("canplaythrough", done, { once: true }));
  }

  function whenEnded(node) {
    return new Promise((done) => node.addEventListener("ended", done, { once: true }));
  }

  async function play(results, drivers) {
    const all = [...results, ...drivers];
    byId("play").disabled = true;
    for (const node of all) node.currentTime = 0;
    await Promise.all(all.map(whenReady));
    const trial = state.answers.length;
    const start = performance.now();
    const ended = Promise.all(results.map(whenEnded));
    try {
      await Promise.all(all.map((node) => node.play()));
    } catch (error) {
      say("The browser refused to play the video. Please press Play again.");
      byId("play").disabled = false;
      return;
    }
    await ended;
    if (trial !== state.answers.length) return;
    state.watched = Math.round(performance.now() - start) / 1000;
    state.plays += 1;
    say("");
    store();
    update();
  }

  function preload(id) {
    if (id) for (const path of [...study.trials[id].results, ...study.trials[id].drivers]) video(path).load();
  }

  function drawQuestions() {
    byId("questions").replaceChildren(...study.questions.map(study.mode === "pairs" ? pairQuestion : scoreQuestion));
  }

  function choices(question, options) {
    const labels = options.map(([value, text]) => {
      const input = make("input", { type: "radio", name: question.id, value: String(value) });
      input.checked = state.draft[question.id] === value;
      input.addEventListener("change", () => {
        state.draft[question.id] = value;
        store();
        update();
      });
      return make("label", {}, input, text);
    });
    return make("div", { className: "choices" }, ...labels);
  }

  function block(question, text, ...content) {
    const legend = make("legend", {}, make("b", { textContent: question.title }), ` – ${text}`);
    return make("fieldset", { id: `question-${question.id}` }, legend, make("div", { className: "scale" }, ...content));
  }

  function scoreQuestion(question) {
    const options = Array.from({ length: study.max_score + 1 }, (_, score) => [score, String(score)]);
    const [low, high] = [question.low, question.high].map((text) => make("span", { textContent: text }));
    return block(question, question.text, low, choices(question, options), high);
  }

  function pairQuestion(question) {
    return block(question, question.pair_text, choices(question, [[0, "Left"], [1, "Right"]]));
  }

  function update() {
    const watched = state.plays > 0;
    for (const field of document.querySelectorAll("fieldset")) field.disabled = !watched;
    byId("play").textContent = watched ? "Replay" : "Play";
    if (watched) byId("play").disabled = false;
    const open = study.questions.filter((question) => state.draft[question.id] === undefined).length;
    byId("next").disabled = !watched || open > 0;
    byId("hint").textContent = !watched ? "Watch to the end, then answer." : open ? `${open} left to answer` : "";
  }

  function next() {
    const { draft, plays, watched } = state;
    const seconds = Math.round(performance.now() - state.shownAt) / 1000;
    const trial = session()[state.answers.length];
    state.answers.push({ trial, scores: { ...draft }, plays, watched_s: watched, time_s: seconds });
    Object.assign(state, { draft: {}, plays: 0, watched: 0 });
    store();
    showTrial();
  }

  function finish() {
    const answers = {
      schema: 1,
      study: study.study,
      rater: state.rater,
      mode: study.mode,
      started: state.started,
      saved: new Date().toISOString(),
      screen: [window.innerWidth, window.innerHeight],
      answers: state.answers,
    };
    const text = JSON.stringify(answers, null, 1);
    byId("text").value = text;
    byId("download").href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    byId("download").download = `answers-${study.study}-${state.rater}.json`;
    byId("progress").hidden = true;
    byId("bar").value = 1;
    show("end");
  }

  document.title = byId("title").textContent = study.title;
  byId("how").textContent = study.mode === "pairs"
    ? "Answer four questions about each pair: which of the two results is better? If you see no difference, guess."
    : `Answer four questions about each result, from 0 (worst) to ${study.max_score} (best).`;
  byId("code").value = location.hash.slice(1);
  byId("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(byId("code").value);
  });
  byId("questions").addEventListener("submit", (event) => event.preventDefault());
  byId("next").addEventListener("click", next);
  show("welcome");
})();
