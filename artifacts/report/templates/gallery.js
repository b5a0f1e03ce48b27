"use strict";
// The gallery: all recorded groups, filtered, sorted and paginated. Its state is kept in the URL after "#gallery", so
// that a view can be shared as a link. Text of models is only ever set as textContent, never as markup.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const STANDARD = { view: "groups", player: "", from: "", to: "", low: "", high: "", sort: "round", order: "up", text: "", page: "1", open: "" };
const PER_PAGE = { groups: 12, attempts: 48 };

const named = (values) => Object.fromEntries(data.fields.map((field, place) => [field, values[place]]));
const known = (values) => values.filter((value) => value !== null);
const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);

function spread(values) {
  const middle = mean(values);
  return middle === null ? null : Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

function makeItem(round, player, group, attempts, rewards) {
  const similarities = known(attempts.map((attempt) => attempt.similarity));
  return {
    round, player, group, attempts,
    similarity: mean(similarities), lowest: Math.min(...similarities), highest: Math.max(...similarities),
    reward: mean(known(attempts.map((attempt) => attempt.reward))), spread: spread(rewards),
  };
}

const groups = data.groups.map(([round, player, group, rows]) => {
  const attempts = rows.map(named);
  return makeItem(round, player, group, attempts, known(attempts.map((attempt) => attempt.reward)));
});
const singles = groups.flatMap((item) =>
  item.attempts.map((attempt) => Object.assign(makeItem(item.round, item.player, item.group, [attempt], []), { spread: item.spread })));

const several = groups.some((item) => item.group > 0);

let state = { ...STANDARD };
let found = []; // the items that pass the filters, sorted

function textOf(item) { // computed when an item is first searched
  item.text ??= [...new Set(item.attempts.flatMap((attempt) => [attempt.prompt, attempt.description]))]
    .map((number) => data.texts[number]).join("\n").toLowerCase();
  return item.text;
}

function passes(item) {
  const within = (value, low, high) => (low === "" || value >= Number(low)) && (high === "" || value <= Number(high));
  if (state.player && item.player !== state.player) return false;
  if (!within(item.round, state.from, state.to)) return false;
  if ((state.low !== "" || state.high !== "") && (item.similarity === null || !within(item.similarity, state.low, state.high))) return false;
  return state.text.toLowerCase().split(/\s+/).every((word) => textOf(item).includes(word));
}

function choose() {
  const sign = state.order === "down" ? -1 : 1;
  found = (state.view === "attempts" ? singles : groups).filter(passes);
  found.sort((one, other) => {
    const [a, b] = [one[state.sort], other[state.sort]];
    if (a === null || b === null) return (a === null) - (b === null); // items without a value come last in both orders
    return sign * (a - b) || one.round - other.round || one.group - other.group;
  });
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const decimals = (value) => (value === null ? "–" : value.toFixed(3));

function picture(attempt, which) {
  const address = data.pictures[attempt[which]];
  if (address === undefined) {
    const reason = attempt.refusal >= 0 ? data.texts[attempt.refusal] : "no drawing";
    return make("div", "empty", attempt[which + "File"] >= 0 ? "not a readable image" : "refused: " + reason);
  }
  const image = make("img");
  Object.assign(image, { loading: "lazy", decoding: "async", width: 224, height: 224, alt: which, src: address });
  return image;
}

function attemptButton(item, attempt, shown, label) {
  const button = make("button", "attempt");
  button.type = "button";
  button.append(shown);
  const bar = button.appendChild(make("span", "bar")).appendChild(make("i"));
  bar.style.width = 100 * Math.min(Math.max(attempt.similarity ?? 0, 0), 1) + "%";
  button.append(make("b", "", label + decimals(attempt.similarity)));
  const said = button.appendChild(make("span", "clamp", data.texts[item.player === "base" ? attempt.description : attempt.prompt] || "(empty)"));
  said.dir = "auto";
  button.addEventListener("click", () => openDetail(item, attempt));
  return button;
}

function pairOf(attempt) {
  const two = make("span", "two");
  two.append(picture(attempt, "drawing"), picture(attempt, "reconstruction"));
  return two;
}

function fillCard(card, item) {
  if (state.view === "attempts" || item.player === "adversary") {
    const row = card.appendChild(make("div", "row wide"));
    if (state.view === "attempts") row.style.gridTemplateColumns = "1fr";
    row.append(...item.attempts.map((attempt) => attemptButton(item, attempt, pairOf(attempt), "similarity ")));
    return;
  }
  const group = card.appendChild(make("div", "group"));
  const drawing = group.appendChild(make("figure"));
  drawing.append(picture(item.attempts[0], "drawing"));
  const prompt = drawing.appendChild(make("figcaption")).appendChild(make("p", "", data.texts[item.attempts[0].prompt] || "(empty)"));
  prompt.dir = "auto";
  const row = group.appendChild(make("div", "row"));
  row.append(...item.attempts.map((attempt) => attemptButton(item, attempt, picture(attempt, "reconstruction"), "")));
}

function makeCard(item) {
  const card = make("li", "card " + item.player);
  card.tabIndex = 0;
  const title = `Round ${item.round}` + (several ? `, group ${item.group + 1}` : "");
  const range = item.attempts.length > 1 && item.similarity !== null ? ` (${decimals(item.lowest)} to ${decimals(item.highest)})` : "";
  const numbers = `similarity ${decimals(item.similarity)}${range}, reward ${decimals(item.reward)}`;
  card.setAttribute("aria-label", `${title}, ${item.player}, ${numbers}`);
  const header = card.appendChild(make("header"));
  header.append(make("b", "", title), make("span", "tag " + item.player, item.player));
  if (state.view === "groups") header.append(make("span", "faint", numbers));
  fillCard(card, item);
  card.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target !== card) return;
    event.preventDefault(); // otherwise the same key press would activate the dialog's first button
    openDetail(item, item.attempts[0]);
  });
  return card;
}

const pagesOf = () => Math.max(1, Math.ceil(found.length / PER_PAGE[state.view]));

function show() {
  choose();
  const pages = pagesOf();
  const page = Math.min(Math.max(Math.trunc(Number(state.page)) || 1, 1), pages);
  state.page = String(page);
  const size = PER_PAGE[state.view];
  $("list").className = state.view;
  $("list").replaceChildren(...found.slice((page - 1) * size, page * size).map(makeCard));
  const all = state.view === "attempts" ? singles.length : groups.length;
  $("count").textContent = all === 0 ? "No round was recorded yet."
    : `${found.length} of ${all} ${state.view === "attempts" ? "attempts" : "groups"}` + (found.length ? "" : ": no match for these filters.");
  $("pages").hidden = pages === 1;
  $("pages").querySelector("span").textContent = `page ${page} of ${pages}`;
  $("before").disabled = page === 1;
  $("after").disabled = page === pages;
}

function writeAddress() {
  const changed = Object.entries(state).filter(([name, value]) => value !== STANDARD[name]);
  const query = new URLSearchParams(changed).toString();
  history.replaceState(null, "", "#gallery" + (query ? "&" + query : ""));
}

function readAddress() {
  const [place, ...rest] = location.hash.split("&");
  if (place !== "#gallery") return false;
  const given = new URLSearchParams(rest.join("&"));
  state = { ...STANDARD };
  for (const name of Object.keys(STANDARD)) if (given.has(name)) state[name] = given.get(name);
  if (!(state.view in PER_PAGE)) state.view = STANDARD.view;
  if (!["round", "similarity", "reward", "spread"].includes(state.sort)) state.sort = STANDARD.sort;
  return true;
}

function writeControls() {
  for (const control of $("controls").elements) if (control.name in state) control.value = state[control.name];
}

function change(values) {
  Object.assign(state, { page: "1", open: "" }, values);
  show();
  writeAddress();
}

function turn(by) {
  const page = Math.min(Math.max(Number(state.page) + by, 1), pagesOf());
  if (String(page) === state.page) return;
  change({ page: String(page) });
  $("gallery").scrollIntoView();
  $("list").firstElementChild?.focus({ preventScroll: true });
}
