// The page of spcl review. Text of users enters the page as text nodes only.
"use strict";

const find = (id) => document.getElementById(id);
const state = { groups: new Map(), marked: new Set(), order: "size", view: "groups", open: null, images: [], chosen: new Set(),
  counts: {}, shown: 0, listed: [] };
const CHUNK = 60;

/** Make an element: attributes, then children; strings become text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

async function request(path, body) {
  const options = body === undefined ? {} :
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try { response = await fetch(path, options); } catch {
    throw new Error("spcl review does not answer: start it again. What was saved is in corrections.csv");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ? answer.error.message : `the answer has status ${response.status}`);
  return answer;
}

function say(text, isError = false) {
  find("status").textContent = text;
  find("status").className = isError ? "error" : "";
}

/** Run something that asks the program; an error is shown. */
async function attempt(work) {
  try { return await work(); } catch (error) { say(error.message, true); return null; }
}

const labelOf = (group) => group.name ?? `group ${group.number}`;
const shownCount = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function showCounts() {
  const { images, ungrouped, corrections } = state.counts;
  find("counts").textContent = `${shownCount(state.groups.size, "group")}, ${shownCount(images, "image")}, ` +
    `${ungrouped.toLocaleString("en")} in no group, ${shownCount(corrections.used, "correction")}`;
  find("undo").disabled = !state.counts.can_undo;
  find("view-none").textContent = `In no group (${ungrouped})`;
}

function takeCounts(answer) {
  const { images, ungrouped, corrections, can_undo, notes } = answer;
  state.counts = { images, ungrouped, corrections, can_undo, notes };
  showCounts();
}

/** Make a correction, and show what it changed. */
async function correct(action, words) {
  const answer = await attempt(() => request("/api/corrections", { action, words }));
  if (answer === null) return null;
  takeChanges(answer);
  const changes = answer.changes.slice(0, 3).join("; ");
  say(`Saved as correction ${answer.correction}: ${changes || "the groups are the same; the next grouping takes it into account"}`);
  return answer;
}

function takeChanges(answer) {
  for (const number of answer.removed) { state.groups.delete(number); state.marked.delete(number); }
  for (const group of answer.changed) state.groups.set(group.number, group);
  takeCounts(answer);
  if (state.view === "groups") {
    const focused = document.activeElement?.closest(".card")?.dataset.number;
    const changed = new Map(answer.changed.map((group) => [String(group.number), group]));
    for (const card of document.querySelectorAll(".card")) {
      if (!state.groups.has(Number(card.dataset.number))) card.remove();
      else if (changed.has(card.dataset.number)) card.replaceWith(cardOf(changed.get(card.dataset.number)));
      changed.delete(card.dataset.number);
    }
    for (const group of changed.values()) find("groups").firstElementChild?.prepend(cardOf(group));
    showMarks();
    if (focused !== undefined) focusCard(focused);
  } else if (state.view === "merges") takeMerges(answer);
  else if (state.open !== null) openGroup(state.groups.has(state.open) || state.open === -1 ? state.open : null);
}

// ---- the list of groups

function ordered() {
  const wanted = find("find").value.trim().toLowerCase();
  const groups = [...state.groups.values()].filter(
    (group) => !wanted || labelOf(group).toLowerCase().includes(wanted) || String(group.number) === wanted);
  const orders = {
    size: (a, b) => b.size - a.size || a.number - b.number,
    unsure: (a, b) => (a.by_hand === a.size) - (b.by_hand === b.size) || a.confidence - b.confidence || a.number - b.number,
    name: (a, b) => labelOf(a).localeCompare(labelOf(b), "en", { numeric: true }),
  };
  return groups.sort(orders[find("order").value]);
}

function showGroups() {
  state.view = "groups"; state.open = null;
  showOnly("groups");
  state.listed = ordered(); state.shown = 0;
  find("groups").replaceChildren(make("div", { class: "cards" }));
  if (!state.listed.length) find("groups").append(make("p", { class: "center" }, "No group fits."));
  showMore();
}

function showMore() {
  if (state.view !== "groups") return;
  const cards = find("groups").firstElementChild;
  const next = state.listed.slice(state.shown, state.shown + CHUNK);
  cards.append(...next.map(cardOf));
  state.shown += next.length;
  find("groups").querySelector(".more")?.remove();
  if (state.shown < state.listed.length) {
    const more = make("button", { class: "more", onclick: showMore }, `Show more (${state.listed.length - state.shown} groups)`);
    find("groups").append(more);
    watcher.observe(more);
  }
}
const watcher = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) showMore(); },
  { rootMargin: "600px" });

const image = (row, size, alt) => make("img", { src: `/images/${row}?size=${size}`, alt, loading: "lazy", decoding: "async" });

function cardOf(group) {
  const sure = group.by_hand === group.size ? "confirmed" : `confidence ${group.confidence.toFixed(2)}`;
  const strip = make("div", { class: "strip" }, ...group.rows.map((row) => {
    const shown = image(row, 128, "");
    shown.draggable = true;
    shown.addEventListener("dragstart", (event) => {
      event.stopPropagation(); event.dataTransfer.setData("text/plain", JSON.stringify({ row, from: group.number }));
    });
    return shown;
  }));
  const card = make("article", {
    class: "card", tabindex: "0", draggable: "true", "data-number": group.number,
    "aria-label": `${labelOf(group)}, ${shownCount(group.size, "image")}, ${sure}`,
    ondragstart: (event) => event.dataTransfer.setData("text/plain", JSON.stringify({ group: group.number })),
    ondragover: (event) => { event.preventDefault(); card.classList.add("over"); },
    ondragleave: () => card.classList.remove("over"),
    ondrop: (event) => { event.preventDefault(); card.classList.remove("over"); dropped(event, group.number); },
  },
    make("h2", {}, labelOf(group), make("span", {}, `${shownCount(group.size, "image")}, ${sure}`)),
    strip,
    make("div", { class: "actions" },
      make("button", { onclick: () => openGroup(group.number) }, "Open"),
      make("button", { class: "mark", "aria-pressed": "false", onclick: () => mark(group.number) }, "Mark"),
      make("button", { onclick: () => nameGroup(group.number) }, "Name"),
      make("button", { onclick: () => correct("confirm", [{ group: group.number }]), disabled: group.by_hand === group.size },
        "Confirm")));
  card.addEventListener("dblclick", () => openGroup(group.number));
  return card;
}

function dropped(event, onto) {
  let what;
  try { what = JSON.parse(event.dataTransfer.getData("text/plain")); } catch { return; }
  if (Number.isInteger(what.row) && what.from !== onto) correct("move", [{ row: what.row }, { group: onto }]);
  else if (Number.isInteger(what.group) && what.group !== onto) correct("merge", [{ group: onto }, { group: what.group }]);
}

function mark(number) {
  state.marked.has(number) ? state.marked.delete(number) : state.marked.add(number);
  showMarks();
}

function showMarks() {
  for (const card of document.querySelectorAll(".card")) {
    const isMarked = state.marked.has(Number(card.dataset.number));
    card.classList.toggle("marked", isMarked);
    card.querySelector(".mark").setAttribute("aria-pressed", isMarked);
    card.querySelector(".mark").textContent = isMarked ? "Marked" : "Mark";
  }
  find("merge-marked").disabled = state.marked.size < 2;
}

async function mergeMarked() {
  if (state.marked.size < 2) { say("Mark two groups first: Space, or the button Mark."); return; }
  const numbers = [...state.marked];
  state.marked.clear();
  await correct("merge", numbers.map((group) => ({ group })));
  showMarks();
  focusCard(String(numbers[0]));
}

function focusCard(number) {
  document.querySelector(`.card[data-number="${number}"]`)?.focus({ preventScroll: false });
}

// ---- one group

async function openGroup(number) {
  if (number === null) { showGroups(); return; }
  const answer = await attempt(() => request(`/api/groups/${number}`));
  if (answer === null) return;
  state.view = "group"; state.open = number; state.images = answer.images; state.chosen.clear();
  showOnly("group");
  const called = number === -1 ? "Images in no group" : answer.name ?? `Group ${number}`;
  const button = (text, key, work, isOff = false) => make("button", { onclick: work, disabled: isOff }, `${text} `, make("kbd", {}, key));
  const isNone = number === -1;
  find("group").replaceChildren(
    make("div", { class: "toolbar" },
      make("h2", {}, `${called}, ${shownCount(answer.images.length, "image")}`),
      button("Back", "Escape", () => closeGroup()),
      button("Split off marked", "s", splitChosen, isNone), button("Move marked", "m", moveChosen),
      button("In no group", "x", () => moveTo({ text: "none" }), isNone),
      button("Name", "n", () => nameGroup(number), isNone),
      button("Confirm", "c", () => correct("confirm", [{ group: number }]), isNone)),
    make("div", { class: "images" }, ...answer.images.map(figureOf)));
  find("group").querySelector(".image")?.focus();
}

function figureOf(shown, at) {
  const words = shown.by_hand ? "by hand" : state.open === -1 ? "" : `confidence ${shown.confidence.toFixed(2)}`;
  const figure = make("figure", {
    class: "image", tabindex: "0", role: "checkbox", "aria-checked": "false", "data-at": at,
    "aria-label": `${shown.file}${words ? `, ${words}` : ""}`,
    onclick: (event) => { event.detail > 1 ? showLarge(at) : choose(at, event.shiftKey); },
  }, image(shown.row, 280, ""), make("figcaption", {}, shown.file, ...(words ? [make("br"), words] : [])));
  return figure;
}

let lastChosen = 0;
function choose(at, upTo = false) {
  const rows = upTo ? state.images.slice(Math.min(at, lastChosen), Math.max(at, lastChosen) + 1) : [state.images[at]];
  const isOn = upTo || !state.chosen.has(state.images[at].row);
  for (const each of rows) isOn ? state.chosen.add(each.row) : state.chosen.delete(each.row);
  lastChosen = at;
  for (const figure of document.querySelectorAll(".image")) {
    const isChosen = state.chosen.has(state.images[Number(figure.dataset.at)].row);
    figure.classList.toggle("marked", isChosen);
    figure.setAttribute("aria-checked", isChosen);
  }
}

function chosenRows() {
  const rows = state.images.filter((each) => state.chosen.has(each.row)).map((each) => ({ row: each.row }));
  if (!rows.length) say("Mark images first: Space, or a click.");
  return rows;
}

async function splitChosen() {
  const rows = state.open === -1 ? [] : chosenRows();
  if (rows.length) await correct("split", [{ group: state.open }, ...rows]);
}

async function moveTo(where) {
  const rows = chosenRows();
  if (rows.length) await correct("move", [...rows, where]);
}

async function moveChosen() {
  if (!chosenRows().length) return;
  const text = await askText("Move to the group (its name or number; new: a new group)");
  if (!text) return;
  const group = groupCalled(text);
  await moveTo(text === "new" ? { text } : group ? { group: group.number } : { text });
}

const groupCalled = (text) => [...state.groups.values()].find((group) => group.name === text) ??
  (/^\d+$/.test(text) ? state.groups.get(Number(text)) : undefined);

function closeGroup() {
  const number = state.open;
  showGroups();
  focusCard(String(number));
}

async function nameGroup(number) {
  const text = await askText(`Name of ${labelOf(state.groups.get(number))}`, state.groups.get(number).name ?? "");
  if (text) await correct("name", [{ group: number }, { text }]);
}

function askText(label, value = "") {
  const dialog = find("ask");
  find("ask-label").textContent = label;
  find("ask-text").value = value;
  const names = [...state.groups.values()].filter((group) => group.name).slice(0, 500);
  find("ask-known").replaceChildren(...names.map((group) => make("option", { value: group.name })));
  const before = document.activeElement;
  dialog.returnValue = "";
  dialog.showModal();
  find("ask-text").select();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    before?.focus();
    resolve(dialog.returnValue === "yes" ? find("ask-text").value.trim() : "");
  }, { once: true }));
}

function showLarge(at) {
  const shown = state.images[at];
  find("large-image").src = `/images/${shown.row}?size=1200`;
  find("large-image").alt = shown.file;
  find("large-words").textContent = shown.path;
  find("large").showModal();
}

function showOnly(view) {
  for (const each of ["groups", "group", "merges", "questions"]) find(each).hidden = each !== view;
  find("view-groups").setAttribute("aria-pressed", view === "groups");
  find("view-merges").setAttribute("aria-pressed", view === "merges");
  find("view-questions").setAttribute("aria-pressed", view === "questions");
  find("view-none").setAttribute("aria-pressed", view === "group" && state.open === -1);
}

// ---- keys

/** Move the focus among elements that lie in rows, by the arrow keys. */
function moveFocus(kind, key) {
  const all = [...document.querySelectorAll(kind)];
  const now = all.indexOf(document.activeElement.closest(kind));
  if (now < 0) { all[0]?.focus(); return; }
  const top = all[now].getBoundingClientRect();
  const columns = Math.max(1, all.filter((each) => Math.abs(each.offsetTop - all[now].offsetTop) < top.height / 2).length);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
  all[Math.min(all.length - 1, Math.max(0, now + step))].focus();
}

function keyInGroups(event, number) {
  if (event.key === "m") mergeMarked();
  else if (number === undefined) return false;
  else if (event.key === "Enter") openGroup(number);
  else if (event.key === " ") mark(number);
  else if (event.key === "n") nameGroup(number);
  else if (event.key === "c") correct("confirm", [{ group: number }]);
  else return false;
  return true;
}

function keyInGroup(event, at) {
  if (event.key === "Escape") closeGroup();
  else if (event.key === "m") moveChosen();
  else if (event.key === "s") splitChosen();
  else if (event.key === "x" && state.open !== -1) moveTo({ text: "none" });
  else if (event.key === "n" && state.open !== -1) nameGroup(state.open);
  else if (event.key === "c" && state.open !== -1) correct("confirm", [{ group: state.open }]);
  else if (at === undefined) return false;
  else if (event.key === " ") choose(at, event.shiftKey);
  else if (event.key === "Enter") showLarge(at);
  else return false;
  return true;
}

document.addEventListener("keydown", (event) => {
  const on = document.activeElement;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (on.matches("input, select")) return;
  const isButton = on.matches("button") && (event.key === "Enter" || event.key === " ");
  if (isButton) return;
  let used = true;
  if (event.key === "u") undo();
  else if (event.key === "?") toggleKeys();
  else if (state.view === "questions") used = keyInQuestions(event);
  else if (state.view === "merges") used = keyInMerges(event, on.closest(".merge"));
  else if (event.key.startsWith("Arrow")) moveFocus(state.view === "group" ? ".image" : ".card", event.key);
  else if (state.view === "group") used = keyInGroup(event, on.closest(".image") ? Number(on.dataset.at) : undefined);
  else used = keyInGroups(event, on.closest(".card") ? Number(on.closest(".card").dataset.number) : undefined);
  if (used) event.preventDefault();
});

async function undo() {
  if (!state.counts.can_undo) { say("There is no correction that could be taken back."); return; }
  const answer = await attempt(() => request("/api/corrections", { action: "undo", words: [] }));
  if (answer === null) return;
  takeChanges(answer);
  say(`Taken back: ${answer.changes.slice(0, 3).join("; ") || "the groups are the same"}`);
}

function toggleKeys() {
  find("keys").hidden = !find("keys").hidden;
  find("show-keys").setAttribute("aria-expanded", !find("keys").hidden);
}

find("order").addEventListener("change", showGroups);
find("find").addEventListener("input", showGroups);
find("merge-marked").addEventListener("click", mergeMarked);
find("undo").addEventListener("click", undo);
find("show-keys").addEventListener("click", toggleKeys);
find("view-groups").addEventListener("click", showGroups);
find("view-merges").addEventListener("click", () => showMerges());
find("view-questions").addEventListener("click", () => showQuestions());
find("view-none").addEventListener("click", () => openGroup(-1));

attempt(async () => {
  const answer = await request("/api/groups");
  state.groups = new Map(answer.groups.map((group) => [group.number, group]));
  takeCounts(answer);
  for (const note of answer.notes.slice(0, 1)) say(note);
  showGroups();
});
