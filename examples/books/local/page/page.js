// The page of the books example. Everything that it shows is set as text, never as HTML.
const $ = (id) => document.getElementById(id);
const traces = new Map(); // by number, as the server sends them
const state = { followed: null, step: null, node: null, latest: true };
let way;

// Return an element with properties and children; null children are left out.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

async function send(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : {} };
}

// Return a name such as BookAdded with places where a line may break.
const breakable = (name) => name.split(/(?<=[a-z])(?=[A-Z])/).flatMap((part, n) => (n ? [make("wbr"), part] : [part]));
const say = (text) => { $("said").textContent = text; };
const seconds = (after) => (after < 1 ? `+${Math.round(after * 1000)} ms` : `+${after.toFixed(1)} s`);

// --- Books ---------------------------------------------------------------------------------------------------------
async function showBooks() {
  const { body } = await send("GET", "/book");
  const books = body.sort((one, other) => one.name.localeCompare(other.name));
  $("no-books").hidden = books.length > 0;
  $("books").replaceChildren(...books.map((book) => {
    const remove = make("button", { type: "button", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${book.name}`);
    remove.addEventListener("click", () => change(remove, "DELETE", { name: book.name }));
    return make("li", {}, make("span", {}, book.name, make("small", { textContent: `${book.authors.join(", ")}, ${book.year}` })), remove);
  }));
}

async function change(button, method, book) {
  button.disabled = true;
  state.latest = true;
  try {
    const { status, body } = await send(method, "/book", book);
    const done = status < 400;
    $("problem").textContent = done ? "" : `${status}: ${body.message}`;
    if (!done) return;
    say(`${book.name} was ${method === "POST" ? "added" : "removed"}.`);
    await showBooks();
  } catch {
    $("problem").textContent = "The server does not respond. Is `make start` still running?";
  } finally {
    button.disabled = false;
  }
}

$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, authors, year } = event.target.elements;
  const several = authors.value.split(",").map((author) => author.trim()).filter(Boolean);
  const number = /^-?\d+$/.test(year.value.trim()) ? Number(year.value) : year.value;
  change(event.submitter, "POST", { name: name.value, authors: several, year: number });
});

// --- The path ------------------------------------------------------------------------------------------------------
function drawPath() {
  $("mode").textContent = way.title;
  const line = way.nodes.filter((node) => !node.beside);
  $("nodes").style.setProperty("--count", line.length);
  $("nodes").replaceChildren(...way.nodes.map((node) => {
    const button = make("button", { type: "button", className: "node" },
      make("strong", {}, ...breakable(node.title)),
      make("small", { textContent: node.detail }),
      make("span", { className: "time" }),
      node.stand_in ? make("span", { className: "stand-in", textContent: "stand-in", title: node.stand_in }) : null);
    button.addEventListener("click", () => { state.node = node.name; show(); });
    const item = make("li", { className: node.beside ? "beside" : "" }, button);
    item.dataset.node = node.name;
    const column = line.findIndex((each) => each.name === (node.beside || node.name)) + 1;
    item.style.setProperty("--column", column);
    return item;
  }));
}

const followed = () => traces.get(state.followed);
const shownHops = () => followed()?.hops.slice(0, state.step ?? undefined) ?? [];

function show() {
  const trace = followed();
  if (trace) {
    const refused = trace.status >= 400 ? `, ${trace.status}: ${trace.hops.length > 2 ? "but it happened" : "nothing was written"}` : "";
    $("followed").textContent = `${trace.event_type} of ${trace.book}${refused}`;
  }
  const total = trace?.hops.length ?? 0;
  $("step").textContent = state.step === null ? `${total} steps` : `Step ${state.step} of ${total}`;
  $("back").disabled = !trace || state.step === 1;
  $("next").disabled = !trace || state.step === total;
  $("live").disabled = !trace || state.step === null;
  showNodes();
  showFound();
  showEvents();
}

function showNodes() {
  const hops = shownHops();
  for (const item of $("nodes").children) {
    const button = item.firstElementChild;
    const own = hops.filter((hop) => hop.node === item.dataset.node);
    const key = `${state.followed} ${own.length}`;
    const isNew = own.length > 0 && item.dataset.key !== key;
    item.dataset.key = key;
    item.classList.toggle("done", own.length > 0);
    item.classList.toggle("new", isNew);
    const times = own.filter((hop, n) => n === 0 || hop.name === own[0].name);
    button.querySelector(".time").replaceChildren(
      own.length ? make("span", { textContent: seconds(own[0].after) }) : "",
      times.length > 1 ? make("span", { textContent: ` again ${seconds(times.at(-1).after)}` }) : "");
    button.setAttribute("aria-pressed", state.node === item.dataset.node);
  }
}

function showFound() {
  const node = way.nodes.find((each) => each.name === state.node);
  const hops = shownHops().filter((hop) => hop.node === state.node);
  $("found-title").textContent = node ? `What was there: ${node.title}` : "What was there";
  $("found-hint").textContent = !node ? "Choose a part of the path to see its items, records and events."
    : (node.stand_in ? `Stand-in: ${node.stand_in}. ` : "") + (hops.length ? "" : "This event has not been here.");
  const key = JSON.stringify([state.followed, state.node, hops.length]);
  if ($("found").dataset.key === key) return;
  $("found").dataset.key = key;
  $("found").replaceChildren(...hops.map((hop) => {
    const content = make("pre", { textContent: JSON.stringify(hop.found, null, 2), tabIndex: 0 });
    content.setAttribute("aria-label", hop.text);
    return make("div", {}, make("h4", { textContent: `${seconds(hop.after)}: ${hop.text}` }), content);
  }));
}

function goTo(step) {
  state.step = step;
  const hop = step === null ? null : followed().hops[step - 1];
  if (hop) {
    state.node = hop.node;
    say(`Step ${step}: ${hop.text}`);
  }
  show();
}

$("back").addEventListener("click", () => goTo(Math.max(1, (state.step ?? followed().hops.length + 1) - 1)));
$("next").addEventListener("click", () => goTo(Math.min(followed().hops.length, (state.step ?? 0) + 1)));
$("live").addEventListener("click", () => goTo(null));

// --- Last events ---------------------------------------------------------------------------------------------------
function follow(number) {
  Object.assign(state, { followed: number, step: null, latest: number === Math.max(...traces.keys()) });
  show();
}

function showEvents() {
  $("no-events").hidden = traces.size > 0;
  const newest = [...traces.values()].sort((one, other) => other.number - one.number).slice(0, 8);
  const focused = document.activeElement?.dataset.event;
  $("events").replaceChildren(...newest.map((trace) => {
    const begun = new Date(trace.started * 1000);
    const button = make("button", { type: "button" },
      make("span", { textContent: `${trace.event_type}: ${trace.book}` }),
      make("time", { textContent: begun.toLocaleTimeString(), dateTime: begun.toISOString() }),
      make("small", { textContent: summary(trace) }));
    button.dataset.event = trace.number;
    button.setAttribute("aria-pressed", trace.number === state.followed);
    button.addEventListener("click", () => follow(trace.number));
    return make("li", {}, button);
  }));
  if (focused) $("events").querySelector(`[data-event="${CSS.escape(focused)}"]`)?.focus();
}

function summary(trace) {
  const at = (node) => trace.hops.filter((hop) => hop.node === node).length;
  if (trace.status >= 400 && !at("tables")) return `refused with ${trace.status}`;
  if (at("parking") && !at("bus")) return "parked";
  if (at("dedup")) return at("bus") > 1 ? `delivered ${at("bus")} times, handled once` : "handled once";
  return `at: ${way.nodes.find((node) => node.name === trace.hops.at(-1).node)?.title ?? ""}`;
}

// --- Break it ------------------------------------------------------------------------------------------------------
function drawActions() {
  $("actions").replaceChildren(...way.actions.map((action) => {
    const button = make("button", { type: "button", textContent: action.title, disabled: Boolean(action.unavailable) });
    const outcome = make("div", { className: "outcome" });
    button.addEventListener("click", () => act(action, button, outcome));
    const item = make("li", {},
      button,
      make("p", { className: "quiet", textContent: action.unavailable || action.detail }),
      outcome,
      action.stand_in && !action.unavailable ? make("p", { className: "quiet stand-in" }, make("b", { textContent: "Stand-in" }), ` ${action.stand_in}`) : null,
      make("p", { className: "quiet more" }, "Guarantee: ", make("a", { href: `/docs/${action.page}`, textContent: action.link })));
    item.dataset.action = action.name;
    return item;
  }));
}

async function act(action, button, outcome) {
  button.disabled = true;
  outcome.className = "outcome";
  outcome.replaceChildren("Running");
  say(`${action.title}: running`);
  const { status, body } = await send("POST", `/page/break/${action.name}`, { trace: state.followed })
    .catch(() => ({ status: 0, body: { message: "the server does not respond" } }));
  button.disabled = false;
  outcome.classList.toggle("bad", status !== 200);
  const lines = status === 200 ? body.lines : [body.message];
  outcome.replaceChildren(...lines.map((line) => make("p", { textContent: line })));
  say(lines.join(" "));
  if (status === 200) follow(body.trace);
  await showBooks();
}

// --- Live ----------------------------------------------------------------------------------------------------------
function listen() {
  const live = new EventSource("/page/live");
  const connected = (isOpen) => {
    $("connection").textContent = isOpen ? "Live" : "Not connected";
    $("connection").classList.toggle("on", isOpen);
  };
  live.onopen = () => connected(true);
  live.onerror = () => connected(false);
  live.onmessage = ({ data }) => {
    const trace = JSON.parse(data);
    const isFirst = !traces.has(trace.number);
    traces.set(trace.number, trace);
    if (isFirst && state.latest && state.step === null) state.followed = trace.number;
    if (trace.number === state.followed && trace.hops.at(-1).node === "dedup") say(`${trace.event_type} of ${trace.book}: ${summary(trace)}`);
    if (isFirst || trace.hops.length <= 2) showBooks();
    show();
  };
}

way = (await send("GET", "/page/way")).body;
drawPath();
drawActions();
await showBooks();
listen();
