// Draws what the node sends. Asks for a frame when the one before is on the screen, so a slow link skips frames.
"use strict";

const HISTORY = 120; // points of a chart, two a second
const SILENT_S = 3;
const SHOWN_SCORE = 0.3; // objects below are doubts
const NAMED_PIXELS = 14; // smaller boxes get no name
const HIGHEST = 0.72; // of the window, as in app.css
const VOID = 255;
const byId = (id) => document.getElementById(id);
const streams = new Map();
let socket = null;
let opened = false;
let told = false; // whether the server ever said how things stand

const shown = () => [...document.querySelectorAll("#toggles input[type=checkbox]:checked")].map((box) => box.value);
const opacity = () => Number(byId("opacity").value) / 100;
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// -- The codecs of the wire protocol ------------------------------------------------------------------------------

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function runs(bytes, part, count) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const map = new Uint8Array(count);
  for (let run = 0, at = 0; run < part.runs; run++) {
    const length = view.getUint16(2 * run, true);
    map.fill(bytes[2 * part.runs + run], at, at + length);
    at += length;
  }
  return map;
}

async function decode(part, bytes) {
  const count = part.shape[0] * part.shape[1];
  const plain = part.codec.endsWith("zlib") ? await inflate(bytes) : bytes;
  return part.codec.startsWith("rle") ? runs(plain, part, count) : plain;
}

async function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const frame = { head, image: null, maps: {} };
  let at = 4 + length;
  for (const part of head.parts) {
    const bytes = new Uint8Array(buffer, at, part.bytes);
    at += part.bytes;
    if (part.codec === "jpeg") {
      frame.image = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }), { imageOrientation: "none" });
    } else {
      frame.maps[part.name] = { part, values: await decode(part, bytes) };
    }
  }
  return frame;
}

// -- Drawing ------------------------------------------------------------------------------------------------------

function sheet(map, paint) {
  const [height, width] = map.part.shape;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  for (let at = 0; at < words.length; at++) words[at] = paint[map.values[at]];
  context.putImageData(pixels, 0, 0);
  return canvas;
}

const rgba = (r, g, b, a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;

function lay(context, map, canvas, scale, alpha) {
  // A pixel's centre is a whole number in the protocol; here its left edge is.
  const [a, b, c, d, e, f] = map.part.to_source;
  context.save();
  context.globalAlpha = alpha;
  context.imageSmoothingEnabled = false;
  context.transform(scale * a, scale * d, scale * b, scale * e,
    scale * (c + 0.5 - (a + b) / 2), scale * (f + 0.5 - (d + e) / 2));
  context.drawImage(canvas, 0, 0);
  context.restore();
}

function drawObjects(context, objects, table, scale) {
  context.font = "600 12px system-ui, 'DejaVu Sans', sans-serif";
  context.textBaseline = "middle";
  const believed = objects.filter((found) => found.score >= SHOWN_SCORE);
  const boxes = believed.map((found) => ({ found, edges: found.box.map((value) => value * scale), row: table.get(found.class) }));
  const ink = (row) => (row ? row.color : [255, 255, 255]);
  for (const { edges: [x0, y0, x1, y1], row } of boxes) {
    context.strokeStyle = "#fff";
    context.lineWidth = 3;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.strokeStyle = `rgb(${ink(row).join(" ")})`;
    context.lineWidth = 1.5;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
  for (const { found, edges: [x0, y0, x1, y1], row } of boxes) {
    const [r, g, b] = ink(row);
    if (Math.min(x1 - x0, y1 - y0) < NAMED_PIXELS) continue;
    const track = found.track === null ? "" : ` #${found.track}`;
    const text = `${row ? row.name : `class ${found.class}`} ${Math.round(100 * found.score)}%${track}`;
    const width = context.measureText(text).width + 8;
    const left = Math.max(0, Math.min(x0, context.canvas.width - width));
    const top = Math.max(0, y0 - 17);
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.fillRect(left, top, width, 16);
    context.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff";
    context.fillText(text, left + 4, top + 8.5);
  }
}

function draw(stream) {
  const { frame, canvas } = stream;
  if (!frame) return;
  const [width, height] = frame.head.size;
  const room = Math.min(stream.view.clientWidth, (HIGHEST * innerHeight * width) / height);
  const wide = Math.max(320, Math.min(1920, Math.round(room * devicePixelRatio)));
  const scale = wide / width;
  const high = Math.max(1, Math.round(height * scale));
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d");
  const layers = shown();
  context.fillStyle = "#000";
  context.fillRect(0, 0, wide, high);
  const pictured = frame.image !== null && layers.includes("image");
  if (pictured) context.drawImage(frame.image, 0, 0, wide, high);
  if (frame.maps.labels && layers.includes("labels")) {
    lay(context, frame.maps.labels, sheet(frame.maps.labels, stream.palette), scale, pictured ? opacity() : 1);
  }
  if (frame.maps.confidence && layers.includes("confidence")) {
    lay(context, frame.maps.confidence, sheet(frame.maps.confidence, DOUBT), scale, 1);
  }
  if (layers.includes("objects")) drawObjects(context, frame.head.objects, stream.table, scale);
}

// The less sure the network, the redder: sure pixels stay as they are.
const DOUBT = Uint32Array.from({ length: 256 }, (_, sure) => rgba(255, 40, 0, Math.round(0.85 * (255 - sure))));

function chart(canvas, series, floor) {
  const ratio = devicePixelRatio;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const top = Math.max(floor, ...series.flatMap(({ values }) => values.filter((value) => value !== null)));
  context.font = `${10 * ratio}px system-ui, 'DejaVu Sans', sans-serif`;
  context.fillStyle = color("--soft");
  context.strokeStyle = color("--line");
  context.beginPath();
  context.moveTo(0, height - 0.5);
  context.lineTo(width, height - 0.5);
  context.stroke();
  context.fillText(top > 10 ? Math.round(top) : Math.round(top * 10) / 10, 2 * ratio, 10 * ratio);
  context.lineWidth = 1.5 * ratio;
  for (const { values, ink } of series) {
    context.strokeStyle = color(ink);
    context.beginPath();
    let pen = false;
    values.forEach((value, at) => {
      if (value === null) { pen = false; return; }
      const x = width * (1 - (values.length - 1 - at) / (HISTORY - 1));
      const y = height - ratio - (height - 4 * ratio) * Math.min(1, value / top);
      if (pen) context.lineTo(x, y); else context.moveTo(x, y);
      pen = true;
    });
    context.stroke();
  }
}

// -- Streams ------------------------------------------------------------------------------------------------------

function addStream(name) {
  const article = byId("stream").content.cloneNode(true).firstElementChild;
  const find = (selector) => article.querySelector(selector);
  find("h2").textContent = name;
  article.dataset.stream = name;
  const stream = {
    name, article, find, view: find(".view"), canvas: find(".picture"), frame: null, table: new Map(),
    palette: new Uint32Array(256), history: { fps: [], p50: [], p99: [], dropped: [], lost: [] }, before: null,
    tableText: "", frames: 0,
  };
  const after = [...streams.keys()].filter((other) => other > name).sort()[0];
  byId("streams").insertBefore(article, after ? streams.get(after).article : null);
  streams.set(name, stream);
  ask(name);
  return stream;
}

function dropStream(stream) {
  if (stream.frame && stream.frame.image) stream.frame.image.close();
  stream.frame = null;
  stream.article.remove();
  streams.delete(stream.name);
}

function takeClasses(stream, rows) {
  const text = JSON.stringify(rows);
  if (text === stream.tableText) return;
  stream.tableText = text;
  stream.table = new Map(rows.map((row) => [row.id, row]));
  stream.palette = new Uint32Array(256).fill(rgba(0, 0, 0, 255));
  for (const row of rows) stream.palette[row.id] = rgba(...row.color, 255);
  stream.palette[VOID] = rgba(0, 0, 0, 0);
}

function push(values, value) {
  values.push(value);
  if (values.length > HISTORY) values.shift();
}

function takeFigures(stream, figures, silent) {
  const { history, find } = stream;
  const state = silent && !["ended", "failed"].includes(figures.state) ? "silent" : figures.state;
  find(".state").textContent = state;
  find(".state").className = `state ${state}`;
  find(".model").textContent = figures.model;
  const fell = (key) => (stream.before && figures[key] >= stream.before[key] ? figures[key] - stream.before[key] : 0);
  for (const key of ["fps", "p50", "p99"]) push(history[key], figures[key]);
  for (const key of ["dropped", "lost"]) push(history[key], fell(key));
  stream.before = figures;
  find(".fps").textContent = figures.fps.toFixed(1);
  for (const key of ["p50", "p99"]) find(`.${key}`).textContent = figures[key] === null ? "-" : Math.round(figures[key]);
  find(".dropped").textContent = figures.dropped;
  find(".dropped").title = Object.entries(figures.reasons).map(([why, count]) => `${count} ${why}`).join(", ");
  find(".lost").textContent = figures.lost;
  const charts = stream.article.querySelectorAll(".chart");
  chart(charts[0], [{ values: history.fps, ink: "--accent" }], 1);
  chart(charts[1], [{ values: history.p99, ink: "--second" }, { values: history.p50, ink: "--accent" }], 10);
  chart(charts[2], [{ values: history.lost, ink: "--second" }, { values: history.dropped, ink: "--accent" }], 1);
  const old = silent || figures.fps === 0;
  stream.canvas.classList.toggle("old", old && stream.frame !== null);
  find(".waiting").hidden = !old && stream.frame !== null;
  find(".waiting").textContent = stream.frame ? "no new frame" : "waiting for a frame";
}

function drawLegend() {
  const rows = new Map();
  const share = new Map();
  let pixels = 0;
  for (const stream of streams.values()) {
    for (const [id, row] of stream.table) rows.set(id, row);
    const map = stream.frame && stream.frame.maps.labels;
    if (!map) continue;
    pixels += map.values.length;
    for (const value of map.values) share.set(value, (share.get(value) || 0) + 1);
  }
  const list = byId("legend");
  list.replaceChildren(...[...rows.values()].map((row) => {
    const item = document.createElement("li");
    const part = pixels ? (share.get(row.id) || 0) / pixels : 0;
    item.classList.toggle("absent", !part);
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    swatch.setAttribute("width", "12");
    swatch.setAttribute("height", "12");
    const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    box.setAttribute("width", "12");
    box.setAttribute("height", "12");
    box.setAttribute("fill", `rgb(${row.color.join(" ")})`);
    swatch.append(box);
    const figure = document.createElement("span");
    figure.textContent = part ? (part < 0.001 ? "<0.1%" : `${(100 * part).toFixed(1)}%`) : "";
    item.append(swatch, row.name, figure);
    return item;
  }));
}

function takeEvents(events) {
  for (const event of events) {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = event.time;
    const name = document.createElement("b");
    name.textContent = event.name;
    item.append(time, name, [event.stream, event.detail].filter(Boolean).join(": "));
    byId("events").prepend(item);
  }
  while (byId("events").children.length > 200) byId("events").lastElementChild.remove();
  byId("no-events").hidden = byId("events").children.length > 0;
}

// -- The connection -----------------------------------------------------------------------------------------------

function say(text) {
  byId("banner").textContent = text;
  byId("banner").hidden = !text;
}

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

// Of a hidden page nobody sees anything, so the node need not compute for it.
const tellKinds = () => send({ kinds: document.hidden ? [] : shown() });
const ask = (name) => send({ next: name });

function takeNews(news) {
  told = true;
  byId("endpoint").textContent = news.endpoint;
  const silent = news.silent_s > SILENT_S;
  if (!news.heard) {
    say(silent ? `Nothing from ${news.endpoint} for ${Math.round(news.silent_s)} s. Is the node running there?` : "");
  } else if (silent) {
    const states = Object.values(news.streams).map((stream) => stream.state);
    const ended = states.length > 0 && states.every((state) => state === "ended" || state === "failed");
    say(ended ? "The stream has ended. The page goes on when the node comes back."
      : `The node has been silent for ${Math.round(news.silent_s)} s. The page goes on when it comes back.`);
  } else {
    say(news.shrink > 1 ? `Slow connection: pictures are sent at 1/${news.shrink} of their size.` : "");
  }
  for (const [name, figures] of Object.entries(news.streams)) {
    const stream = streams.get(name) || addStream(name);
    takeClasses(stream, news.classes[name]);
    takeFigures(stream, figures, silent);
  }
  // A node that came back may have other streams.
  for (const stream of streams.values()) if (!(stream.name in news.streams)) dropStream(stream);
  takeEvents(news.events);
  drawLegend();
}

async function takeFrame(buffer) {
  let frame;
  try {
    frame = await unpack(buffer);
  } catch (error) {
    console.error("a frame that cannot be shown:", error);
    const length = new DataView(buffer).getUint32(0, true);
    ask(JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))).stream);
    return;
  }
  const stream = streams.get(frame.head.stream) || addStream(frame.head.stream);
  requestAnimationFrame(() => {
    if (stream.frame && stream.frame.image) stream.frame.image.close();
    stream.frame = frame;
    stream.frames += 1;
    stream.article.dataset.frame = frame.head.frame;
    stream.article.dataset.age = frame.head.age_ms;
    draw(stream);
    ask(stream.name);
  });
}

function connect() {
  socket = new WebSocket(`ws://${location.host}/feed`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    opened = true;
    say("");
    tellKinds();
    for (const name of streams.keys()) ask(name);
  };
  socket.onmessage = (message) => {
    if (typeof message.data === "string") takeNews(JSON.parse(message.data));
    else takeFrame(message.data);
  };
  socket.onclose = () => {
    say(opened || told ? "The viewer was stopped. Start 'roadcast view' again and this page goes on." : "Cannot reach the viewer.");
    for (const stream of streams.values()) stream.canvas.classList.add("old");
    setTimeout(connect, 1000);
  };
}

byId("toggles").addEventListener("input", () => {
  byId("opacity-label").hidden = !(shown().includes("labels") && shown().includes("image"));
  tellKinds();
  for (const stream of streams.values()) draw(stream);
});
document.addEventListener("visibilitychange", tellKinds);
addEventListener("resize", () => streams.forEach(draw));
connect();
