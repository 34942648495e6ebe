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
const boxTrack = column("box_track", Int32Array);
const boxCorners = column("box_corners", Uint16Array);
const keyTimes = secondsOf(column("key_ticks", Float64Array));
const keyFirst = firstOf(column("key_people", Uint16Array));
const personTrack = column("person_track", Int32Array);
const personCorners = column("person_corners", Uint16Array);
const actionFirst = firstOf(column("person_actions", Uint16Array));
const actionClass = column("action_class", Uint16Array);
const actionScore = Float32Array.from(column("action_score", Uint16Array), (units) => units / report.score_units);
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
// The stretch between two gaps that a moment with a picture lies in: its number and bounds.
const stretchOf = (time) => {
  const number = lastAt(gapMiddles, time) + 1;
  return { number, from: number ? gaps[number - 1][1] : 0, to: number < gaps.length ? gaps[number][0] : report.end_s };
};

// Tracks: on which keyframes a person was seen, and from when to when without a miss.
const tracks = new Map();
const trackOf = (id) => {
  if (!tracks.has(id)) tracks.set(id, { id, people: [], seen: [], lastLook: -2, stretch: 0 });
  return tracks.get(id);
};
lookTimes.forEach((time, look) => {
  const stretch = stretchOf(time).number;
  for (let i = lookFirst[look]; i < lookFirst[look + 1]; i++) {
    const track = trackOf(boxTrack[i]);
    if (track.lastLook === look) continue;
    if (track.lastLook === look - 1 && track.stretch === stretch) track.seen.at(-1)[1] = time;
    else track.seen.push([time, time]);
    Object.assign(track, { lastLook: look, stretch });
  }
});
personTrack.forEach((id, person) => trackOf(id).people.push(person));
// People are the tracks that have results, as everywhere; one that was seen between two keyframes alone has none.
const inOrder = [...tracks.values()].filter(({ people }) => people.length).sort((a, b) => (a.id < 0) - (b.id < 0) || a.id - b.id);
const personName = (id) => (id === NO_TRACK ? "no track" : `#${id}`);

// Where people are at a moment: a box moves in a straight line between two looks that both have its track; a person
// whom only one of them has is shown on that one's half of the time between. The annotated video does the same.
const boxesAt = (time) => {
  if (gapAt(time)) return [];
  const { number } = stretchOf(time);
  const here = (look) => (lookTimes[look] !== undefined && stretchOf(lookTimes[look]).number === number ? look : -1);
  const last = lastAt(lookTimes, time);
  const [before, after] = [here(last), here(last + 1)];
  const of = (look) => {
    const people = [];
    for (let i = lookFirst[look]; i < lookFirst[look + 1]; i++) people.push({ track: boxTrack[i], box: corners(boxCorners, i) });
    return people;
  };
  if (before < 0 || after < 0) {
    const only = before < 0 ? after : before;
    return only < 0 || Math.abs(lookTimes[only] - time) > report.hold_box_s ? [] : of(only);
  }
  const part = (time - lookTimes[before]) / (lookTimes[after] - lookTimes[before]);
  const ends = new Map();
  const later = of(after);
  for (const person of later) if (person.track !== NO_TRACK) ends.set(person.track, person.box);
  const shown = [];
  for (const { track, box } of of(before)) {
    const end = ends.get(track);
    if (end) shown.push({ track, box: box.map((side, i) => (1 - part) * side + part * end[i]) });
    else if (part <= 0.5) shown.push({ track, box });
    ends.delete(track);
  }
  if (part > 0.5) shown.push(...later.filter(({ track }) => track === NO_TRACK || ends.has(track)));
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

// The time that belongs to a keyframe: half-way to its neighbours, as in STEM.events.csv.
const openSide = (room, step) => (step === undefined || room <= step + TOLERANCE_S ? room : step / 2);
const cells = Array.from(keyTimes, (time, key) => {
  const before = key > 0 ? time - keyTimes[key - 1] : undefined;
  const after = key + 1 < keyTimes.length ? keyTimes[key + 1] - time : undefined;
  const back = before === undefined ? openSide(time, after) : before / 2;
  const ahead = after === undefined ? openSide(report.end_s - time, before) : after / 2;
  const reach = report.rules.reach_s;
  const { from, to } = stretchOf(time);
  return [Math.max(time - Math.min(back, reach), from), Math.min(time + Math.min(ahead, reach), to)];
});
const gapBefore = cells.map(([start], key) => key > 0 && start > cells[key - 1][1] + TOLERANCE_S);

// Scores of every track and action over the keyframes: track.rows is action -> { people, scores }.
for (const track of inOrder) {
  track.rows = new Map();
  for (const person of track.people) {
    const end = report.exclusive ? Math.min(actionFirst[person] + 1, actionFirst[person + 1]) : actionFirst[person + 1];
    for (let i = actionFirst[person]; i < end; i++) {
      if (!track.rows.has(actionClass[i])) track.rows.set(actionClass[i], { people: [], scores: [], best: 0 });
      const row = track.rows.get(actionClass[i]);
      row.people.push(person);
      row.scores.push(actionScore[i]);
      row.best = Math.max(row.best, actionScore[i]);
    }
  }
}

// Events by the two thresholds of STEM.events.csv: begin at `min`, go on while the score is not far below it.
const eventsOf = (track, action, min) => {
  const row = track.rows.get(action);
  const leave = report.rules.leave_share * min;
  const scoreOf = new Map(row.people.map((person, i) => [personKey[person], row.scores[i]]));
  const found = [];
  let open = null;
  let missed = false;
  let last = -1;
  const close = () => {
    if (open) found.push(open);
    open = null;
  };
  for (const person of track.people) {
    const key = personKey[person];
    if (key === last) continue; // two boxes without a track
    missed = key - last > 2;
    for (let k = last + 1; k <= key && !missed; k++) missed = gapBefore[k];
    if (missed) close();
    last = key;
    const score = scoreOf.get(key) ?? 0;
    if (score < leave || score <= 0) close();
    else if (!open && score >= min - 1e-9) open = { track: track.id, action, start: cells[key][0], end: 0, sum: 0, count: 0, peak: 0, peakTime: 0 };
    if (!open) continue;
    open.end = cells[key][1];
    open.sum += score;
    open.count += 1;
    if (score > open.peak) [open.peak, open.peakTime] = [score, keyTimes[key]];
  }
  close();
  const longEnough = ({ start, end }) =>
    end - start >= report.rules.shortest_s - TOLERANCE_S || start <= 0 || end >= report.end_s;
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
