"use strict";
const TEXTS = {
  en: { model: "Model", export: "Export", planner: "Planner", second: "Beside it", metric: "Distance", samples: "Samples", iterations: "Iterations", horizon: "Horizon", noise: "Noise", seed: "Seed", replan: "Replan at every block", landscape: "Cost landscape", plan: "Plan", execute: "Execute", free: "Free play", none: "none", thinking: "thinking …", loading: "loading the model …", reached: "the goal is reached", missed: "the goal is missed", distance: "distance", cost: "cost", candidates: "candidates", iteration: "iteration", frames: "imagined frames", real: "real frames", decoded: "real and decoded: start, goal", curve: "lowest cost of each iteration", map: "cost of plans that repeat one action; line: the planner's best", lost: "the server does not answer", step: "Step",
    hint: "Drag start (filled) and goal (ring). By keyboard: focus the picture, S or G chooses start or goal, H the next handle, arrows move it, R turns it." },
  zh: { model: "模型", export: "导出", planner: "规划器", second: "并排比较", metric: "距离", samples: "样本数", iterations: "迭代次数", horizon: "规划步长", noise: "噪声", seed: "随机种子", replan: "每块动作后重新规划", landscape: "代价地形", plan: "规划", execute: "执行", free: "自由探索", none: "无", thinking: "思考中……", loading: "正在加载模型……", reached: "到达目标", missed: "未到达目标", distance: "距离", cost: "代价", candidates: "个候选", iteration: "迭代", frames: "想象的画面", real: "真实画面", decoded: "真实与解码：起点、目标", curve: "每次迭代的最低代价", map: "重复同一动作的计划的代价；折线：规划器的最优解", lost: "服务器没有响应", step: "步骤",
    hint: "拖动起点（实心）和目标（空心）。键盘：聚焦图像，S 或 G 选择起点或目标，H 切换物体，方向键移动，R 旋转。" },
};
const PLANNERS = ["direct", "propose", "fast", "gd", "adam", "cem", "icem", "mppi", "random_shooting"];
const NEED_PROPOSALS = ["direct", "propose"];
const embedded = document.getElementById("recording");
const recording = embedded ? JSON.parse(embedded.textContent) : null;
const controls = document.getElementById("controls");
const status = document.getElementById("status");
let language = "en", about = null, scene = -1, chosen = { which: "goal", handle: 0 };
let start = [], goal = [], boards = [], dirty = null, answering = false, opening = 0, visit = 0, played = [];

const t = (key) => TEXTS[language][key];
const make = (tag, parent, text) => { const one = document.createElement(tag); if (text !== undefined) one.textContent = text; parent.append(one); return one; };

const idle = () => !answering && !opening && boards.length > 0 && boards.every((one) => one.answer);

function say(text, error = false) { status.textContent = text; status.classList.toggle("error", error); }

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (path === "/export" && answer.ok) return answer.blob();
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error || answer.statusText);
  return content;
}

function translate() {
  document.documentElement.lang = language;
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  document.getElementById("language").textContent = language === "en" ? "中文" : "English";
  drawTour(); drawText(); boards.forEach(drawBoard);
}

function drawTour() {
  const tour = document.getElementById("tour");
  tour.replaceChildren();
  const titles = recording
    ? recording.steps.map((_, index) => `${t("step")} ${index + 1}`)
    : [t("free"), ...about.scenes.map((one, index) => `${index + 1} ${one.title[language === "en" ? 0 : 1]}`)];
  titles.forEach((title, index) => {
    const button = make("button", tour, title);
    button.type = "button";
    const own = recording ? index : index - 1;
    button.setAttribute("aria-pressed", String(own === scene));
    button.addEventListener("click", () => (recording ? showStep(own) : openScene(own)));
  });
}

function drawText() {
  const box = document.getElementById("text"), shown = !recording && scene >= 0;
  box.hidden = !shown;
  if (!shown) return;
  const index = language === "en" ? 0 : 1, one = about.scenes[scene];
  box.querySelector("h2").textContent = one.title[index];
  const list = box.querySelector("ol");
  list.replaceChildren();
  for (const line of one.lines) make("li", list, line[index]);
}

function makeBoards(count) {
  const place = document.getElementById("boards");
  place.replaceChildren();
  boards = Array.from({ length: count }, () => {
    const box = make("figure", place);
    box.className = "board";
    const caption = make("figcaption", box);
    const canvas = make("canvas", box);
    canvas.className = "scene"; canvas.width = canvas.height = 420; canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", t("hint"));
    const slider = make("input", box);
    slider.type = "range"; slider.min = 0; slider.max = 0; slider.setAttribute("aria-label", t("iteration"));
    const label = make("figcaption", box);
    const picture = make("img", box);
    picture.alt = "";
    const row = make("div", box);
    row.className = "row";
    const charts = [t("curve"), t("map")].map((title) => {
      const cell = make("div", row), chart = make("canvas", cell);
      chart.width = 260; chart.height = 180;
      return { cell, chart, title: make("figcaption", cell, title) };
    });
    const board = { box, caption, canvas, slider, label, picture, charts, ask: null, answer: null, image: null };
    slider.addEventListener("input", () => drawBoard(board));
    listen(board);
    return board;
  });
}

const toPicture = (state, columns) => columns.map((column, axis) => about.stage.offset[axis] + about.stage.scale[axis] * state[column]);
const handles = () => about.stage.handles;

function moveTo(x, y) {
  const state = chosen.which === "start" ? start : goal, handle = handles()[chosen.handle];
  [x, y].forEach((value, axis) => {
    const place = (value - about.stage.offset[axis]) / about.stage.scale[axis];
    state[handle.columns[axis]] = Math.min(about.stage.high[axis], Math.max(about.stage.low[axis], place));
  });
  about.stage.still.forEach((column) => { state[column] = 0; });
  changed("plan");
}

function turn() {
  const handle = handles()[chosen.handle];
  if (handle.angle === null) return;
  (chosen.which === "start" ? start : goal)[handle.angle] += Math.PI / 12;
  changed("plan");
}

function listen(board) {
  const canvas = board.canvas;
  let held = null; // from the pointer to the middle of what it holds
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (recording) return;
    const [x, y] = place(event);
    let nearest = 0.15;
    held = null;
    for (const which of ["start", "goal"]) handles().forEach((handle, index) => {
      const [hx, hy] = toPicture(which === "start" ? start : goal, handle.columns);
      const away = Math.hypot(hx - x, hy - y);
      if (away < nearest) { nearest = away; held = [hx - x, hy - y]; chosen = { which, handle: index }; }
    });
    if (held) { canvas.setPointerCapture(event.pointerId); leaveScene(); boards.forEach(drawBoard); }
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [x, y] = place(event);
    moveTo(x + held[0], y + held[1]);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { held = null; });
  canvas.addEventListener("keydown", (event) => {
    if (recording) return;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const key = event.key.toLowerCase();
    if (event.key in steps) {
      const [x, y] = toPicture(chosen.which === "start" ? start : goal, handles()[chosen.handle].columns);
      leaveScene();
      moveTo(x + 0.02 * steps[event.key][0], y + 0.02 * steps[event.key][1]);
    } else if (key === "s" || key === "g") chosen.which = key === "s" ? "start" : "goal";
    else if (key === "h") chosen.handle = (chosen.handle + 1) % handles().length;
    else if (key === "r") turn();
    else return;
    event.preventDefault();
    boards.forEach(drawBoard);
  });
}

function leaveScene() { visit += 1; if (scene >= 0) { scene = -1; drawTour(); drawText(); } }

function whole(name) { const input = controls.elements[name]; const value = Number(input.value); return Math.min(Number(input.max), Math.max(Number(input.min), Number.isFinite(value) ? value : Number(input.min))); }

function question(what, planner) {
  const slow = !["direct", "propose", "fast"].includes(planner);
  return {
    do: what, model: about.model, start: [...start], goal: [...goal], planner, metric: controls.elements.metric.value,
    samples: Math.round(whole("samples")), iterations: Math.round(whole("iterations")), horizon: Math.round(whole("horizon")),
    noise: whole("noise"), seed: Math.round(whole("seed")), replan: controls.elements.replan.checked,
    budget: what === "plan" && !slow ? 0.12 : 0, landscape: what === "plan" && controls.elements.landscape.checked ? 13 : 0,
  };
}

function changed(what) {
  const second = controls.elements.second.value;
  const planners = [controls.elements.planner.value, ...(second ? [second] : [])];
  run(planners.map((planner) => question(what, planner)));
}

// One question at a time; while one is answered only the newest of the others waits.
async function run(asks) {
  dirty = asks;
  boards.forEach(drawBoard);
  if (answering) return;
  answering = true;
  while (dirty) {
    const now = dirty;
    dirty = null;
    if (boards.length !== now.length) makeBoards(now.length);
    await thinking("thinking", async () => {
      for (let index = 0; index < now.length; index += 1) {
        const answer = await post("/ask", now[index]);
        if (now[index].model === about.model) await show(boards[index], now[index], answer);
      }
      if (now[0].do === "execute" || scene >= 0) played = [...played, ...now].slice(-40);
    });
  }
  answering = false;
}

// Do something, and say so where it takes long; returns whether it was done.
async function thinking(word, work) {
  const timer = setTimeout(() => { say(t(word)); document.body.classList.add("thinking"); }, 120);
  try {
    await work();
    say("");
    return true;
  } catch (error) {
    say(error instanceof TypeError ? t("lost") : error.message, true);
    return false;
  } finally {
    clearTimeout(timer);
    document.body.classList.remove("thinking");
  }
}

function load(source) {
  return new Promise((resolve, reject) => { const image = new Image(); image.onload = () => resolve(image); image.onerror = reject; image.src = source; });
}

async function show(board, ask, answer) {
  board.ask = ask; board.answer = answer;
  board.image = await load(answer.real);
  const last = (answer.iterations || []).length;
  board.slider.max = last; board.slider.value = last;
  board.picture.src = answer.frames || answer.decoded;
  drawBoard(board);
}

function line(pen, points, color, width, dash = []) {
  const side = pen.canvas.width;
  pen.beginPath();
  points.forEach(([x, y], index) => (index ? pen.lineTo(x * side, y * side) : pen.moveTo(x * side, y * side)));
  pen.strokeStyle = color; pen.lineWidth = width; pen.setLineDash(dash); pen.stroke(); pen.setLineDash([]);
}

function drawBoard(board) {
  const { answer, ask, canvas } = board;
  if (!answer || ask.model !== about.model) return;
  const pen = canvas.getContext("2d"), side = canvas.width, image = board.image, half = image.width / 2;
  pen.imageSmoothingEnabled = false;
  pen.clearRect(0, 0, side, side);
  pen.drawImage(image, 0, 0, half, image.height, 0, 0, side, side);
  pen.globalAlpha = 0.4;
  pen.drawImage(image, half, 0, half, image.height, 0, 0, side, side);
  pen.globalAlpha = 1;
  const steps = answer.iterations || [], shown = steps[Number(board.slider.value)];
  board.slider.hidden = !steps.length;
  board.label.textContent = !steps.length ? "" : shown ? `${t("iteration")} ${shown.iteration + 1} / ${shown.of}` : t("plan");
  if (shown) {
    const middle = Math.min(12, shown.paths.length);
    shown.paths.slice(middle).forEach((path) => line(pen, path, "#8889", 1));
    shown.paths.slice(0, middle).reverse().forEach((path) => line(pen, path, "#2f6fdecc", 2));
    if (shown.paths.length) line(pen, shown.paths[0], "#d33", 3);
  } else if (answer.path) line(pen, answer.path, "#1a8f4a", 4);
  (answer.imagined || []).forEach((one) => line(pen, one.path, "#1a8f4a", 2, [6, 5]));
  if (answer.real_path) line(pen, answer.real_path, "#d33", 3);
  drawHandles(pen, ask, side);
  describe(board);
  drawCurve(board, steps.length ? steps[0].history : null);
  drawMap(board, answer.landscape);
}

function drawHandles(pen, ask, side) {
  const own = recording || scene >= 0;
  for (const [which, state] of [["start", own ? ask.start : start], ["goal", own ? ask.goal : goal]]) handles().forEach((handle, index) => {
    const [x, y] = toPicture(state, handle.columns);
    pen.beginPath(); pen.arc(x * side, y * side, 11, 0, 2 * Math.PI);
    pen.lineWidth = chosen.which === which && chosen.handle === index ? 5 : 3;
    pen.strokeStyle = which === "start" ? "#2f6fde" : "#1a8f4a";
    if (which === "start") { pen.fillStyle = "#2f6fde55"; pen.fill(); }
    pen.stroke();
  });
}

function describe(board) {
  const { ask, answer } = board, parts = [`${ask.planner}, ${ask.metric}`];
  if (answer.cost !== undefined && answer.cost !== null) parts.push(`${t("cost")} ${answer.cost.toPrecision(3)}`);
  if (answer.evaluated !== undefined) parts.push(`${answer.evaluated} ${t("candidates")}`);
  if (answer.success !== undefined) parts.push(answer.success ? t("reached") : t("missed"), `${t("distance")} ${answer.distance.toPrecision(3)}`);
  parts.push(`${Math.round(1000 * (answer.plan_seconds || answer.seconds))} ms`);
  board.caption.textContent = ask.do === "look" ? t("decoded") : parts.join(" · ");
  board.picture.alt = ask.do === "plan" ? t("frames") : ask.do === "look" ? t("decoded") : t("real");
}

function drawCurve(board, history) {
  const { cell, chart } = board.charts[0];
  cell.hidden = !history || history.length < 2;
  if (cell.hidden) return;
  const pen = chart.getContext("2d"), known = history.filter((one) => one !== null);
  const low = Math.min(...known), high = Math.max(...known), wide = chart.width - 10, tall = chart.height - 10;
  pen.clearRect(0, 0, chart.width, chart.height);
  pen.beginPath();
  history.forEach((value, index) => {
    if (value === null) return;
    const x = 5 + (wide * index) / (history.length - 1), y = 5 + tall * (1 - (value - low) / (high - low || 1));
    if (index) pen.lineTo(x, y); else pen.moveTo(x, y);
  });
  pen.strokeStyle = "#2f6fde"; pen.lineWidth = 2; pen.stroke();
}

function drawMap(board, landscape) {
  const { cell, chart } = board.charts[1];
  cell.hidden = !landscape;
  if (!landscape) return;
  const pen = chart.getContext("2d"), rows = landscape.cost, count = rows.length;
  const all = rows.flat().filter((one) => one !== null), low = Math.min(...all), high = Math.max(...all);
  const wide = chart.width / count, tall = chart.height / count;
  rows.forEach((row, j) => row.forEach((value, i) => {
    const part = value === null ? 1 : Math.sqrt((value - low) / (high - low || 1));
    pen.fillStyle = `hsl(${230 - 200 * part} 60% ${35 + 45 * part}%)`;
    pen.fillRect(i * wide, j * tall, wide + 1, tall + 1);
  }));
  pen.beginPath();
  landscape.route.forEach(([x, y], index) => {
    const px = ((x / landscape.extent + 1) / 2) * chart.width, py = ((y / landscape.extent + 1) / 2) * chart.height;
    if (index) pen.lineTo(px, py); else pen.moveTo(px, py);
  });
  pen.strokeStyle = "#fff"; pen.lineWidth = 2; pen.stroke();
}

async function openScene(index) {
  scene = index;
  drawTour(); drawText();
  if (index < 0) { await choose(about.model); return; }
  const asks = about.scenes[index].asks;
  if (!(await open(asks[0].model))) return;
  start = [...asks[0].start]; goal = [...asks[0].goal];
  run(asks);
}

async function showStep(index) {
  scene = index;
  const { ask, answer } = recording.steps[index];
  await open(ask.model);
  if (boards.length !== 1) makeBoards(1);
  await show(boards[0], ask, answer);
  drawTour();
}

function fill(select, names, none) {
  const before = select.value;
  select.replaceChildren();
  if (none) { const one = make("option", select, t("none")); one.value = ""; }
  for (const name of names) make("option", select, name);
  if ([...select.options].some((one) => one.value === before)) select.value = before;
}

// Show another model; returns whether it is there, and nothing else was opened meanwhile.
async function open(name) {
  const mine = (visit += 1);
  if (about && about.model === name) return true;
  opening += 1;
  const fine = await thinking("loading", async () => {
    const found = recording ? recording.abouts[name] : await (await fetch(name ? `/about?model=${encodeURIComponent(name)}` : "/about")).json();
    if (found.error) throw new Error(found.error);
    if (mine === visit) take(found);
  });
  opening -= 1;
  return fine && mine === visit;
}

function take(found) {
  about = found;
  chosen = { which: "goal", handle: 0 };
  const usable = PLANNERS.filter((one) => about.proposals || !NEED_PROPOSALS.includes(one));
  fill(controls.elements.planner, usable, false);
  fill(controls.elements.second, usable, true);
  fill(document.getElementById("model"), about.models, false);
  document.getElementById("model").value = about.model;
}

async function choose(name) {
  if (!(await open(name))) return;
  start = [...about.start]; goal = [...about.goal];
  controls.elements.planner.value = about.proposals ? "propose" : "fast";
  changed("plan");
}

document.getElementById("language").addEventListener("click", () => { language = language === "en" ? "zh" : "en"; translate(); });
document.getElementById("model").addEventListener("change", (event) => { scene = -1; choose(event.target.value).then(translate); });
document.getElementById("plan").addEventListener("click", () => { leaveScene(); changed("plan"); });
document.getElementById("execute").addEventListener("click", () => { leaveScene(); changed("execute"); });
document.getElementById("export").addEventListener("click", async () => {
  const asks = [...played, ...boards.filter((one) => one.ask).map((one) => one.ask)].slice(-40);
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await post("/export", asks));
    link.download = "play.html";
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) { say(error.message, true); }
});
controls.addEventListener("change", () => { leaveScene(); changed("plan"); });
controls.addEventListener("submit", (event) => event.preventDefault());

(async () => {
  if (recording) {
    controls.hidden = true;
    for (const id of ["export", "model"]) document.getElementById(id).closest("button, label").hidden = true;
    await showStep(0);
  } else if (await open("")) await choose(about.model);
  if (about) translate();
})();
