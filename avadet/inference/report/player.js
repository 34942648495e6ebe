// The video, its clock, and the boxes drawn over the frame on show.
const video = byId("video");
const canvas = byId("boxes");
const stage = byId("stage");
const FRAME_S = 1 / report.fps;
const FIRST_FRAME_PATIENCE_MS = 3000;

// What to show; the page's controls write it, everything that draws reads it.
const filter = { min: report.threshold, actions: new Set(), track: null, text: "" };
const isNamed = (action) => report.labels[action].toLowerCase().includes(filter.text);
const wantsAction = (action) => (!filter.actions.size || filter.actions.has(action)) && isNamed(action);
const wantsSome = () => filter.actions.size > 0 || filter.text !== "";
const passes = ({ action, score }) => score >= filter.min - 1e-9 && wantsAction(action);

const clock = { time: 0, end: report.end_s };
const listeners = { frame: [], source: [] };
const tell = (what) => listeners[what].forEach((listener) => listener());

// Sources: tried in turn, as only the browser knows what it can play.
const source = { index: -1, name: "", drawn: false, ready: false, offset: null, address: "", own: "" };
const tryNext = () => {
  source.ready = false;
  source.offset = null;
  source.index += 1;
  const next = report.sources[source.index];
  if (next) play(next.href, next.name, next.drawn);
  else {
    source.address = "";
    video.removeAttribute("src");
    tell("source");
    show(clock.time);
  }
};
const play = (address, name, drawn) => {
  Object.assign(source, { address, name, drawn, ready: false, offset: null });
  video.src = address;
  video.load();
  tell("source");
};
const playFile = (file) => {
  if (source.own) URL.revokeObjectURL(source.own);
  source.own = URL.createObjectURL(file);
  source.index = report.sources.length; // what comes after it if it cannot be played: nothing
  const known = report.sources.find(({ name }) => name === file.name);
  play(source.own, file.name, known?.drawn ?? false);
};
video.addEventListener("error", () => {
  if (source.address) tryNext();
});
video.addEventListener("loadedmetadata", () => {
  if (!video.videoWidth) tryNext(); // sound alone: a picture that this browser cannot decode
});

// The clock of avadet counts from the first frame; the browser's may begin elsewhere, so its first frame tells.
const started = (firstTime) => {
  const wanted = clock.time;
  source.offset = firstTime;
  source.ready = true;
  stage.style.setProperty("--aspect", video.videoWidth / video.videoHeight);
  tell("source");
  if (wanted > FRAME_S / 2) seek(wanted);
  else show(0);
};
const onFrame = (now, { mediaTime }) => {
  if (source.offset === null && source.address) started(mediaTime);
  else if (source.ready) show(Math.max(mediaTime - source.offset, 0));
  video.requestVideoFrameCallback(onFrame);
};
const onPaint = () => {
  if (source.ready) {
    const time = Math.max(video.currentTime - source.offset, 0);
    if (time !== clock.time) show(time);
  }
  requestAnimationFrame(onPaint);
};
const callsBack = "requestVideoFrameCallback" in HTMLVideoElement.prototype;
if (callsBack) video.requestVideoFrameCallback(onFrame);
else requestAnimationFrame(onPaint);
video.addEventListener("loadeddata", () => {
  const address = source.address;
  const begin = () => {
    if (source.offset === null && source.address === address && video.videoWidth) started(callsBack ? 0 : video.currentTime);
  };
  setTimeout(begin, callsBack ? FIRST_FRAME_PATIENCE_MS : 0); // a page in the background gets no frame
});

// In a gap the last picture stays: nothing is drawn into it, and what plays goes on behind the gap.
video.addEventListener("timeupdate", () => {
  const time = source.ready ? video.currentTime - source.offset : 0;
  const gap = gapAt(time - FRAME_S / 2);
  if (!gap || video.seeking) return;
  show(time);
  if (!video.paused) seek(gap[1]);
});

// Seeking: to the frame that is nearest to a moment; while one seek is under way, only the last wish counts.
let wish = null;
const seek = (time) => {
  const gap = gapAt(time);
  const goal = Math.min(Math.max(gap && time > clock.time ? gap[1] : time, 0), clock.end); // on over a gap, not into it
  if (!source.ready) {
    show(goal);
    return;
  }
  if (video.seeking) {
    wish = goal;
    return;
  }
  const last = Number.isFinite(video.duration) ? video.duration : Infinity;
  video.currentTime = Math.min(source.offset + goal + FRAME_S / 2, last);
  tell("frame");
};
video.addEventListener("seeked", () => {
  const next = wish;
  wish = null;
  if (next !== null) seek(next);
});
const stepFrame = (direction) => {
  video.pause();
  if (!source.ready) {
    seek(clock.time + direction * FRAME_S);
    return;
  }
  // Forward from where the last step went: a frame that is shown for long takes several.
  if (direction < 0) seek(clock.time - FRAME_S / 2 - 0.001);
  else seek(Math.max(clock.time, video.currentTime - source.offset - FRAME_S / 2) + FRAME_S);
};
const togglePlay = () => {
  if (!source.address) return; // some phones load nothing before the first press
  if (video.paused) video.play().catch(() => {});
  else video.pause();
};

// Whom to show at a moment, with the actions that pass the filters, best first.
const peopleAt = (time) => {
  const people = [];
  for (const { track, box } of boxesAt(time)) {
    if (filter.track !== null && track !== filter.track) continue;
    const person = personNear(track, box, time);
    const actions = person < 0 ? [] : actionsOf(person).filter(passes);
    if (wantsSome() && !actions.length) continue;
    people.push({ track, box, actions });
  }
  return people;
};

// Drawing: a box and a label a person, in the colour of the track, as in the annotated video.
let boxesOn = null; // null: as the source asks; the annotated copy has its boxes in the picture
const showsBoxes = () => boxesOn ?? !(source.drawn && source.ready);
const pen = canvas.getContext("2d");
let shown = [];
const show = (time) => {
  clock.time = time;
  shown = peopleAt(time);
  draw();
  tell("frame");
};
const draw = () => {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!showsBoxes()) return;
  const size = Math.round(Math.min(Math.max(height / 30, 11), 18));
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  const placed = shown.map((person) => {
    const [x1, y1, x2, y2] = person.box;
    return { ...person, x: x1 * width, y: y1 * height, w: (x2 - x1) * width, h: (y2 - y1) * height };
  });
  for (const { track, x, y, w, h } of placed) {
    pen.lineWidth = 4;
    pen.strokeStyle = "rgb(0 0 0 / 45%)";
    pen.strokeRect(x, y, w, h);
    pen.lineWidth = 2;
    pen.strokeStyle = trackColour(track);
    pen.strokeRect(x, y, w, h);
  }
  const taken = [];
  for (const person of placed) label(person, size, width, height, taken);
};
const fitted = (text, room) => {
  if (pen.measureText(text).width <= room) return text;
  let length = text.length;
  while (length > 1 && pen.measureText(`${text.slice(0, length)}…`).width > room) length -= 1;
  return `${text.slice(0, length)}…`;
};
const covered = (a, b) =>
  Math.max(Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x), 0) * Math.max(Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y), 0);
const label = (person, size, width, height, taken) => {
  const best = person.actions.slice(0, shown.length > 4 ? 1 : shown.length > 2 ? 2 : 3); // the list beside has them all
  const head = person.track === NO_TRACK ? "" : personName(person.track);
  if (!head && !best.length) return;
  const line = size + 5;
  const pad = 6;
  const room = width / 2;
  const texts = best.map(({ action }) => fitted(report.labels[action], room));
  const scores = best.map(({ score }) => score.toFixed(2));
  const scoreWidth = best.length ? pen.measureText("0.00").width + 8 : 0;
  const headWidth = head ? pen.measureText(head).width + (best.length ? 8 : 0) : 0;
  const textWidth = Math.max(0, ...texts.map((text) => pen.measureText(text).width));
  const w = Math.ceil(headWidth + textWidth + scoreWidth + 2 * pad);
  const h = Math.max(best.length, 1) * line + 4;
  const x = Math.max(Math.min(person.x - 1, width - w), 0);
  const spots = [person.y - h, person.y + person.h + 1].filter((y) => y >= 0 && y + h <= height);
  spots.push(Math.max(Math.min(person.y, height - h), 0), Math.max(Math.min(person.y + person.h - h, height - h), 0));
  const cost = (y) => taken.reduce((sum, other) => sum + covered({ x, y, w, h }, other), 0);
  const y = spots.reduce((kept, spot) => (cost(spot) < cost(kept) ? spot : kept));
  taken.push({ x, y, w, h });
  pen.fillStyle = "rgb(12 16 20 / 82%)";
  pen.fillRect(x, y, w, h);
  pen.fillStyle = trackColour(person.track);
  pen.fillRect(x, y, 4, h);
  pen.fillStyle = "#fff";
  pen.textAlign = "left";
  pen.fillText(head, x + pad + 2, y + 2 + line / 2);
  texts.forEach((text, i) => {
    const middle = y + 2 + line * (i + 0.5);
    pen.textAlign = "left";
    pen.fillText(text, x + pad + headWidth, middle);
    pen.textAlign = "right";
    pen.fillText(scores[i], x + w - pad, middle);
  });
};
new ResizeObserver(draw).observe(canvas);
