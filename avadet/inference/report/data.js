"use strict";
// What the run found, unpacked: looks (detections), keyframes, people, and the events that follow from them.
const byId = (id) => document.getElementById(id);
const report = JSON.parse(byId("data").textContent);
const NO_TRACK = -1;
const SAME_PERSON_IOU = 0.5;
const TOLERANCE_S = 1e-6;

const column = (name, Numbers) => {
  const text = atob(report.columns[name]);
  report.columns[name] = "";
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Numbers(bytes.buffer);
};
const secondsOf = (ticks) => Float64Array.from(ticks, (tick) => tick * report.tick_s);
const firstOf = (counts) => {
  const first = new Uint32Array(counts.length + 1);
  counts.forEach((count, i) => (first[i + 1] = first[i] + count));
  return first;
};

const lookTimes = secondsOf(column("look_ticks", Float64Array));
const lookFirst = firstOf(column("look_people", Uint16Array));
const lookFrom = secondsOf(column("look_back", Uint32Array)).map((back, look) => lookTimes[look] - back);
const lookUntil = secondsOf(column("look_ahead", Uint32Array)).map((ahead, look) => lookTimes[look] + ahead);
const boxNext = column("box_next", Uint16Array);
const boxNew = new Uint8Array(boxNext.length).fill(1); // whether no box of the look before moves to it
lookTimes.forEach((_, look) => {
  for (let i = lookFirst[look]; i < lookFirst[look + 1]; i++) if (boxNext[i]) boxNew[lookFirst[look + 1] + boxNext[i] - 1] = 0;
});
const boxTrack = column("box_track", Int32Array);
const boxCorners = column("box_corners", Uint16Array);
const keyTimes = secondsOf(column("key_ticks", Float64Array));
const keyBack = secondsOf(column("key_back", Uint32Array));
const keyAhead = secondsOf(column("key_ahead", Uint32Array));
const cells = Array.from(keyTimes, (time, key) => [time - keyBack[key], time + keyAhead[key]]); // each keyframe's time
const keyFirst = firstOf(column("key_people", Uint16Array));
const personTrack = column("person_track", Int32Array);
const personCorners = column("person_corners", Uint16Array);
const personFresh = column("person_fresh", Uint8Array);
const actionFirst = firstOf(column("person_actions", Uint16Array));
const actionClass = column("action_class", Uint16Array);
const actionScore = Float32Array.from(column("action_score", Uint16Array), (units) => units / report.score_units);
const actionLevel = Float32Array.from(column("action_level", Uint16Array), (units) => units / report.score_units);
const personKey = new Uint32Array(personTrack.length);
keyTimes.forEach((_, key) => personKey.fill(key, keyFirst[key], keyFirst[key + 1]));

const corners = (from, index) => [0, 1, 2, 3].map((side) => from[4 * index + side] / report.box_units);
const lastAt = (times, time) => {
  // Position of the last of the increasing times that is not after `time`, -1 if all are.
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};
const iou = (a, b) => {
  const wide = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const tall = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * tall;
  return both > 0 ? (wide * tall) / both : 0;
};

// Gaps: [start, end] of what was not recorded. The bar and the timeline show each as a sliver of what was.
const gaps = report.gaps;
const gapStarts = gaps.map(([start]) => start);
const gapMiddles = gaps.map(([start, end]) => (start + end) / 2);
const recorded = gaps.reduce((left, [start, end]) => left - (end - start), report.end_s);
const sliver = recorded * Math.min(0.02, 0.5 / Math.max(gaps.length, 1));
const gapWidths = gaps.map(([start, end]) => Math.min(end - start, sliver));
const cuts = [0]; // time that is not shown before each gap, and before the end
gaps.forEach(([start, end], gap) => cuts.push(cuts[gap] + end - start - gapWidths[gap]));
const squeezedStarts = gapStarts.map((start, gap) => start - cuts[gap]);
const squeezed = (time) => {
  const gap = lastAt(gapStarts, time);
  if (gap < 0 || time >= gaps[gap][1]) return time - cuts[gap + 1];
  return squeezedStarts[gap] + ((time - gapStarts[gap]) / (gaps[gap][1] - gapStarts[gap])) * gapWidths[gap];
};
const stretched = (place) => {
  const gap = lastAt(squeezedStarts, place);
  if (gap < 0 || place >= squeezedStarts[gap] + gapWidths[gap]) return place + cuts[gap + 1];
  return gapStarts[gap] + ((place - squeezedStarts[gap]) / gapWidths[gap]) * (gaps[gap][1] - gapStarts[gap]);
};
const gapAt = (time) => {
  const gap = lastAt(gapStarts, time);
  return gap >= 0 && time < gaps[gap][1] - TOLERANCE_S ? gaps[gap] : null;
};
// The number of the stretch between two gaps that a moment with a picture lies in.
const stretchOf = (time) => lastAt(gapMiddles, time) + 1;

// Tracks: on which keyframes a person was seen, and from when to when without a miss.
const tracks = new Map();
const trackOf = (id) => {
  if (!tracks.has(id)) tracks.set(id, { id, people: [], seen: [], lastLook: -2 });
  return tracks.get(id);
};
lookTimes.forEach((time, look) => {
  const follows = look > 0 && lookFrom[look] - lookUntil[look - 1] < 2 * report.tick_s; // no gap between them
  for (let i = lookFirst[look]; i < lookFirst[look + 1]; i++) {
    const track = trackOf(boxTrack[i]);
    if (track.lastLook === look) continue;
    if (track.lastLook === look - 1 && follows) track.seen.at(-1)[1] = time;
    else track.seen.push([time, time]);
    track.lastLook = look;
  }
});
personTrack.forEach((id, person) => trackOf(id).people.push(person));
// People are the tracks that have results, as everywhere; one that was seen between two keyframes alone has none.
const inOrder = [...tracks.values()].filter(({ people }) => people.length).sort((a, b) => (a.id < 0) - (b.id < 0) || a.id - b.id);
const personName = (id) => (id === NO_TRACK ? "no track" : `#${id}`);

// Where people are at a moment, by what `Look` of columns.py says: boxes that go on move to their place in the next look.
const boxesAt = (time) => {
  if (gapAt(time)) return [];
  const last = lastAt(lookTimes, time + TOLERANCE_S);
  const shown = [];
  for (let i = lookFirst[last]; i < lookFirst[last + 1]; i++) {
    const box = corners(boxCorners, i);
    if (boxNext[i]) {
      const part = (time - lookTimes[last]) / (lookTimes[last + 1] - lookTimes[last]);
      const end = corners(boxCorners, lookFirst[last + 1] + boxNext[i] - 1);
      shown.push({ track: boxTrack[i], box: box.map((side, k) => (1 - part) * side + part * end[k]) });
    } else if (time <= lookUntil[last] + TOLERANCE_S) shown.push({ track: boxTrack[i], box });
  }
  for (let i = lookFirst[last + 1]; i < lookFirst[last + 2]; i++) {
    if (boxNew[i] && time > lookFrom[last + 1] + TOLERANCE_S) shown.push({ track: boxTrack[i], box: corners(boxCorners, i) });
  }
  return shown;
};

// What a person does at a moment: as on the nearest keyframe that has the person, if it is near enough.
const actionsOf = (person) => {
  const actions = [];
  for (let i = actionFirst[person]; i < actionFirst[person + 1]; i++) actions.push({ action: actionClass[i], score: actionScore[i] });
  return actions;
};
const personNear = (track, box, time) => {
  const times = keyTimes;
  let earlier = lastAt(times, time);
  let later = earlier + 1;
  for (;;) {
    const back = earlier >= 0 ? time - times[earlier] : Infinity;
    const ahead = later < times.length ? times[later] - time : Infinity;
    if (Math.min(back, ahead) > report.hold_caption_s) return -1;
    const key = back <= ahead ? earlier-- : later++;
    let best = -1;
    let bestIou = track === NO_TRACK ? SAME_PERSON_IOU : -1;
    for (let i = keyFirst[key]; i < keyFirst[key + 1]; i++) {
      if (personTrack[i] !== track) continue;
      const overlap = track === NO_TRACK ? iou(box, corners(personCorners, i)) : 0;
      if (overlap >= bestIou && (best < 0 || overlap > bestIou)) [best, bestIou] = [i, overlap];
    }
    if (best >= 0) return best;
  }
};

// Scores of every track and action over the keyframes: track.rows is action -> { people, scores, levels }.
for (const track of inOrder) {
  track.rows = new Map();
  for (const person of track.people) {
    for (let i = actionFirst[person]; i < actionFirst[person + 1]; i++) {
      if (track.id !== NO_TRACK && !actionLevel[i]) continue; // another action excludes it
      if (!track.rows.has(actionClass[i])) track.rows.set(actionClass[i], { people: [], scores: [], levels: [], best: 0 });
      const row = track.rows.get(actionClass[i]);
      row.people.push(person);
      row.scores.push(actionScore[i]);
      row.levels.push(actionLevel[i]);
      row.best = Math.max(row.best, actionScore[i]);
    }
  }
}

// Events at a threshold: keyframes in a row whose level, `Evidence` of events.py, reaches it.
const eventsOf = (track, action, min) => {
  const row = track.rows.get(action);
  const indexOf = new Map(row.people.map((person, i) => [person, i]));
  const found = [];
  let open = null;
  let last = -1;
  for (const person of track.people) {
    const key = personKey[person];
    if (key === last) continue; // a second box of the track
    last = key;
    const i = indexOf.get(person);
    const isOn = i !== undefined && row.levels[i] >= min - 1e-6;
    if (!isOn || personFresh[person]) open = null;
    if (!isOn) continue;
    if (!open) found.push((open = { track: track.id, action, start: cells[key][0], end: 0, sum: 0, count: 0, peak: 0, peakTime: 0 }));
    open.end = cells[key][1];
    open.sum += row.scores[i];
    open.count += 1;
    if (row.scores[i] > open.peak) [open.peak, open.peakTime] = [row.scores[i], keyTimes[key]];
  }
  const longEnough = ({ start, end }) => end - start >= report.shortest_s - TOLERANCE_S || start <= 0 || end >= report.end_s - report.tick_s;
  return found.filter(longEnough);
};

// Colours: a track's is that of the annotated video; an action's hue depends on how long it is seen, so that frequent
// actions lie well apart.
const GOLDEN = 0.6180339887498949;
const trackColour = (id) =>
  id < 0 ? "rgb(200 200 200)" : `hsl(${(id * GOLDEN * 360) % 360} 90% ${[55, 70, 45][Math.floor(id / 8) % 3]}%)`;
const weight = new Map();
for (const { rows } of inOrder) {
  for (const [action, { scores }] of rows) weight.set(action, (weight.get(action) ?? 0) + scores.reduce((a, b) => a + b, 0));
}
const actionsByWeight = [...weight.keys()].sort((a, b) => weight.get(b) - weight.get(a));
const actionRank = new Map(actionsByWeight.map((action, rank) => [action, rank]));
const actionColour = (action) => {
  const rank = actionRank.get(action);
  return `oklch(${[68, 60, 76][Math.floor(rank / 7) % 3]}% 0.14 ${(245 + rank * GOLDEN * 360) % 360})`;
};

const clockText = (time, decimals = 1) => {
  const tenths = Math.round(time * 10 ** decimals) / 10 ** decimals;
  const hours = Math.floor(tenths / 3600);
  const minutes = Math.floor((tenths % 3600) / 60);
  const seconds = (tenths % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  return `${hours ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes}:${seconds}`;
};
