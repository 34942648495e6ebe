// The page around the video: what is said of the frame, the filters, the list of events, the keys.
const SHOWN_EVENTS = 100;
const element = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
};
const plural = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
const seekBar = byId("seek");

// In this frame: every person shown, with a meter per action.
let saidNow = "";
const sayNow = () => {
  const said = shown.map(({ track, actions }) => `${track}:${actions.map(({ action, score }) => `${action} ${score}`)}`).join();
  if (said === saidNow) return;
  saidNow = said;
  byId("nobody").hidden = shown.length > 0;
  byId("now").replaceChildren(
    ...shown.map(({ track, actions }) => {
      const item = element("li");
      const name = element("button", "person", personName(track));
      name.type = "button";
      name.title = "Show this person alone";
      name.addEventListener("click", () => pickPerson(track));
      const mark = element("i", "swatch");
      mark.style.background = trackColour(track);
      name.prepend(mark);
      item.append(name);
      if (!actions.length) item.append(element("p", "quiet", "no action above the score"));
      for (const { action, score } of actions) item.append(meter(action, score));
      return item;
    }),
  );
};
const meter = (action, score) => {
  const row = element("p", "meter");
  row.append(element("span", "name", report.labels[action]), element("b", "", score.toFixed(2)));
  const bar = element("i");
  bar.style.width = `${100 * score}%`;
  bar.style.background = actionColour(action);
  row.append(bar);
  return row;
};

// The bar, the clock and the buttons under the video.
const sayTime = () => {
  const decimals = report.fps > 10 ? 2 : 1;
  byId("time").textContent = `${clockText(clock.time, decimals)} / ${clockText(report.end_s, decimals)}`;
  if (document.activeElement !== seekBar || !seekBar.matches(":active")) seekBar.value = squeezed(clock.time);
};
const sayPlaying = () => {
  const paused = video.paused;
  byId("play").textContent = paused ? "\u25b6" : "\u2759\u2759";
  byId("play").setAttribute("aria-label", paused ? "Play" : "Pause");
};
const saySource = () => {
  byId("play").disabled = !source.address;
  byId("playing").textContent = source.ready ? (source.drawn ? `${source.name}, boxes in the picture` : source.name) : "";
  byId("show-boxes").checked = showsBoxes();
  byId("notice").hidden = Boolean(source.address);
  const names = report.sources.map(({ name }) => name);
  const cannot = names.length > 1 ? `Neither ${names.join(" nor ")} could` : `${names[0]} could not`;
  byId("notice-text").textContent = names.length
    ? `${cannot} be played: moved, or of a kind that this browser cannot play.`
    : "There is no video beside this page.";
  draw();
};
listeners.frame.push(sayNow, sayTime, follow);
listeners.source.push(saySource);
for (const what of ["play", "pause", "ended"]) video.addEventListener(what, sayPlaying);
byId("play").addEventListener("click", togglePlay);
seekBar.max = END;
seekBar.addEventListener("input", () => seek(stretched(Number(seekBar.value))));
byId("speed").addEventListener("change", ({ target }) => (video.playbackRate = Number(target.value)));
byId("mute").addEventListener("change", ({ target }) => (video.muted = target.checked));
const toggleBoxes = () => {
  boxesOn = !showsBoxes();
  saySource();
};
byId("show-boxes").addEventListener("change", toggleBoxes);
for (const id of ["file", "other-file"]) {
  byId(id).addEventListener("change", ({ target }) => {
    if (target.files.length) playFile(target.files[0]);
    target.value = "";
  });
}
canvas.addEventListener("click", (event) => {
  const frame = canvas.getBoundingClientRect();
  const x = (event.clientX - frame.left) / frame.width;
  const y = (event.clientY - frame.top) / frame.height;
  const hit = shown.filter(({ box }) => showsBoxes() && x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3]);
  const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
  if (hit.length) pickPerson(hit.reduce((a, b) => (area(b) < area(a) ? b : a)).track);
  else togglePlay();
});

// Filters: by person, by action, by part of an action's name, by score; what they leave out is left out everywhere.
const apply = () => {
  shown = peopleAt(clock.time);
  saidNow = "\n";
  rebuild();
  draw();
  sayNow();
  byId("person").value = filter.track ?? "";
  byId("min-shown").textContent = filter.min.toFixed(2);
  byId("min").value = filter.min;
  byId("reset").hidden = filter.track === null && !filter.actions.size && filter.min === report.threshold && !filter.text;
  for (const button of byId("actions").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(filter.actions.has(Number(button.value))));
  }
  const people = new Set(events.map(({ track }) => track)).size;
  byId("count").textContent = events.length ? `${plural(events.length, "event")} of ${plural(people, "person", "people")}` : "";
  sayActions();
  sayEvents(SHOWN_EVENTS);
};
const pickPerson = (track) => {
  filter.track = filter.track === track ? null : track;
  apply();
};
const pickAction = (action) => {
  if (!filter.actions.delete(action)) filter.actions.add(action);
  apply();
};
const dropFilters = () => {
  Object.assign(filter, { min: report.threshold, track: null, text: "" });
  filter.actions.clear();
  byId("find").value = "";
  apply();
};
const stepPerson = (direction) => {
  const ids = [null, ...inOrder.map(({ id }) => id)];
  filter.track = ids[(ids.indexOf(filter.track) + direction + ids.length) % ids.length];
  apply();
};
for (const { id } of inOrder) {
  const option = element("option", "", personName(id));
  option.value = id;
  byId("person").append(option);
}
byId("person").addEventListener("change", ({ target }) => {
  filter.track = target.value === "" ? null : Number(target.value);
  apply();
});
const slider = byId("min");
slider.min = Math.ceil(report.floor * 100) / 100;
slider.max = 1;
slider.addEventListener("input", () => {
  filter.min = Number(slider.value);
  apply();
});
const bestOf = new Map();
for (const { rows: own } of inOrder) {
  for (const [action, { best }] of own) bestOf.set(action, Math.max(bestOf.get(action) ?? 0, best));
}
for (const action of actionsByWeight) {
  const item = element("li");
  const button = element("button", "chip", report.labels[action]);
  button.type = "button";
  button.value = action;
  const mark = element("i", "swatch");
  mark.style.background = actionColour(action);
  button.prepend(mark);
  button.addEventListener("click", () => pickAction(action));
  item.append(button);
  byId("actions").append(item);
}
const sayActions = () => {
  for (const item of byId("actions").children) {
    const action = Number(item.firstChild.value);
    item.hidden = !(isNamed(action) && (bestOf.get(action) >= filter.min - 1e-9 || filter.actions.has(action)));
  }
};
byId("find").addEventListener("input", ({ target }) => {
  filter.text = target.value.trim().toLowerCase();
  apply();
});
byId("reset").addEventListener("click", dropFilters);
document.querySelector(".toolbar").addEventListener("submit", (event) => event.preventDefault());
timeline.addEventListener("pick", ({ detail: { track, action } }) => (action === null ? pickPerson(track.id) : pickAction(action)));

// Events in words; a press on one goes to its beginning.
const sayEvents = (most) => {
  byId("events").replaceChildren(
    ...events.slice(0, most).map((event) => {
      const row = element("tr");
      const jump = element("button", "jump", clockText(event.start));
      jump.type = "button";
      row.addEventListener("click", () => seek(event.start));
      const name = element("td", "", report.labels[event.action]);
      const mark = element("i", "swatch");
      mark.style.background = actionColour(event.action);
      name.prepend(mark);
      const from = element("td", "number");
      from.append(jump);
      const numbers = [clockText(event.end), (event.sum / event.count).toFixed(2), event.peak.toFixed(2)];
      row.append(element("td", "", personName(event.track)), name, from, ...numbers.map((text) => element("td", "number", text)));
      return row;
    }),
  );
  byId("events-table").hidden = !events.length;
  byId("no-events").hidden = events.length > 0;
  const left = events.length - most;
  byId("more").hidden = left <= 0;
  byId("more").textContent = `show ${Math.min(left, 5 * SHOWN_EVENTS)} more of ${left}`;
  byId("more").onclick = () => sayEvents(most + 5 * SHOWN_EVENTS);
};

// Steps from one keyframe or event to the next.
const stepKeyframe = (direction) => {
  const half = FRAME_S / 2 + TOLERANCE_S;
  const at = direction > 0 ? lastAt(keyTimes, clock.time + half) + 1 : lastAt(keyTimes, clock.time - half);
  if (at >= 0 && at < keyTimes.length) seek(keyTimes[at]);
};
const stepEvent = (direction) => {
  const near = FRAME_S + TOLERANCE_S;
  const next = direction > 0 ? events.find(({ start }) => start > clock.time + near) : events.findLast(({ start }) => start < clock.time - near);
  if (next) seek(next.start);
};
byId("earlier").addEventListener("click", () => stepKeyframe(-1));
byId("later").addEventListener("click", () => stepKeyframe(1));
byId("zoom-in").addEventListener("click", () => zoom(0.5));
byId("zoom-out").addEventListener("click", () => zoom(2));
byId("zoom-all").addEventListener("click", () => setView(0, END));

const KEYS = {
  " ": togglePlay,
  ArrowLeft: (event) => (event.shiftKey ? seek(clock.time - 10) : stepKeyframe(-1)),
  ArrowRight: (event) => (event.shiftKey ? seek(clock.time + 10) : stepKeyframe(1)),
  ",": () => stepFrame(-1),
  ".": () => stepFrame(1),
  p: () => stepEvent(-1),
  n: () => stepEvent(1),
  Home: () => seek(0),
  End: () => seek(report.end_s - FRAME_S),
  "[": () => stepPerson(-1),
  "]": () => stepPerson(1),
  "+": () => zoom(0.5),
  "=": () => zoom(0.5),
  "-": () => zoom(2),
  0: () => setView(0, END),
  b: toggleBoxes,
  m: () => (byId("mute").checked = video.muted = !video.muted),
  f: () => (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen().catch(() => {})),
  Escape: dropFilters,
  "?": () => {
    byId("keys").open = !byId("keys").open;
    if (byId("keys").open) byId("keys").scrollIntoView({ block: "nearest" });
  },
};
document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  const writes = event.target.closest("input[type=search], select, #min");
  const presses = event.key === " " && event.target.closest("button, summary, input[type=checkbox], input[type=file]");
  if (!act || event.ctrlKey || event.metaKey || event.altKey || presses || (writes && event.key !== "Escape")) return;
  event.preventDefault();
  act(event);
});

// Begin.
stage.style.setProperty("--aspect", report.size_hw[1] / report.size_hw[0]);
byId("facts").textContent = [
  clockText(report.end_s),
  `${report.size_hw[1]}x${report.size_hw[0]}, ${Number(report.fps.toFixed(2))} fps`,
  report.people,
  plural(keyTimes.length, "keyframe"),
].join(" · ");
if (matchMedia("(pointer: coarse)").matches) byId("keys").open = false;
sayPlaying();
setView(0, END);
apply();
tryNext();
