"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

/* ---- values under the pointer ---- */
function nearest(xs, x) {
  let best = 0;
  for (let i = 1; i < xs.length; i++) if (Math.abs(xs[i] - x) < Math.abs(xs[best] - x)) best = i;
  return best;
}

function watchChart(svg, chart) {
  const figure = svg.parentElement;
  const cursor = svg.querySelector(".cursor");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);
  const [low, high] = chart.x;
  const [left, right] = chart.box;
  function hide() { tip.hidden = true; cursor.setAttribute("hidden", ""); }
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const zoom = box.width / svg.viewBox.baseVal.width;
    const at = (event.clientX - box.left) / zoom;
    const asked = low + ((at - left) / (right - left)) * (high - low);
    const first = chart.series[0];
    const x = first.xs[nearest(first.xs, asked)];
    const place = left + ((x - low) / (high - low)) * (right - left);
    const lines = [chart.xLabel + " " + x];
    for (const one of chart.series) {
      const value = one.ys[nearest(one.xs, x)];
      lines.push(chart.series.length > 1 ? one.label + ": " + value : String(value));
    }
    tip.textContent = lines.join("\n");
    tip.hidden = false;
    cursor.removeAttribute("hidden");
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    const wanted = place * zoom + 12;
    const most = figure.clientWidth - tip.offsetWidth;
    tip.style.left = Math.max(0, wanted > most ? place * zoom - tip.offsetWidth - 12 : wanted) + "px";
    tip.style.top = box.top - figure.getBoundingClientRect().top + 8 + "px";
  });
}

for (const svg of document.querySelectorAll("svg[data-chart]")) {
  const chart = data.charts[svg.dataset.chart];
  if (chart) watchChart(svg, chart);
}

/* ---- animations ---- */
const FRAMES_PER_SECOND = 10;
const HOLD_FRAMES = 8;
const players = [];

function drawPath(pen, points, size, style) {
  if (points.length === 0) return;
  const [w, h] = size;
  pen.lineCap = "round";
  pen.lineJoin = "round";
  for (const [color, extra] of [["rgba(255,255,255,.85)", 4], [style.color, 0]]) {
    pen.strokeStyle = color;
    pen.lineWidth = style.width + extra;
    pen.setLineDash(style.dash || []);
    pen.beginPath();
    points.forEach(([x, y], i) => (i ? pen.lineTo(x * w, y * h) : pen.moveTo(x * w, y * h)));
    pen.stroke();
  }
  pen.setLineDash([]);
}

function drawMark(pen, [x, y], size, radius, color, filled) {
  pen.beginPath();
  pen.arc(x * size[0], y * size[1], radius, 0, 2 * Math.PI);
  pen.lineWidth = 3;
  if (filled) {
    pen.fillStyle = color;
    pen.strokeStyle = "#fff";
    pen.lineWidth = 1.5;
    pen.fill();
  } else {
    pen.strokeStyle = color;
  }
  pen.stroke();
}

function makePlayer(card, task) {
  const canvas = card.querySelector("canvas.played");
  const pen = canvas.getContext("2d");
  const button = card.querySelector(".play");
  const slider = card.querySelector("input");
  const output = card.querySelector("output");
  const name = button.getAttribute("aria-label").replace("Play ", "");
  canvas.height = Math.round((canvas.width * task.frame[1]) / task.frame[0]);
  const size = [canvas.width, canvas.height];
  card.querySelector(".start").src = task.startImage;
  card.querySelector(".goal").src = task.goalImage;
  const sheet = new Image(), seen = new Image();
  const seenCanvas = card.querySelector("canvas.seen");
  const last = task.numFrames - 1;
  slider.max = last;
  const player = { step: last, playing: false, hold: 0 };

  player.draw = () => {
    const [fw, fh] = task.frame;
    const column = player.step % task.columns;
    const row = Math.floor(player.step / task.columns);
    pen.drawImage(sheet, column * fw, row * fh, fw, fh, 0, 0, size[0], size[1]);
    drawPath(pen, task.imagined, size, { color: "#d9690f", width: 3.5, dash: [2, 8] });
    for (const point of task.imagined) drawMark(pen, point, size, 4.5, "#d9690f", true);
    drawPath(pen, task.executed.slice(0, player.step + 1), size, { color: "#1668b8", width: 4 });
    if (task.executed.length) drawMark(pen, task.executed[0], size, 6, "#1668b8", true);
    if (task.goal.length) drawMark(pen, task.goal[0], size, 15, "#107a4d", false);
    if (seenCanvas && seen.complete && task.seen) {
      const [sw, sh] = task.seenFrame;
      const block = Math.min(Math.floor(player.step / task.frameskip), task.numSeen - 1);
      seenCanvas.getContext("2d").drawImage(seen, block * sw, 0, sw, sh, 0, 0, seenCanvas.width, seenCanvas.height);
    }
    slider.value = player.step;
    output.textContent = player.step + " / " + last;
  };
  player.set = (playing) => {
    player.playing = playing;
    if (playing && player.step === last) player.step = 0;
    button.textContent = playing ? "❚❚" : "▶";
    button.setAttribute("aria-pressed", String(playing));
    button.setAttribute("aria-label", (playing ? "Pause " : "Play ") + name);
  };
  player.tick = () => {
    if (!player.playing) return;
    if (player.step < last) player.step += 1;
    else if (++player.hold > HOLD_FRAMES) { player.hold = 0; player.step = 0; }
    player.draw();
  };
  button.addEventListener("click", () => player.set(!player.playing));
  slider.addEventListener("input", () => {
    player.set(false);
    player.step = Number(slider.value);
    player.draw();
  });
  sheet.onload = player.draw;
  sheet.src = task.sheet;
  if (seenCanvas && task.seen) {
    seenCanvas.height = Math.round((seenCanvas.width * task.seenFrame[1]) / task.seenFrame[0]);
    seen.onload = player.draw;
    seen.src = task.seen;
  }
  return player;
}

for (const card of document.querySelectorAll("[data-task]")) {
  players.push(makePlayer(card, data.tasks[Number(card.dataset.task)]));
}

const playAll = document.getElementById("play-all");
if (playAll) {
  const setAll = (playing) => {
    for (const player of players) player.set(playing);
    playAll.textContent = playing ? "Pause all" : "Play all";
    playAll.setAttribute("aria-pressed", String(playing));
  };
  playAll.addEventListener("click", () => setAll(!players.some((player) => player.playing)));
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) setAll(true);
  setInterval(() => players.forEach((player) => player.tick()), 1000 / FRAMES_PER_SECOND);
}
