"use strict";
(function () {
  // The page is complete without this script: it adds sorting, filtering and the pictures of the map.
  for (const controls of document.querySelectorAll(".controls[hidden]")) controls.hidden = false;
  addEventListener("beforeprint", function () {
    for (const box of document.querySelectorAll("details")) box.open = true;
  });

  const list = document.getElementById("group-cards");
  if (list) {
    const cards = Array.from(list.children);
    const words = document.getElementById("group-words"), order = document.getElementById("group-order");
    const only = document.getElementById("group-only"), count = document.getElementById("group-count");
    const text = new Map(cards.map(function (card) { return [card, card.textContent.toLowerCase()]; }));
    const keys = {
      size: function (card) { return -card.dataset.size; },
      unsure: function (card) { return +card.dataset.sure; },
      sure: function (card) { return -card.dataset.sure; },
      number: function (card) { return +card.dataset.number; },
    };
    const show = function () {
      const wanted = words.value.trim().toLowerCase();
      const key = keys[order.value];
      let shown = 0;
      cards.sort(function (a, b) { return key(a) - key(b) || a.dataset.number - b.dataset.number; });
      for (const card of cards) {
        card.hidden = !text.get(card).includes(wanted) || (only.value === "unsure" && card.dataset.unsure !== "1")
          || (only.value === "sure" && card.dataset.unsure !== "0");
        shown += !card.hidden;
      }
      list.append.apply(list, cards);
      count.textContent = shown + " of " + cards.length + " groups";
    };
    for (const control of [words, order, only]) control.addEventListener("input", show);
  }

  const source = document.getElementById("map-data"), box = document.getElementById("map-box");
  if (source && box) {
    const data = JSON.parse(source.textContent), tip = box.querySelector(".tip"), svg = box.querySelector("svg");
    const place = function (event) {
      const frame = svg.getBoundingClientRect(), scale = data.side / frame.width;
      const x = (event.clientX - frame.left) * scale, y = (event.clientY - frame.top) * scale;
      let best = -1, least = Math.pow(16 * scale, 2);
      for (let at = 0; at < data.x.length; at++) {
        const far = Math.pow(data.x[at] - x, 2) + Math.pow(data.y[at] - y, 2);
        if (far < least) { least = far; best = at; }
      }
      tip.hidden = best < 0;
      if (best < 0) return;
      tip.replaceChildren();
      const picture = data.pictures[best];
      if (picture) {
        const shown = document.createElement("i");
        shown.className = data.kinds[picture[0]];
        shown.style.setProperty("--x", picture[1]);
        shown.style.setProperty("--y", picture[2]);
        tip.append(shown);
      }
      const lines = [data.names[best]];
      for (const name of Object.keys(data.columns)) {
        const column = data.columns[name], value = column.values[column.of[best]];
        lines.push(name + " " + (value === "" ? "none" : value));
      }
      for (const line of lines) {
        const row = document.createElement("div");
        row.textContent = line;
        tip.append(row);
      }
      const left = data.x[best] / scale, top = data.y[best] / scale;
      tip.style.left = Math.max(0, Math.min(left + 14, frame.width - tip.offsetWidth - 4)) + "px";
      tip.style.top = (top + 14 + tip.offsetHeight > frame.height ? Math.max(0, top - 14 - tip.offsetHeight) : top + 14) + "px";
    };
    svg.addEventListener("pointermove", place);
    svg.addEventListener("pointerdown", place);
    svg.addEventListener("pointerleave", function (event) { if (event.pointerType === "mouse") tip.hidden = true; });
  }
})();
