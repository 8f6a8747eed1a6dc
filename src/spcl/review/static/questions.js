// The questions of spcl ask: two images, one object or two. Answered with the keys y, n and s.
"use strict";

const asked = { list: [], at: 0, answered: 0 };

async function showQuestions() {
  state.view = "questions"; state.open = null;
  showOnly("questions");
  find("questions").replaceChildren(make("p", { class: "center" }, "Looking for the questions that change most ..."));
  const answer = await attempt(() => request("/api/questions?num=20"));
  if (answer === null || state.view !== "questions") { find("questions").replaceChildren(); return; }
  asked.list = answer.questions; asked.at = 0;
  showQuestion();
}

function showQuestion() {
  const question = asked.list[asked.at];
  if (question === undefined) {
    const words = asked.list.length ? "These questions are answered." : "There is no question: every group and every pair of groups is clear.";
    find("questions").replaceChildren(make("p", { class: "center" }, words, " ",
      make("button", { onclick: showQuestions }, "Look for more"), " ",
      make("button", { onclick: showGroups }, "Back to the groups")));
    find("questions").querySelector("button").focus();
    return;
  }
  const side = (row, file, rows, label) => make("figure", {}, image(row, 800, file), make("figcaption", {}, `${file}, ${label}`),
    make("div", { class: "strip" }, ...rows.map((each) => image(each, 128, ""))));
  const probability = question.probability === null ? "" : ` The program gives ${Math.round(100 * question.probability)} %.`;
  const answers = [["same", "Yes", "y"], ["different", "No", "n"], ["unsure", "Not sure", "s"]];
  find("questions").replaceChildren(
    make("p", { class: "center" }, `Question ${asked.at + 1} of ${asked.list.length}: do both images show the same object?${probability}`),
    make("div", { class: "pair" },
      side(question.first, question.first_file, question.first_rows, question.first_label),
      side(question.second, question.second_file, question.second_rows, question.second_label)),
    make("div", { class: "answers" }, ...answers.map(([answer, text, key]) =>
      make("button", { onclick: () => answerQuestion(answer) }, `${text} `, make("kbd", {}, key)))));
  find("questions").querySelector(".answers button").focus();
}

async function answerQuestion(answer) {
  const question = asked.list[asked.at];
  if (question === undefined) return;
  asked.at += 1;  // a second press of the key is an answer to the next question
  const result = await attempt(() =>
    request("/api/answers", { first: question.first, second: question.second, answer }));
  if (result === null) { asked.at -= 1; return; }
  if (result.changed) takeChanges(result);
  asked.answered += 1;
  say(`${asked.answered} answered. ${(result.changes ?? []).slice(0, 2).join("; ")}`);
  if (state.view === "questions") showQuestion();
}

function keyInQuestions(event) {
  const answer = { y: "same", n: "different", s: "unsure" }[event.key];
  if (answer) answerQuestion(answer);
  else if (event.key === "Escape") showGroups();
  else return false;
  return true;
}
