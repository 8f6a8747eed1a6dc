// Pairs of groups that may show one object, the likeliest first. Answered with the keys y, n and s.
"use strict";

const merges = { list: [], answered: 0, isBusy: false };

async function showMerges() {
  state.view = "merges"; state.open = null;
  showOnly("merges");
  find("merges").replaceChildren(make("p", { class: "center" }, "Looking for groups that may show one object ..."));
  const answer = await attempt(() => request("/api/merges?num=30"));
  if (answer === null || state.view !== "merges") { find("merges").replaceChildren(); return; }
  merges.list = answer.merges;
  drawMerges(0);
}

/** Draw all pairs, and focus the one at a place. */
function drawMerges(at) {
  if (!merges.list.length) {
    find("merges").replaceChildren(make("p", { class: "center" }, "No pair of groups is left to be judged. ",
      make("button", { onclick: showMerges }, "Look for more"), " ",
      make("button", { onclick: showGroups }, "Back to the groups")));
    find("merges").querySelector("button").focus();
    return;
  }
  find("merges").replaceChildren(...merges.list.map(mergeOf));
  focusMerge(at);
}

function focusMerge(at) {
  const all = [...document.querySelectorAll(".merge")];
  const wanted = all[Math.max(0, Math.min(all.length - 1, at))];
  wanted?.focus({ preventScroll: true });
  wanted?.scrollIntoView({ block: "center" });
}

function mergeOf(pair) {
  const percent = `${Math.round(100 * pair.probability)} %`;
  const side = (number) => {
    const group = state.groups.get(number);
    return make("div", { class: "side" },
      make("h3", {}, labelOf(group), make("span", {}, ` ${shownCount(group.size, "image")}`)),
      make("div", { class: "strip" }, ...group.rows.map((row) => image(row, 128, ""))));
  };
  const labels = [pair.first, pair.second].map((number) => labelOf(state.groups.get(number)));
  const answers = [["merge", "Merge", "y"], ["deny", "Keep apart", "n"], ["later", "Later", "s"]];
  return make("article", { class: "merge", tabindex: "0", "aria-label": `${labels.join(" and ")}, one object: ${percent}` },
    make("h2", {}, `One object? `, make("span", {}, `The program gives ${percent}.`)),
    make("div", { class: "pair" }, side(pair.first), side(pair.second)),
    make("div", { class: "answers" }, ...answers.map(([action, text, key]) =>
      make("button", { onclick: () => answerMerge(pair, action) }, `${text} `, make("kbd", {}, key)))));
}

async function answerMerge(pair, action) {
  const at = merges.list.indexOf(pair);
  if (at < 0 || merges.isBusy) return;
  merges.list.splice(at, 1);
  if (action === "later") { drawMerges(at); return; }
  merges.isBusy = true;
  const answer = await correct(action, [{ group: pair.first }, { group: pair.second }]);
  merges.isBusy = false;
  if (answer === null) merges.list.splice(at, 0, pair);
  if (state.view === "merges") drawMerges(at);
}

/** After a correction: pairs with a group that is gone become pairs with the group that has its images, once each. */
function takeMerges(answer) {
  const kept = answer.changed.length === 1 ? answer.changed[0].number : undefined;
  const now = (number) => (state.groups.has(number) ? number : kept);
  const seen = new Set();
  merges.list = merges.list
    .map((pair) => ({ ...pair, first: now(pair.first), second: now(pair.second) }))
    .filter(({ first, second }) => {
      const key = [first, second].sort((a, b) => a - b).join();
      const isNew = first !== undefined && second !== undefined && first !== second && !seen.has(key);
      seen.add(key);
      return isNew;
    });
  if (!merges.isBusy) drawMerges(0);
}

function keyInMerges(event, element) {
  const at = element ? [...document.querySelectorAll(".merge")].indexOf(element) : 0;
  const action = { y: "merge", n: "deny", s: "later" }[event.key];
  if (action && merges.list[at]) answerMerge(merges.list[at], action);
  else if (event.key === "ArrowDown" || event.key === "ArrowRight") focusMerge(at + 1);
  else if (event.key === "ArrowUp" || event.key === "ArrowLeft") focusMerge(at - 1);
  else if (event.key === "Escape") showGroups();
  else return false;
  return true;
}
