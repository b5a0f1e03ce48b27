// The dialog that shows one attempt at full size, and keyboard control of the page.
let opened = null; // { item, attempt }
let returnTo = null; // the element that had the focus before the dialog opened

function large(item, attempt, which) {
  const small = picture(attempt, which);
  const file = data.texts[attempt[which + "File"]];
  if (small.tagName !== "IMG" || !data.originals || file === undefined) return small;
  const address = small.src;
  small.addEventListener("error", () => { small.src = address; }, { once: true }); // the round's directory may have been moved
  small.loading = "eager";
  small.src = folderOf(item) + "/" + file;
  return small;
}

const folderOf = (item) => "training_logs/round-" + String(item.round).padStart(4, "0");

function fillDetail({ item, attempt }) {
  $("detail-title").textContent = `Round ${item.round}, ${several ? `group ${item.group + 1}, ` : ""}attempt ${attempt.place + 1}: training the ${item.player}`;
  for (const which of ["drawing", "reconstruction"]) $("large-" + which).replaceChildren(large(item, attempt, which));
  $("prompt").textContent = data.texts[attempt.prompt] || "(empty)";
  $("description").textContent = data.texts[attempt.description] || "(empty)";
  $("facts").textContent = `similarity ${decimals(attempt.similarity)}, reward ${decimals(attempt.reward)}, ` +
    `${attempt.tokens} tokens${attempt.finished ? "" : ", cut at the token limit"}`;
  const all = walk();
  const place = all.findIndex((step) => step.attempt === attempt);
  $("place").textContent = place < 0 ? "" : `${place + 1} of ${all.length}`;
  $("back").disabled = place <= 0;
  $("forth").disabled = place < 0 || place === all.length - 1;
  $("folder").hidden = !data.originals;
  $("folder").href = folderOf(item) + "/round.pdf";
}

function walk() { // every attempt that passes the filters, in the order shown
  return found.flatMap((item) => item.attempts.map((attempt) => ({ item, attempt })));
}

function openDetail(item, attempt) {
  opened = { item, attempt };
  fillDetail(opened);
  if (!$("detail").open) {
    returnTo = document.activeElement;
    $("detail").showModal();
  }
  state.open = [item.round, item.group, attempt.place].join(".");
  writeAddress();
}

function step(by) {
  const all = walk();
  const place = all.findIndex(({ attempt }) => attempt === opened.attempt) + by;
  if (all[place]) openDetail(all[place].item, all[place].attempt);
}

function openFromAddress() {
  const [round, group, place] = state.open.split(".").map(Number);
  const item = groups.find((one) => one.round === round && one.group === group);
  const attempt = item?.attempts.find((one) => one.place === place);
  if (attempt) openDetail(item, attempt);
}

$("detail").addEventListener("close", () => {
  state.open = "";
  writeAddress();
  if (returnTo?.isConnected) returnTo.focus();
});
$("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
$("close").addEventListener("click", () => $("detail").close());
$("back").addEventListener("click", () => step(-1));
$("forth").addEventListener("click", () => step(1));
$("before").addEventListener("click", () => turn(-1));
$("after").addEventListener("click", () => turn(1));

let typing = 0;
function apply(event) {
  clearTimeout(typing);
  const { name, value } = event.target;
  if (name in state && state[name] !== value) change({ [name]: value });
}
$("controls").addEventListener("input", (event) => { // the search text is debounced, other controls apply at once
  clearTimeout(typing);
  typing = setTimeout(apply, event.target.type === "search" ? 120 : 0, event);
});
$("controls").addEventListener("change", apply);
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("reset", () => {
  const standard = { ...STANDARD };
  setTimeout(() => { change(standard); writeControls(); });
});

function moveFocus(by) {
  const cards = [...$("list").children];
  const place = cards.indexOf(document.activeElement.closest?.(".card"));
  const next = cards[place < 0 ? (by > 0 ? 0 : cards.length - 1) : place + by];
  if (next) {
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
}

const KEYS = { j: () => moveFocus(1), k: () => moveFocus(-1), n: () => turn(1), p: () => turn(-1), "/": () => $("controls").elements.text.focus() };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ($("detail").open) {
    if (event.key === "ArrowLeft" || event.key === "k") step(-1);
    else if (event.key === "ArrowRight" || event.key === "j") step(1);
    return;
  }
  if (event.target.matches("input, select, textarea")) {
    if (event.key !== "Escape" && event.key !== "Enter") return;
    event.preventDefault(); // Escape would otherwise clear the search field
    event.target.blur();
    return;
  }
  const inList = event.target.closest?.(".card");
  const action = KEYS[event.key] ?? (inList && { ArrowDown: KEYS.j, ArrowUp: KEYS.k }[event.key]);
  if (action) {
    event.preventDefault();
    action();
  }
});

window.addEventListener("hashchange", () => {
  if (location.hash === "#gallery") writeAddress(); // the page's own link: keep the current view
  else start(true);
});

function start(again) {
  const given = readAddress();
  if (again && !given) return;
  writeControls();
  show();
  if (given) $("gallery").scrollIntoView();
  if (state.open) openFromAddress();
}

$("ends").remove();
$("controls").hidden = groups.length === 0;
if (new Set(groups.map((item) => item.player)).size < 2) $("controls").elements.player.closest("label").remove();
start(false);
