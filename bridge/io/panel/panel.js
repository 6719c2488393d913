// The agent's page. The stream tells everything once ("reset"), then each change. Text enters by textContent only.
"use strict";

const STATES = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  refused: "Not connected",
  unreachable: "Model unreachable",
};
const NOTICES = {
  unreachable: "The model cannot be reached. The suggestion waits and follows by itself.",
  reconnecting: "The connection is interrupted. What you see may be a moment old.",
  refused: "The server does not answer this page. Reload it if this stays.",
};
const SPEAKERS = { customer: "Customer", agent: "Agent", unknown: "Someone" };
const RETRY = { first: 1_000, last: 15_000 };
const FADE = 500;
const BRIEF = 3_000; // an interruption this short is not worth a line that moves everything

const at = (id) => document.getElementById(id);
const lines = []; // by time of speech: {seq, event, start_ms, text, item, time}
let card = null; // {card, state, text, based_on}
let connection = "connecting";
let reachable = true;
let fading = 0;
let telling = 0;
let following = true; // the reader is at the end, so the end stays in sight
let lastTop = 0;

// --- the conversation

function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function sinceStart(ms) {
  const two = (n) => String(n).padStart(2, "0");
  const seconds = Math.floor(ms / 1000);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return seconds < 3600 ? rest : `${Math.floor(seconds / 3600)}:${rest}`;
}

function isBefore(one, other) {
  return one.start_ms < other.start_ms || (one.start_ms === other.start_ms && one.seq < other.seq);
}

function addLine(line) {
  const speaker = Object.hasOwn(SPEAKERS, line.speaker) ? line.speaker : "unknown";
  const item = make("li", speaker, "");
  const head = make("p", "head", "");
  const time = make("time", "", "");
  const said = make("p", "said", line.text);
  said.dir = "auto";
  head.append(make("span", "who", SPEAKERS[speaker]), time, make("span", "answered", "answered above"));
  item.append(head, said);
  let place = lines.length;
  while (place > 0 && isBefore(line, lines[place - 1])) place -= 1;
  at("lines").insertBefore(item, lines[place]?.item ?? null);
  lines.splice(place, 0, { ...line, item, time });
}

function addLines(added) {
  added.forEach(addLine);
  for (const line of lines) line.time.textContent = sinceStart(line.start_ms - lines[0].start_ms);
  at("silence").hidden = lines.length > 0;
  markAnswered();
  follow();
}

function follow() {
  const scroll = at("scroll");
  if (following) scroll.scrollTop = scroll.scrollHeight;
  lastTop = scroll.scrollTop;
  at("newest").hidden = following;
}

// Only a move upwards leaves the end: a card that grows takes the end out of sight as well, and nobody scrolled.
function noticeReader() {
  const scroll = at("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 48;
  following = atEnd || (following && scroll.scrollTop >= lastTop);
  lastTop = scroll.scrollTop;
  at("newest").hidden = following;
}

// --- the card

function showCard(next) {
  clearTimeout(fading);
  card = next;
  at("reply").textContent = card.text;
  at("card").setAttribute("aria-busy", String(card.state === "open"));
  document.body.dataset.card = card.state;
  markAnswered();
}

function withdrawCard() {
  if (!card) return;
  card = null;
  document.body.dataset.card = "withdrawn";
  markAnswered();
  fading = setTimeout(forgetCard, FADE);
}

function forgetCard() {
  delete document.body.dataset.card;
  at("reply").textContent = "";
  at("quote").textContent = "";
}

// The lines that the card answers are marked among the others and quoted on the card; they may come after it.
function markAnswered() {
  const quoted = [];
  for (const line of lines) {
    const answered = card !== null && card.based_on.includes(line.event);
    line.item.classList.toggle("is-answered", answered);
    if (answered) quoted.push(line.text);
  }
  if (card) at("quote").textContent = quoted.join(" … ");
}

// --- the stream

function showState() {
  const state = connection === "live" && !reachable ? "unreachable" : connection;
  document.body.dataset.state = state;
  at("state").textContent = STATES[state];
  clearTimeout(telling);
  telling = setTimeout(showNotice, state === "reconnecting" ? BRIEF : 0, NOTICES[state] ?? "");
}

function showNotice(text) {
  at("notice").textContent = text;
}

const TAKE = {
  reset(all) {
    lines.length = 0;
    at("lines").replaceChildren();
    if (all.card) showCard(all.card);
    else withdrawCard();
    addLines(all.lines);
    TAKE.model(all);
  },
  lines: addLines,
  card: showCard,
  more(piece) {
    card.text += piece;
    at("reply").textContent = card.text;
  },
  withdrawn: withdrawCard,
  model(told) {
    reachable = told.reachable;
    showState();
  },
};

function address() {
  const stream = new URL(`${location.pathname}/stream`, location.origin);
  const session = new URLSearchParams(location.search).get("session");
  if (session !== null) stream.searchParams.set("session", session);
  return stream;
}

// The browser comes back by itself, except after a refusal (a server that restarts, a proxy): then we do.
function connect(wait) {
  const source = new EventSource(address());
  let next = wait;
  const become = (state) => {
    connection = state;
    showState();
  };
  source.onopen = () => {
    next = RETRY.first;
    become("live");
  };
  source.onerror = () => {
    const refused = source.readyState === EventSource.CLOSED;
    become(refused ? "refused" : "reconnecting");
    if (refused) setTimeout(connect, next, Math.min(next * 2, RETRY.last));
  };
  for (const [event, take] of Object.entries(TAKE)) source.addEventListener(event, (told) => take(JSON.parse(told.data)));
}

at("newest").addEventListener("click", () => {
  following = true;
  follow();
});
at("scroll").addEventListener("scroll", noticeReader);
new ResizeObserver(follow).observe(at("scroll"));
connect(RETRY.first);
