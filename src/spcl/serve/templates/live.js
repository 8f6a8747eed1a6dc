"use strict";
// The live page: the part with the curves is read again while the page is visible.
const SECONDS = 3;
async function read() {
  if (document.hidden) return;
  const state = document.getElementById("state");
  try {
    const answer = await fetch("/curves", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const text = await answer.text();
    const place = document.getElementById("curves");
    if (text !== place.dataset.text) {
      place.dataset.text = text;
      place.innerHTML = text;
    }
    state.textContent = "";
  } catch {
    state.textContent = "The server does not answer; the curves are those of its last answer.";
  }
}
setInterval(read, SECONDS * 1000);
