"use strict";
// The search page: an image, a box in it, filters, results. Texts of the server are only ever set as text.
const at = (id) => document.getElementById(id);
const corners = ["box-left", "box-top", "box-width", "box-height"];
const canvas = at("picture");
let shown = null;
let dragged = null;

function box() {
  const values = corners.map((name) => (at(name).value === "" ? NaN : Number(at(name).value)));
  return values.every(Number.isFinite) && values[2] > 0 && values[3] > 0 ? values : null;
}

function draw() {
  if (!shown) return;
  const context = canvas.getContext("2d");
  context.drawImage(shown, 0, 0, canvas.width, canvas.height);
  const given = box();
  if (!given) return;
  const scale = canvas.width / shown.width;
  const [left, top, width, height] = given.map((value) => value * scale);
  context.lineWidth = 4;
  context.strokeStyle = "#000";
  context.strokeRect(left, top, width, height);
  context.lineWidth = 2;
  context.strokeStyle = "#fff";
  context.strokeRect(left, top, width, height);
}

function place(event) {
  const area = canvas.getBoundingClientRect();
  const limit = (value, most) => Math.min(most, Math.max(0, value));
  return [
    limit(((event.clientX - area.left) / area.width) * shown.width, shown.width),
    limit(((event.clientY - area.top) / area.height) * shown.height, shown.height),
  ];
}

function setBox(values) {
  corners.forEach((name, number) => { at(name).value = values ? Math.round(values[number]) : ""; });
  draw();
}

at("image").addEventListener("change", async () => {
  const file = at("image").files[0];
  setBox(null);
  shown = null;
  canvas.hidden = true;
  if (!file) return;
  try {
    shown = await createImageBitmap(file);
  } catch {
    at("hint").textContent = "This browser cannot show the image; it can still be searched for.";
    return;
  }
  const scale = Math.min(1, 640 / shown.width, 480 / shown.height);
  canvas.width = Math.max(1, Math.round(shown.width * scale));
  canvas.height = Math.max(1, Math.round(shown.height * scale));
  canvas.hidden = false;
  draw();
});

canvas.addEventListener("pointerdown", (event) => {
  if (!shown) return;
  canvas.setPointerCapture(event.pointerId);
  dragged = place(event);
});
canvas.addEventListener("pointermove", (event) => {
  if (!dragged) return;
  const [x, y] = place(event);
  setBox([Math.min(x, dragged[0]), Math.min(y, dragged[1]), Math.abs(x - dragged[0]), Math.abs(y - dragged[1])]);
});
canvas.addEventListener("pointerup", () => {
  dragged = null;
  const given = box();
  if (given && (given[2] < 4 || given[3] < 4)) setBox(null);
});
corners.forEach((name) => at(name).addEventListener("input", draw));
at("clear").addEventListener("click", () => setBox(null));

function form() {
  const body = new FormData();
  const file = at("image").files[0];
  if (!file) { at("image").reportValidity(); return null; }
  body.append("images", file);
  const given = box();
  if (given) body.append("box", given.join(","));
  return body;
}

function say(text, kind) {
  at("state").textContent = text;
  at("state").className = kind || "note";
}

async function ask(path, body) {
  say("Asking the server ...");
  try {
    const answer = await fetch(path, { method: "POST", body });
    const given = await answer.json();
    if (!answer.ok) { say(given.error.message, "wrong"); return null; }
    return given;
  } catch {
    say("The server does not answer.", "wrong");
    return null;
  }
}

function line(item, text, tag) {
  const part = document.createElement(tag || "div");
  part.textContent = text;
  item.append(part);
}

function show(hits) {
  at("hits").replaceChildren(...hits.map((hit) => {
    const item = document.createElement("li");
    item.dataset.similarity = hit.similarity;
    const picture = document.createElement("img");
    picture.loading = "lazy";
    picture.alt = hit.identity === null ? "image without identity" : `image of ${hit.identity}`;
    picture.src = `/images/${encodeURIComponent(hit.image)}?size=256`;
    item.append(picture);
    line(item, `similarity ${hit.similarity.toFixed(3)}`, "b");
    if (hit.identity !== null) line(item, `identity ${hit.identity}`);
    if (hit.camera !== null) line(item, `camera ${hit.camera}`);
    if (hit.time !== null) line(item, hit.time);
    line(item, hit.path.split("/").pop());
    item.title = hit.path;
    return item;
  }));
  keepSimilar();
}

function keepSimilar() {
  const least = Number(at("threshold").value);
  at("value").textContent = least.toFixed(2);
  const items = [...at("hits").children];
  items.forEach((item) => { item.hidden = Number(item.dataset.similarity) < least; });
  const kept = items.filter((item) => !item.hidden).length;
  if (items.length) say(`${kept} of ${items.length} images have a similarity of ${least.toFixed(2)} or more.${notes}`);
}

let notes = "";
at("threshold").addEventListener("input", keepSimilar);
at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = form();
  if (!body) return;
  const given = new URLSearchParams({ top: at("top").value || "24" });
  document.querySelectorAll("input[name=camera_not]:checked").forEach((each) => given.append("camera_not", each.value));
  ["since", "until", "where"].forEach((name) => { if (at(name).value) given.set(name, at(name).value); });
  const found = await ask(`/search?${given}`, body);
  if (!found) return;
  notes = found.notes.map((note) => ` ${note}.`).join("");
  if (!found.queries[0].hits.length) { at("hits").replaceChildren(); say(`No image passes the filter.${notes}`); return; }
  show(found.queries[0].hits);
});

at("name").addEventListener("click", async () => {
  const body = form();
  if (!body) return;
  const found = await ask("/identify", body);
  if (!found) return;
  const [answer] = found.queries;
  const sure = answer.probability === null ? "" : `, probability ${answer.probability.toFixed(2)}`;
  const near = `similarity ${answer.similarity.toFixed(3)}${sure}; names are given from ${found.threshold.toFixed(3)}`;
  say(answer.is_unknown ? `Unknown. The nearest identity is ${answer.nearest} (${near}).`
    : `It is ${answer.identity} (${near}).`, "answer");
  at("hits").replaceChildren();
});
