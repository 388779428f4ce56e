// Plots on canvases: lines with a playhead, and strips of points. Each draws once per size and keeps the picture.
"use strict";
(function () {
  const COLOURS = ["#3b6fb6", "#d1782a", "#2f8f6b", "#b5485d", "#7a5fa8", "#8a6d3b", "#c45fa0", "#6b7785", "#9aa126", "#2c9db8"];
  const DASHES = [[], [6, 3], [2, 2]]; // for more than ten methods
  const FONT = "12px system-ui, sans-serif";

  const colour = (method) => COLOURS[method % COLOURS.length];
  const dash = (method) => DASHES[Math.floor(method / COLOURS.length) % DASHES.length];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function ticks(low, high, count) {
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= raw * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i += 1) found.push(i * step);
    return { step, found };
  }

  function number(value, step) {
    if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4)) return value.toExponential(1);
    return value.toFixed(Math.max(0, Math.min(8, Math.ceil(-Math.log10(step) - 1e-9))));
  }

  // Fits the canvas to its size on the screen; returns its context, scaled to CSS pixels, and its size.
  function prepare(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth || 300;
    const height = canvas.clientHeight || 150;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = FONT;
    return { context, width, height };
  }

  function rangeOf(lists, fromZero) {
    let low = Infinity;
    let high = -Infinity;
    for (const list of lists) {
      for (const value of list) {
        if (value === null || !isFinite(value)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) return null;
    if (fromZero && low > 0) low = 0;
    if (low === high) return low === 0 ? [0, 1] : [Math.min(low, 0), Math.max(high, 0) || 1];
    return [low, high];
  }

  function axisY(context, box, range, place) {
    const { step, found } = ticks(range[0], range[1], 4);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const value of found) {
      context.fillStyle = css("--line");
      context.fillRect(box.left, Math.round(place(value)), box.width, 1);
      context.fillStyle = css("--soft");
      context.fillText(number(value, step), box.left - 6, place(value));
    }
  }

  function axisX(context, box, range, place, label, lines) {
    const { step, found } = ticks(range[0], range[1], Math.max(2, Math.floor(box.width / 50)));
    context.textBaseline = "top";
    for (const value of found) {
      if (lines) {
        context.fillStyle = css("--line");
        context.fillRect(Math.round(place(value)), box.top, 1, box.height);
      }
      context.fillStyle = css("--soft");
      context.textAlign = "center";
      context.fillText(number(value, step), place(value), box.top + box.height + 6);
    }
    context.textAlign = "right";
    context.fillText(label, box.left + box.width, box.top + box.height + 20);
  }

  // Lines over an index. series: [{method, values}]; x(i) gives the position of a value, onPick(i) is called on clicks.
  function lines(canvas, options) {
    let still = null;
    let box = null;
    let shown = options.series;
    const count = Math.max(1, ...options.series.map((s) => s.values.length));
    const last = options.x(count - 1) || 1;
    const placeX = (value) => box.left + (value / last) * box.width;

    function draw() {
      const { context, width, height } = prepare(canvas);
      box = { left: 52, top: 8, width: width - 62, height: height - 46 };
      const range = rangeOf(shown.map((s) => s.values), true);
      const [low, high] = range || [0, 1];
      const placeY = (value) => box.top + box.height - ((value - low) / (high - low)) * box.height;
      axisY(context, box, [low, high], placeY);
      axisX(context, box, [0, last], placeX, options.label, false);
      for (const one of shown) drawLine(context, one, placeY);
      still = document.createElement("canvas");
      still.width = canvas.width;
      still.height = canvas.height;
      still.getContext("2d").drawImage(canvas, 0, 0);
    }

    function drawLine(context, one, placeY) {
      context.strokeStyle = context.fillStyle = colour(one.method);
      context.setLineDash(dash(one.method));
      context.lineWidth = 1.6;
      context.beginPath();
      let open = false;
      one.values.forEach((value, i) => {
        if (value === null) {
          open = false;
          return;
        }
        const x = placeX(options.x(i));
        const y = placeY(value);
        if (open) context.lineTo(x, y);
        else {
          context.moveTo(x, y);
          const alone = one.values[i + 1] === null || i + 1 >= one.values.length;
          if (alone) context.fillRect(x - 1.5, y - 1.5, 3, 3);
        }
        open = true;
      });
      context.stroke();
      context.setLineDash([]);
    }

    function playhead(i) {
      const context = canvas.getContext("2d");
      context.save();
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(still, 0, 0);
      context.restore();
      context.fillStyle = css("--ink");
      context.fillRect(Math.round(placeX(options.x(i))) - 0.5, box.top - 2, 1.5, box.height + 4);
    }

    function show(methods) {
      shown = options.series.filter((s) => methods.has(s.method));
      draw();
    }

    if (options.onPick) {
      canvas.addEventListener("click", (event) => {
        const x = ((event.offsetX - box.left) / box.width) * last;
        let best = 0;
        for (let i = 0; i < count; i += 1) if (Math.abs(options.x(i) - x) < Math.abs(options.x(best) - x)) best = i;
        options.onPick(best);
      });
    }
    draw();
    return { draw, playhead, show };
  }

  function quantile(sorted, share) {
    const place = (sorted.length - 1) * share;
    const below = Math.floor(place);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
  }

  function summary(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const mean = sorted.reduce((sum, v) => sum + v, 0) / (sorted.length || 1);
    const at = (share) => (sorted.length ? quantile(sorted, share) : null);
    return { count: sorted.length, mean: sorted.length ? mean : null, low: at(0), first: at(0.25), median: at(0.5), third: at(0.75), high: at(1) };
  }

  // One row of points per method, with a box from the first to the third quartile. rows: [{method, label, points: [{value, id}]}]
  const ROW = 44;
  function strips(canvas, options) {
    const rows = options.rows;
    canvas.style.height = `${rows.length * ROW + 46}px`;
    const { context, width } = prepare(canvas);
    const range = rangeOf(rows.map((row) => row.points.map((p) => p.value)), options.fromZero);
    const wide = Math.min(180, width * 0.3);
    const box = { left: wide, top: 6, width: width - wide - 16, height: rows.length * ROW };
    const [low, high] = range || [0, 1];
    const place = (value) => box.left + ((value - low) / (high - low)) * box.width;
    const drawn = [];
    axisX(context, box, [low, high], place, options.label, true);
    rows.forEach((row, i) => {
      const middle = box.top + (i + 0.5) * ROW;
      drawName(context, row, middle, wide);
      if (row.points.length) drawBox(context, row, middle, place);
      row.points.forEach((point, k) => {
        const x = place(point.value);
        const y = middle + (((k * 0.618) % 1) - 0.5) * ROW * 0.55; // the golden ratio spreads neighbours
        context.globalAlpha = 0.65;
        context.fillStyle = colour(row.method);
        context.beginPath();
        context.arc(x, y, rows.length * row.points.length > 1500 ? 2 : 3, 0, 7);
        context.fill();
        context.globalAlpha = 1;
        drawn.push({ x, y, point, row });
      });
    });
    const nearest = (event) => {
      let best = null;
      let distance = 9;
      for (const one of drawn) {
        const d = Math.hypot(one.x - event.offsetX, one.y - event.offsetY);
        if (d < distance) [best, distance] = [one, d];
      }
      return best;
    };
    canvas.onmousemove = (event) => {
      const found = nearest(event);
      canvas.style.cursor = found ? "pointer" : "default";
      canvas.title = found ? `${found.point.id}, ${found.row.label}: ${found.point.value}` : "";
    };
    canvas.onclick = (event) => {
      const found = nearest(event);
      if (found) options.onPick(found.point.id);
    };
    return drawn;
  }

  function drawName(context, row, middle, wide) {
    context.fillStyle = css("--ink");
    context.textAlign = "left";
    context.textBaseline = "middle";
    let text = row.label;
    while (text.length > 1 && context.measureText(text).width > wide - 34) text = `${text.slice(0, -2)}\u2026`;
    context.fillText(text, 18, middle);
    context.fillStyle = colour(row.method);
    context.fillRect(2, middle - 5, 10, 10);
  }

  function drawBox(context, row, middle, place) {
    const s = summary(row.points.map((p) => p.value));
    context.fillStyle = css("--line");
    context.globalAlpha = 0.7;
    context.fillRect(place(s.first), middle - ROW * 0.32, Math.max(1, place(s.third) - place(s.first)), ROW * 0.64);
    context.globalAlpha = 1;
    context.fillStyle = css("--ink");
    context.fillRect(place(s.median) - 1, middle - ROW * 0.32, 2, ROW * 0.64);
  }

  window.ExprBenchPlot = { colour, lines, strips, summary };
})();
