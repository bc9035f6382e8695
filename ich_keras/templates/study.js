"use strict";
const LOOK = 3, PAGE = 5, LOWEST = -32768;
const POINTS = { answer: "95 % sensitivity for any", youden: "best sensitivity + specificity" };
const WINDOW_KEYS = { brain: "b", subdural: "d", bone: "e", stroke: "s", soft: "f" };
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

/** A new element; its text is never markup. */
function make(name, text = "", attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function draw(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/** The bytes of a data block of the page. */
async function unpack(name) {
  const block = $(`data-${name}`);
  if (!block) return null;
  const text = atob(block.textContent);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  block.remove();
  const content = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(content).arrayBuffer();
}

let study, hu, maps, network, masks, truth;
const state = {
  slice: 0, level: 40, width: 80, window: "brain", network: false, kind: "strongest", label: 5,
  point: "", smoothed: false, own: {}, zoom: 1, x: 0, y: 0,
};
const curves = [];

async function start() {
  study = JSON.parse(new TextDecoder().decode(await unpack("study")));
  hu = new Int16Array(await unpack("hu"));
  maps = new Uint8Array(await unpack("maps"));
  network = new Uint8Array(await unpack("network"));
  const bytes = await unpack("masks");
  masks = bytes && new Uint8Array(bytes);
  truth = study.labels.map((_, k) => (study.truth && study.truth[0][k] !== null
    ? Math.max(...study.truth.map((row) => row[k])) : null)); // null where it is not known
  state.smoothed = study.shows_smoothed;
  state.point = study.thresholds ? "answer" : "";
  state.own = given();
  build();
  state.slice = look()[0];
  showAll();
  document.body.dataset.ready = Math.round(performance.now()); // ms since it was opened
}

// The answer

const shown = () => (state.smoothed ? study.smoothed : study.raw);
const ofStudy = (k) => Math.max(...shown().map((row) => row[k]));

/** The threshold of any that predict was given; it is of probabilities as the page opens with. */
function given() {
  const holds = study.own_threshold !== null && state.smoothed === study.shows_smoothed;
  return holds ? { 5: study.own_threshold } : {};
}

const initialPoint = () => (5 in given() ? "given" : state.point || "own");

function threshold(k) {
  if (k in state.own) return state.own[k];
  const level = study.thresholds && study.thresholds[state.smoothed ? "smoothed" : "raw"];
  return level?.[state.point]?.[study.labels[k]] ?? null;
}

/** As `found` of studies.csv: `any` decides, or without a threshold of it one kind. */
function found() {
  const reached = study.labels.map((_, k) => threshold(k) !== null && ofStudy(k) >= threshold(k));
  if (threshold(5) === null) reached[5] = reached.some((x) => x);
  return reached.map((x) => x && reached[5]);
}

/** The slices where any is most probable, the highest first. */
function look() {
  const any = shown().map((row) => row[5]);
  return any.map((_, i) => i).sort((i, j) => any[j] - any[i]).slice(0, LOOK);
}

function showAnswer() {
  const reached = found();
  const names = study.labels.filter((_, k) => reached[k] && k < 5);
  const fitted = study.labels.some((_, k) => threshold(k) !== null);
  const kinds = names.length ? `: ${names.join(", ")}` : ", but no kind reaches its threshold";
  $("answer").textContent = !fitted
    ? "No thresholds were fitted at this size: set one with the slider."
    : reached[5] ? `Hemorrhage suspected${kinds}.` : "No label reaches its threshold.";
  study.labels.forEach((_, k) => {
    const [, values, verdict] = $("labels").children[k].children;
    const limit = threshold(k), sign = ofStudy(k) >= limit ? "≥" : "<";
    values.textContent = format(ofStudy(k)) + (limit === null ? "" : ` ${sign} ${format(limit)}`);
    verdict.textContent = verdictOf(k, reached[k]);
    $("labels").children[k].classList.toggle("found", reached[k]);
    $("labels").children[k].setAttribute("aria-pressed", k === state.label);
  });
  $("chosen").textContent = study.labels[state.label];
  $("threshold").value = threshold(state.label) ?? 0.5;
  $("threshold-value").textContent = threshold(state.label) === null ? "none" : format(threshold(state.label));
  showLook();
  showCurves();
}

function verdictOf(k, reached) {
  if (!reached && threshold(k) === null) return "not judged";
  const known = truth[k] !== null;
  if (known && reached) return truth[k] ? "found, agreed" : "found, false alarm";
  if (known) return truth[k] ? "not found, missed" : "not found, agreed";
  return reached ? "found" : "not found";
}

function format(value) {
  return value.toFixed(value < 0.1 ? 3 : 2);
}

function showLook() {
  $("look").querySelectorAll("button").forEach((button) => button.remove());
  look().forEach((i) => {
    const text = `slice ${i + 1}, any ${format(shown()[i][5])}`;
    const button = make("button", String(i + 1), { type: "button", title: text, "aria-label": text });
    button.setAttribute("aria-pressed", i === state.slice);
    button.addEventListener("click", () => go(i));
    $("look").append(button);
  });
}

// Curves

/** Where a slice is on the horizontal axis, 0 to 100. */
function across(i) {
  const z = study.position_mm, last = z.length - 1;
  const known = z.every((x) => x !== null) && z[last] > z[0];
  if (last === 0) return 50;
  return 2 + 96 * (known ? (z[i] - z[0]) / (z[last] - z[0]) : i / last);
}

const up = (p) => 2 + 36 * (1 - p);

function pathOf(rows, k) {
  const broken = new Set(study.gaps.map((i) => i + 1));
  return rows.map((row, i) => `${i === 0 || broken.has(i) ? "M" : "L"}${across(i)} ${up(row[k])}h0`).join("");
}

function buildCurves() {
  study.labels.forEach((label, k) => {
    const figure = make("figure", "", { class: "curve" });
    const caption = make("figcaption");
    caption.append(make("span", label), make("span"));
    const image = draw("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img" }, figure);
    figure.prepend(caption);
    const parts = { figure, image, value: caption.lastChild };
    if (study.truth?.length === study.shape[0]) draw("path", { class: "true", d: truePath(k) }, image);
    for (const name of ["raw", "main"]) parts[name] = draw("path", { class: name }, image);
    for (const name of ["threshold", "here"]) parts[name] = draw("line", { class: name }, image);
    image.addEventListener("click", (event) => jump(event, image, k));
    $("curves").append(figure);
    curves.push(parts);
  });
  const ends = make("div", "", { class: "ends" });
  ends.append(make("span", nameOf(0)), make("span", nameOf(study.shape[0] - 1)));
  $("curves").append(ends);
}

function truePath(k) {
  const step = study.shape[0] > 1 ? 40 / study.shape[0] : 40;
  return study.truth.map((row, i) => (row[k] ? `M${across(i) - step} 39h${2 * step}` : "")).join("");
}

function nameOf(i) {
  const z = study.position_mm[i];
  return z === null ? `slice ${i + 1}` : `${z.toFixed(1)} mm`;
}

function jump(event, image, k) {
  const box = image.getBoundingClientRect();
  const x = (100 * (event.clientX - box.left)) / box.width;
  const distances = study.raw.map((_, i) => Math.abs(across(i) - x));
  state.label = k;
  showAnswer();
  go(distances.indexOf(Math.min(...distances)));
}

function showCurves() {
  curves.forEach((curve, k) => {
    const limit = threshold(k);
    curve.figure.classList.toggle("chosen", k === state.label);
    curve.main.setAttribute("d", pathOf(shown(), k));
    curve.raw.setAttribute("d", state.smoothed ? pathOf(study.raw, k) : "");
    curve.threshold.style.display = limit === null ? "none" : "";
    for (const [key, value] of Object.entries({ x1: 0, x2: 100, y1: up(limit ?? 0), y2: up(limit ?? 0) }))
      curve.threshold.setAttribute(key, value);
    const values = shown().map((row) => row[k]), highest = values.indexOf(Math.max(...values));
    const text = `${study.labels[k]}: highest at slice ${highest + 1}, ${format(values[highest])}`;
    curve.image.setAttribute("aria-label", text);
  });
  const smooth = state.smoothed ? "Thick: smoothed; thin: of the single slice. " : "";
  $("curves-note").textContent = `${smooth}Dashed: threshold of the study. Click to jump.`;
  showHere();
}

function showHere() {
  const x = across(state.slice);
  curves.forEach((curve, k) => {
    for (const [key, value] of Object.entries({ x1: x, x2: x, y1: 0, y2: 40 })) curve.here.setAttribute(key, value);
    curve.value.textContent = `slice ${state.slice + 1}: ${format(shown()[state.slice][k])}`;
  });
}

// Slices

/** The grey level of each HU, as windows.py computes it: in single precision, halves to even. */
function greyLevels(level, width) {
  const low = Math.fround(level - width / 2), scale = Math.fround(255 / width);
  const grey = new Uint8ClampedArray(65536);
  for (let i = 0; i < 65536; i++) grey[i] = Math.fround(Math.fround(i + LOWEST - low) * scale);
  return grey;
}

let levels = null;

function showSlice() {
  if (levels?.level !== state.level || levels?.width !== state.width)
    levels = { level: state.level, width: state.width, grey: greyLevels(state.level, state.width) };
  const [, rows, columns] = state.network ? study.network.shape : study.shape;
  const canvas = $("slice");
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d", { willReadFrequently: true }), image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const grey = state.network ? networkGrey : (i) => levels.grey[hu[state.slice * rows * columns + i] - LOWEST];
  for (let i = 0; i < pixels.length; i++) pixels[i] = 0xff000000 | (grey(i) * 0x010101);
  context.putImageData(image, 0, 0);
}

function networkGrey(i) {
  const [, rows, columns, count] = study.network.shape;
  return network[(state.slice * rows * columns + i) * count + networkWindow()];
}

const networkWindow = () => Math.max(0, study.network.windows.indexOf(state.window));

/** The kind whose map is shown, or null. */
function kindShown() {
  if (state.kind === "off") return null;
  if (state.kind !== "strongest") return Number(state.kind);
  const kinds = study.raw[state.slice].slice(0, 5);
  return kinds.indexOf(Math.max(...kinds));
}

function showOverlay() {
  const canvas = $("overlay"), k = kindShown();
  canvas.hidden = k === null;
  $("legend").hidden = k === null;
  if (k === null) return;
  const [, rows, columns, kinds] = study.maps;
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    const value = maps[(state.slice * rows * columns + i) * kinds + k];
    image.data.set([...study.colors[value], value], 4 * i);
  }
  context.putImageData(image, 0, 0);
  canvas.style.opacity = $("opacity").value;
  $("legend").firstChild.textContent = study.labels[k];
}

/** The outline of the true mask: its pixels that have a neighbour outside. */
function showMask() {
  const canvas = $("mask"), [, rows, columns] = study.shape;
  canvas.hidden = !masks || !$("mask-shown").checked;
  if (canvas.hidden) return;
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  const mask = masks.subarray(state.slice * rows * columns, (state.slice + 1) * rows * columns);
  const inside = (r, c) => r >= 0 && r < rows && c >= 0 && c < columns && mask[r * columns + c];
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      if (inside(r, c) && !(inside(r - 1, c) && inside(r + 1, c) && inside(r, c - 1) && inside(r, c + 1)))
        image.data.set([61, 245, 255, 255], 4 * (r * columns + c));
  context.putImageData(image, 0, 0);
}

/** Lays slice, map and mask over each other, in square pixels, as large as the stage allows. */
function layOut() {
  const { height, width, left, top, edge } = study.plane, square = state.network;
  const [worldWidth, worldHeight] = square ? [edge, edge] : [width, height];
  const stage = $("stage"), fit = Math.min(stage.clientWidth / worldWidth, stage.clientHeight / worldHeight);
  const [x, y] = [(stage.clientWidth - fit * worldWidth) / 2, (stage.clientHeight - fit * worldHeight) / 2];
  const put = (element, ...box) => ["left", "top", "width", "height"].forEach((key, i) => {
    element.style[key] = `${fit * box[i]}px`;
  });
  put($("plane"), 0, 0, worldWidth, worldHeight);
  put($("slice"), 0, 0, worldWidth, worldHeight);
  put($("mask"), square ? left : 0, square ? top : 0, width, height);
  put($("overlay"), square ? 0 : -left, square ? 0 : -top, edge, edge);
  $("plane").style.transform = `translate(${x + state.x}px, ${y + state.y}px) scale(${state.zoom})`;
  $("plane").classList.toggle("pixels", state.zoom > 3);
  $("scale").hidden = study.plane.pixel_mm === null;
  $("scale").firstChild.style.width = `${(50 / study.plane.pixel_mm) * fit * state.zoom}px`;
}

function describe() {
  const i = state.slice, text = `slice ${i + 1} of ${study.shape[0]}`;
  const place = study.position_mm[i] === null ? "position unknown" : nameOf(i);
  const values = shown()[i].map((p, k) => `${study.labels[k]} ${format(p)}`).join(", ");
  $("slice").setAttribute("aria-label", `${text}, ${place}. ${values}`);
  $("position").value = i + 1;
  $("position").setAttribute("aria-valuetext", `${text}, ${place}`);
  $("readout").textContent = `${text}, ${place}`;
}

function showWindow() {
  $("level").value = state.level;
  $("width").value = state.width;
  $("level").disabled = $("width").disabled = state.network;
  const pressed = state.network ? study.network.windows[networkWindow()] : state.window;
  for (const button of $("windows").children) {
    button.setAttribute("aria-pressed", button.dataset.window === pressed);
    button.disabled = state.network && !study.network.windows.includes(button.dataset.window);
  }
}

function go(i) {
  state.slice = Math.min(Math.max(i, 0), study.shape[0] - 1);
  showSlice();
  showOverlay();
  showMask();
  showHere();
  describe();
  const best = look();
  $("look").querySelectorAll("button").forEach((x, n) => x.setAttribute("aria-pressed", best[n] === state.slice));
}

function showAll() {
  layOut();
  showWindow();
  showAnswer();
  go(state.slice);
}

// What the reader does

function setWindow(name) {
  const window = study.windows.find((x) => x.name === name);
  Object.assign(state, { window: name, level: window.center, width: window.width });
  showWindow();
  showSlice();
}

function setLevels(level, width) {
  if (!Number.isFinite(level) || !Number.isFinite(width)) return;
  Object.assign(state, { window: "", level: Math.round(level), width: Math.max(1, Math.round(width)) });
  showWindow();
  showSlice();
}

function setKind(kind) {
  state.kind = kind;
  $("kind").value = kind;
  showOverlay();
}

function choose(k) {
  state.label = k;
  setKind(k < 5 ? String(k) : "strongest");
  showAnswer();
}

let lastKind = "strongest";

function toggleOverlay() {
  const kind = state.kind === "off" ? lastKind : "off";
  if (state.kind !== "off") lastKind = state.kind;
  setKind(kind);
}

function toggle(id) {
  if (!$(id).disabled) $(id).click();
}

function nextLook() {
  const best = look();
  go(best[(best.indexOf(state.slice) + 1) % best.length]);
}

function zoom(factor, clientX, clientY) {
  const box = $("plane").getBoundingClientRect();
  const zoomed = Math.min(Math.max(state.zoom * factor, 1), 16), by = zoomed / state.zoom;
  state.x += (1 - by) * (clientX - box.left);
  state.y += (1 - by) * (clientY - box.top);
  state.zoom = zoomed;
  if (zoomed === 1) state.x = state.y = 0;
  layOut();
}

function zoomCentre(factor) {
  const box = $("stage").getBoundingClientRect();
  zoom(factor, box.left + box.width / 2, box.top + box.height / 2);
}

const KEYS = {
  ArrowUp: ["one slice towards the head", () => go(state.slice + 1)],
  ArrowDown: ["one slice towards the feet", () => go(state.slice - 1)],
  PageUp: [`${PAGE} slices towards the head`, () => go(state.slice + PAGE)],
  PageDown: [`${PAGE} slices towards the feet`, () => go(state.slice - PAGE)],
  Home: ["the lowest slice", () => go(0)],
  End: ["the highest slice", () => go(Infinity)],
  n: ["the next slice worth a look", nextLook],
  o: ["class map on or off", toggleOverlay],
  m: ["true mask on or off", () => toggle("mask-shown")],
  w: ["what the network sees", () => toggle("network-shown")],
  "+": ["zoom in", () => zoomCentre(1.25)],
  "-": ["zoom out", () => zoomCentre(0.8)],
  0: ["reset the zoom", () => zoomCentre(0)],
  "?": ["these keys", () => ($("help").open ? $("help").close() : $("help").showModal())],
};

let pointed = false; // whether the last control was set by a pointer; keys then turn slices again

function onKey(event) {
  pointed = false;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey || event.altKey || !(key in KEYS)) return;
  if (event.target.matches("select, input[type=number]")) return;
  if (event.target.matches("input[type=range]") && key.length > 1) return;
  if ($("help").open && key !== "?") return;
  event.preventDefault();
  KEYS[key][1]();
}

const touches = new Map();
let swiped = 0;

function onMove(event) {
  const before = touches.get(event.pointerId);
  if (!before) return point(event);
  touches.set(event.pointerId, event);
  const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
  if (touches.size > 1) return pinch(event, before, dx, dy);
  if (event.pointerType === "touch") return swipe(dy);
  if (event.shiftKey || event.buttons & 4) return pan(dx, dy);
  if (!state.network) setLevels(state.level - (dy * state.width) / 200, state.width * Math.exp(dx / 200) + Math.sign(dx));
}

function pan(dx, dy) {
  state.x += dx;
  state.y += dy;
  layOut();
}

function swipe(dy) {
  swiped -= dy;
  const step = Math.max(6, $("stage").clientHeight / study.shape[0] / 1.5), steps = Math.trunc(swiped / step);
  swiped -= steps * step;
  if (steps) go(state.slice + steps);
}

function pinch(event, before, dx, dy) {
  const other = [...touches.values()].find((x) => x.pointerId !== event.pointerId);
  const apart = (x) => Math.hypot(x.clientX - other.clientX, x.clientY - other.clientY);
  zoom(apart(event) / Math.max(apart(before), 1), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
  if (state.zoom > 1) pan(dx / 2, dy / 2);
}

/** Says what is under the pointer. */
function point(event) {
  const box = $("slice").getBoundingClientRect();
  const { width: columns, height: rows } = $("slice");
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
  const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
  describe();
  if (row < 0 || column < 0 || row >= rows || column >= columns) return;
  const i = row * columns + column;
  const value = state.network ? `grey level ${networkGrey(i)}` : `${hu[state.slice * rows * columns + i]} HU`;
  $("readout").textContent += `, column ${column + 1}, row ${row + 1}: ${value}`;
}

function onWheel(event) {
  event.preventDefault();
  if (event.ctrlKey) return zoom(Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
  if (event.deltaY) go(state.slice - Math.sign(event.deltaY));
}

// The page

function build() {
  const count = study.shape[0];
  $("notice").textContent = study.notice;
  study.labels.forEach((label, k) => addLabel(label, k));
  study.windows.forEach((window) => addWindow(window.name));
  for (const [value, text] of Object.entries(POINTS)) if (study.thresholds) $("point").append(new Option(text, value));
  if (5 in given()) $("point").append(new Option(`given, not fitted: any from ${Number(study.own_threshold.toPrecision(3))}`, "given"));
  $("point").append(new Option("own thresholds", "own"));
  $("point").value = initialPoint();
  $("smoothed").checked = state.smoothed;
  $("smoothed").parentElement.hidden = !study.smoothed;
  $("position").max = count;
  for (const text of ["off", "strongest"]) $("kind").append(new Option(text === "off" ? "off" : "strongest kind", text));
  study.labels.slice(0, 5).forEach((label, k) => $("kind").append(new Option(label, String(k))));
  $("kind").value = state.kind;
  $("mask-choice").hidden = !masks;
  $("mask-shown").disabled = !masks;
  $("network-shown").disabled = !study.network.windows.length;
  ["R", "L", "A", "P"].forEach((side, i) => {
    document.querySelectorAll(".side")[i].textContent = study.placed ? side : "";
  });
  buildCurves();
  buildRamp();
  buildLists();
  listen();
}

function addLabel(label, k) {
  const button = make("button", "", { type: "button", class: "label" });
  const name = make("span", `${label} `);
  name.append(make("kbd", String(k + 1)));
  button.append(name, make("span", "", { class: "soft" }), make("span"));
  button.addEventListener("click", () => choose(k));
  KEYS[k + 1] = [label, () => choose(k)];
  $("labels").append(button);
}

function addWindow(name) {
  const { center, width } = study.windows.find((x) => x.name === name);
  const button = make("button", `${name} `, { type: "button", "data-window": name, title: `level ${center}, width ${width}` });
  button.append(make("kbd", WINDOW_KEYS[name].toUpperCase()));
  button.addEventListener("click", () => setWindow(name));
  KEYS[WINDOW_KEYS[name]] = [`window ${name}`, () => button.disabled || setWindow(name)];
  $("windows").append(button);
}

function buildRamp() {
  const context = $("ramp").getContext("2d"), image = context.createImageData(256, 1);
  for (let value = 0; value < 256; value++) image.data.set([...study.colors[value], value], 4 * value);
  context.putImageData(image, 0, 0);
}

function buildLists() {
  for (const [key, [text]] of Object.entries(KEYS)) {
    const term = make("dt");
    term.append(make("kbd", key.length === 1 ? key.toUpperCase() : key.replace(/([a-z])([A-Z])/, "$1 $2")));
    $("help").querySelector("dl").append(term, make("dd", text));
  }
  study.remarks.forEach((text) => $("remarks").lastChild.append(make("li", text)));
  $("remarks").hidden = !study.remarks.length;
  study.rejects.forEach(([reason, count, meaning]) =>
    $("rejects").lastChild.append(make("li", `${count} × ${reason}${meaning && `: ${meaning}`}`)));
  $("rejects").hidden = !study.rejects.length;
}

function listen() {
  const on = (id, type, action) => $(id).addEventListener(type, action);
  on("point", "change", () => {
    const chosen = $("point").value;
    if (chosen in POINTS) Object.assign(state, { point: chosen, own: {} });
    if (chosen === "given") {
      $("smoothed").checked = state.smoothed = study.shows_smoothed;
      state.own = given();
    }
    showAnswer();
    describe();
  });
  on("threshold", "input", () => {
    state.own[state.label] = Number($("threshold").value);
    $("point").value = "own";
    showAnswer();
  });
  on("smoothed", "change", () => {
    state.smoothed = $("smoothed").checked;
    state.own = given();
    $("point").value = initialPoint();
    showAnswer();
    describe();
  });
  on("position", "input", () => go(Number($("position").value) - 1));
  on("kind", "change", () => setKind($("kind").value));
  on("opacity", "input", showOverlay);
  on("mask-shown", "change", showMask);
  on("network-shown", "change", () => {
    state.network = $("network-shown").checked;
    showAll();
  });
  for (const id of ["level", "width"])
    on(id, "change", () => setLevels(Number($("level").value), Number($("width").value)));
  on("reset", "click", () => zoomCentre(0));
  on("help-button", "click", () => $("help").showModal());
  const stage = $("stage");
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, event);
    if (event.button === 1) event.preventDefault();
  });
  for (const type of ["pointerup", "pointercancel"])
    stage.addEventListener(type, (event) => touches.delete(event.pointerId));
  stage.addEventListener("pointermove", onMove);
  stage.addEventListener("wheel", onWheel, { passive: false });
  document.addEventListener("keydown", onKey);
  document.addEventListener("pointerdown", () => { pointed = true; });
  document.addEventListener("change", (event) => {
    if (pointed && event.target.matches("select, input[type=range]")) event.target.blur();
  });
  new ResizeObserver(layOut).observe(stage);
}

start().catch((error) => {
  $("answer").textContent = `This page cannot be shown (${error}). It needs a browser of 2023 or later.`;
  throw error;
});
