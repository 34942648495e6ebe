// The timeline: a row a track and one an action of it, on a canvas that draws only the rows and times in sight.
const timeline = byId("timeline");
const scroller = byId("timeline-scroller");
const chart = byId("timeline-chart");
const needle = byId("needle");
const tip = byId("tip");
const ROW_PX = 20;
const AXIS_PX = 22;
const MIN_VIEW_S = 2;
const END = squeezed(report.end_s);
const view = { from: 0, to: END }; // in squeezed seconds: gaps take next to no room
let groups = []; // what passes the filters: a track and its actions
let rows = []; // of it what the view shows
let events = [];

const gutter = () => (scroller.clientWidth < 600 ? 118 : 216);
const placeOf = (x) => view.from + ((x - gutter()) / (scroller.clientWidth - gutter())) * (view.to - view.from);
const xOf = (time) => gutter() + ((squeezed(time) - view.from) / (view.to - view.from)) * (scroller.clientWidth - gutter());
const timeOf = (x) => stretched(placeOf(x));
const inView = ([start, end]) => squeezed(end) >= view.from && squeezed(start) <= view.to;

const rebuild = () => {
  groups = [];
  events = [];
  for (const track of inOrder) {
    if (filter.track !== null && track.id !== filter.track) continue;
    const own = [];
    for (const [action, { best }] of track.rows) {
      if (!passes({ action, score: best })) continue;
      const found = track.id === NO_TRACK ? [] : eventsOf(track, action, filter.min);
      own.push({ track, action, events: found });
      events.push(...found);
    }
    if (wantsSome() && !own.length) continue;
    own.sort((a, b) => actionRank.get(a.action) - actionRank.get(b.action));
    groups.push({ track, own });
  }
  events.sort((a, b) => a.start - b.start || a.track - b.track || b.peak - a.peak);
  choose();
};
const choose = () => {
  // Rows for those alone who are seen in the time shown: closer in, a long video has few.
  const scored = ({ track, action }) => {
    const { people, scores } = track.rows.get(action);
    return people.some((person, i) => scores[i] >= filter.min - 1e-9 && inView(cells[personKey[person]]));
  };
  rows = [];
  for (const { track, own } of groups) {
    const acting = own.filter(scored);
    if (acting.length || track.seen.some(inView)) rows.push({ track, action: null }, ...acting);
  }
  byId("timeline-space").style.height = `${AXIS_PX + Math.max(rows.length, 1) * ROW_PX}px`;
  redraw();
};

let waiting = false;
const redraw = () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawChart();
    moveNeedle();
  });
};

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), quiet: of("--quiet"), line: of("--line"), panel: of("--panel"), paper: of("--paper") };
};
const drawChart = () => {
  const width = scroller.clientWidth;
  const height = scroller.clientHeight;
  const scale = devicePixelRatio || 1;
  chart.width = Math.round(width * scale);
  chart.height = Math.round(height * scale);
  chart.style.width = `${width}px`;
  chart.style.height = `${height}px`;
  const brush = chart.getContext("2d");
  brush.setTransform(scale, 0, 0, scale, 0, 0);
  brush.textBaseline = "middle";
  const colour = colours();
  drawAxis(brush, colour, width, height);
  brush.save();
  brush.beginPath();
  brush.rect(0, AXIS_PX, width, height - AXIS_PX);
  brush.clip();
  const first = Math.max(Math.floor(scroller.scrollTop / ROW_PX), 0);
  const last = Math.min(Math.ceil((scroller.scrollTop + height - AXIS_PX) / ROW_PX), rows.length);
  for (let i = first; i < last; i++) drawRow(brush, colour, rows[i], AXIS_PX + i * ROW_PX - scroller.scrollTop, width);
  brush.restore();
};
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const drawAxis = (brush, colour, width, height) => {
  const least = ((view.to - view.from) * 74) / Math.max(width - gutter(), 1);
  const step = STEPS_S.find((each) => each >= least) ?? 21600;
  brush.font = "12px system-ui, sans-serif";
  brush.textAlign = "center";
  const [from, to] = [stretched(view.from), stretched(view.to)];
  const first = stretchOf(from);
  const last = stretchOf(to);
  let labelled = -Infinity;
  for (let number = first; number <= last; number++) {
    const start = number > first ? gaps[number - 1][1] : from;
    const end = number < last ? gaps[number][0] : to;
    if (number > first) {
      brush.fillStyle = colour.line;
      brush.fillRect(xOf(gaps[number - 1][0]), 0, Math.max(xOf(start) - xOf(gaps[number - 1][0]), 1), height);
    }
    for (let tick = Math.ceil(start / step - 1e-9); tick * step <= end + 1e-9; tick++) {
      const x = Math.round(xOf(tick * step)) + 0.5;
      brush.fillStyle = colour.line;
      brush.fillRect(x, AXIS_PX - 5, 1, height);
      if (x - labelled < 60) continue; // stretches may be short
      labelled = x;
      brush.fillStyle = colour.quiet;
      const text = clockText(tick * step, step < 1 ? 1 : 0);
      const half = brush.measureText(text).width / 2;
      brush.fillText(text, Math.min(Math.max(x, gutter() + half), width - half), AXIS_PX / 2 - 1);
    }
  }
};
const drawRow = (brush, colour, row, y, width) => {
  const left = gutter();
  const isTrack = row.action === null;
  if (isTrack) {
    brush.fillStyle = colour.panel;
    brush.fillRect(0, y, width, ROW_PX);
  }
  brush.save();
  brush.beginPath();
  brush.rect(left, y, width - left, ROW_PX);
  brush.clip();
  if (isTrack) drawSeen(brush, row.track, y);
  else drawScores(brush, row, y);
  brush.restore();
  brush.textAlign = "left";
  brush.font = `${isTrack ? "600 " : ""}13px system-ui, sans-serif`;
  brush.fillStyle = isTrack ? colour.ink : colour.quiet;
  const text = isTrack ? personName(row.track.id) : report.labels[row.action];
  brush.save();
  brush.beginPath();
  brush.rect(0, y, left - 8, ROW_PX);
  brush.clip();
  brush.fillText(text, isTrack ? 18 : 30, y + ROW_PX / 2 + 0.5);
  brush.fillStyle = isTrack ? trackColour(row.track.id) : actionColour(row.action);
  if (isTrack) brush.fillRect(4, y + 5, 9, ROW_PX - 10);
  else brush.fillRect(18, y + 6, 7, ROW_PX - 12);
  brush.restore();
};
const drawSeen = (brush, track, y) => {
  brush.fillStyle = trackColour(track.id);
  for (const [from, to] of track.seen) {
    if (!inView([from, to])) continue;
    brush.fillRect(xOf(from), y + ROW_PX / 2 - 1.5, Math.max(xOf(to) - xOf(from), 2), 3);
  }
};
const drawScores = (brush, { track, action, events: found }, y) => {
  const { people, scores, levels } = track.rows.get(action);
  brush.fillStyle = actionColour(action);
  let until = -Infinity;
  people.forEach((person, i) => {
    const [from, to] = cells[personKey[person]];
    if (Math.max(scores[i], levels[i]) < filter.min - 1e-9 || !inView([from, to])) return;
    const x = Math.max(xOf(from), until);
    const end = Math.max(xOf(to), xOf(from) + 1);
    if (end - x < 0.5) return; // less than half a pixel: what is drawn there already stands for it
    brush.globalAlpha = 0.25 + 0.75 * scores[i];
    brush.fillRect(x, y + 4, end - x + 0.3, ROW_PX - 8);
    until = end;
  });
  brush.globalAlpha = 1;
  for (const { start, end } of found) {
    if (!inView([start, end])) continue;
    brush.fillRect(xOf(start), y + ROW_PX - 4, Math.max(xOf(end) - xOf(start), 1), 2);
  }
};

const moveNeedle = () => {
  const x = xOf(clock.time);
  needle.hidden = x < gutter() - 1 || x > scroller.clientWidth;
  needle.style.transform = `translateX(${x}px)`;
};
const follow = () => {
  const place = squeezed(clock.time);
  if (place < view.from || place > view.to) {
    const length = view.to - view.from;
    setView(place - 0.1 * length, length);
  } else moveNeedle();
};
const setView = (from, length) => {
  const whole = Math.max(END, FRAME_S);
  const kept = Math.min(Math.max(length, Math.min(MIN_VIEW_S, whole)), whole);
  view.from = Math.min(Math.max(from, 0), whole - kept);
  view.to = view.from + kept;
  byId("view").textContent = kept < whole - 1e-6 ? `${clockText(stretched(view.from))} to ${clockText(stretched(view.to))}` : "";
  choose();
};
const zoom = (factor, around = squeezed(clock.time)) => {
  const middle = Math.min(Math.max(around, view.from), view.to);
  const length = (view.to - view.from) * factor;
  setView(middle - (middle - view.from) * factor, length);
};

// Pointer: click a time to jump there, a name to filter by it; a pinch or Ctrl and the wheel zoom.
const rowAt = (event) => {
  const frame = scroller.getBoundingClientRect();
  const y = event.clientY - frame.top;
  return { x: event.clientX - frame.left, row: y < AXIS_PX ? null : rows[Math.floor((y - AXIS_PX + scroller.scrollTop) / ROW_PX)] };
};
scroller.addEventListener("click", (event) => {
  const { x, row } = rowAt(event);
  if (x >= gutter()) seek(timeOf(x));
  else if (row) byId("timeline").dispatchEvent(new CustomEvent("pick", { detail: row }));
});
scroller.addEventListener("pointermove", (event) => {
  const { x, row } = rowAt(event);
  const time = timeOf(x);
  tip.hidden = x < gutter() || event.pointerType === "touch";
  if (tip.hidden) return;
  const said = row && !gapAt(time) ? hint(row, time) : "";
  tip.textContent = `${clockText(time)}  ${gapAt(time) ? "nothing recorded" : said}`;
  const frame = timeline.getBoundingClientRect();
  tip.style.left = `${Math.min(x + 12, frame.width - tip.offsetWidth - 4)}px`;
  tip.style.top = `${event.clientY - frame.top + 16}px`;
});
scroller.addEventListener("pointerleave", () => (tip.hidden = true));
const hint = ({ track, action }, time) => {
  if (action === null) return personName(track.id);
  const { people, scores } = track.rows.get(action);
  const i = people.findIndex((person) => time >= cells[personKey[person]][0] && time < cells[personKey[person]][1]);
  return `${personName(track.id)} ${report.labels[action]} ${i < 0 ? "" : scores[i].toFixed(2)}`;
};
scroller.addEventListener(
  "wheel",
  (event) => {
    if (event.ctrlKey || event.metaKey) zoom(event.deltaY > 0 ? 1.25 : 0.8, placeOf(rowAt(event).x));
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) && view.to - view.from < END)
      setView(view.from + ((view.to - view.from) * event.deltaX) / scroller.clientWidth, view.to - view.from);
    else return;
    event.preventDefault();
  },
  { passive: false },
);
scroller.addEventListener("scroll", redraw, { passive: true });
new ResizeObserver(redraw).observe(scroller);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
