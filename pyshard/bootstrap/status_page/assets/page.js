// The web page of a bootstrap. All that comes from the cluster is put in as text, never as HTML.
"use strict";

const TOKEN = "pyshard-token"; // its name in this tab's storage
const SILENT = 8000; // milliseconds without an event, after which the connection counts as lost
const WINDOW = 300; // seconds of the chart
const one = (id) => document.getElementById(id);

// ---------------------------------------------------------------- elements

function make(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Give a parent one child for each item, and keep those that are there: what has the focus keeps it.
function each(parent, items, build, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, place) => {
    let child = parent.children[place];
    if (!child) {
      child = build();
      parent.append(child);
    }
    update(child, item, place);
  });
}

// ---------------------------------------------------------------- numbers for people

const whole = new Intl.NumberFormat("en-US");

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

function percent(part) {
  return part > 0 && part < 0.001 ? "under 0.1 %" : `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
}

function rate(value) {
  if (value === null || value === undefined) return "–";
  return value > 0 && value < 10 ? value.toFixed(1) : whole.format(Math.round(value));
}

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function bound(hash) {
  return String(Number(hash.toFixed(4)));
}

// ---------------------------------------------------------------- what is shown

let shown = null;

function place(element, start, end) {
  element.style.left = `${start * 100}%`;
  element.style.width = `${(end - start) * 100}%`;
}

function show(cluster) {
  shown = cluster.waits ? null : cluster;
  one("cluster").className = cluster.waits ? "waits" : "";
  showProblems(cluster);
  showStore(cluster.store);
  if (cluster.waits) {
    one("health").className = "pill bad";
    setText(one("health"), "No cluster state yet");
    setText(one("identity"), "");
    document.title = "(!) pyshard: no cluster state yet";
    return;
  }
  one("health").className = `pill ${cluster.health}`;
  setText(one("health"), `${cluster.ready_shards} of ${cluster.all_shards} shards ready`);
  setText(one("identity"), `epoch ${cluster.epoch} · cluster ${cluster.cluster.slice(0, 8)}`);
  document.title = cluster.health === "bad" ? `(!) pyshard: ${cluster.ready_shards} of ${cluster.all_shards} ready` : "pyshard";
  showTotals(cluster);
  showLine(cluster);
  showShards(cluster);
  showReplicas(cluster);
  showChart(cluster);
  showMoves(cluster);
  showIndexes(cluster);
}

function showProblems(cluster) {
  each(
    one("problems"),
    cluster.problems,
    () => {
      const item = make("li");
      item.append(make("b"), make("span"));
      return item;
    },
    (item, problem) => {
      item.className = problem.level;
      setText(item.children[0], problem.what);
      setText(item.children[1], problem.why);
    },
  );
}

function showStore(store) {
  setText(one("store-kind"), store.kind);
  one("store-state").className = `pill ${store.away === null ? "good" : "bad"}`;
  setText(one("store-state"), store.away === null ? "in reach" : `away for ${duration(store.away)}`);
  const name = one("store-name"); // a line of many addresses breaks between them
  if (name.textContent !== store.name) name.replaceChildren(...store.name.split(/(?<=,)/).map((part) => make("span", "", part)));
}

function withSmall(element, text, small) {
  if (element.children.length !== 2) element.replaceChildren(make("span"), " ", make("small"));
  setText(element.children[0], text);
  setText(element.children[1], small);
}

function showTotals(cluster) {
  const { totals } = cluster;
  const known = totals.known_shards;
  const some = known < cluster.all_shards ? `on ${known} of ${cluster.all_shards} shards` : "";
  withSmall(one("total-rate"), rate(totals.rate), some);
  withSmall(one("total-documents"), known ? whole.format(totals.documents) : "–", some);
  withSmall(one("total-bytes"), known ? bytes(totals.bytes) : "–", `of ${bytes(totals.limit)}`);
  withSmall(one("total-moves"), whole.format(cluster.going_moves), "");
}

function showLine(cluster) {
  const shards = cluster.shards;
  each(
    one("strip"),
    cluster.ranges,
    () => {
      const segment = make("div");
      segment.append(make("span"));
      return segment;
    },
    (segment, [start, end, number]) => {
      const shard = shards[number];
      segment.className = `c${shard.color}${shard.level === "bad" ? " ill" : ""}`;
      place(segment, start, end);
      segment.title = `${shard.name}: ${bound(start)} to ${bound(end)}, ${shard.state}`;
      setText(segment.firstChild, end - start > 0.02 ? shard.name : "");
    },
  );
  // Heat: how busy a piece of the line is, beside the busiest one.
  const densities = shards.map((shard) => (shard.rate && shard.share ? shard.rate / shard.share : 0));
  const hottest = Math.max(...densities, 1e-9);
  each(
    one("heat"),
    cluster.ranges,
    () => make("div"),
    (segment, [start, end, number]) => {
      segment.className = `c${shards[number].color}`;
      place(segment, start, end);
      segment.style.opacity = String(densities[number] / hottest);
    },
  );
  const colors = new Map(shards.map((shard) => [shard.name, shard.color]));
  const moving = cluster.moves
    .filter((move) => !move.over && (move.phase === "copying" || move.phase === "sealing" || move.phase === "planned"))
    .flatMap((move) => move.ranges.map(([start, end]) => [start, end, move]));
  one("moving").className = moving.length ? "some" : "";
  each(
    one("moving"),
    moving,
    () => {
      const segment = make("div");
      segment.append(make("span"));
      return segment;
    },
    (segment, [start, end, move]) => {
      segment.className = `c${colors.get(move.target) ?? 0}`;
      place(segment, start, end);
      segment.title = `${move.source} gives ${bound(start)} to ${bound(end)} to ${move.target}: ${move.phase}`;
      setText(segment.firstChild, `→ ${move.target}`);
    },
  );
  const owners = shards.filter((shard) => shard.share > 0).slice(0, 20);
  const parts = owners.map((shard) => `${shard.name} has ${percent(shard.share)}, ${shard.state}`);
  one("line").setAttribute(
    "aria-label",
    `The hash line from 0 to 1. ${parts.join("; ")}.` + (moving.length ? ` ${moving.length} ranges are moving.` : ""),
  );
  const all = cluster.all_ranges > cluster.ranges.length ? `The ${cluster.ranges.length} largest of ${cluster.all_ranges} ranges. ` : "";
  setText(one("line-note"), `${all}The thin line is the heat: how many operations come for a part of the line, beside the busiest one.`);
}

const COLUMNS = ["Shard", "State", "Of the line", "Stored of its limit", "Operations a second", "Documents", "Epoch", "Address"];

function buildRow() {
  const row = make("tr");
  row.setAttribute("role", "row");
  COLUMNS.forEach((label, number) => {
    const cell = make(number ? "td" : "th");
    cell.setAttribute("role", number ? "cell" : "rowheader");
    if (!number) cell.scope = "row";
    cell.dataset.label = label;
    row.append(cell);
  });
  const cells = row.children;
  cells[0].append(make("span", "swatch"), make("span"));
  cells[1].className = "state";
  cells[1].append(make("span"), make("span", "why"));
  for (const number of [3, 4]) {
    const bar = make("div", "bar");
    bar.append(make("i"));
    bar.setAttribute("aria-hidden", "true");
    cells[number].append(make("span"), bar);
  }
  cells[7].className = "mono";
  return row;
}

function showShards(cluster) {
  const busiest = Math.max(...cluster.shards.map((shard) => shard.rate || 0), 1);
  each(one("shards").tBodies[0], cluster.shards, buildRow, (row, shard) => {
    const cells = row.children;
    const known = shard.documents !== undefined;
    row.className = `c${shard.color}`;
    setText(cells[0].children[1], shard.name);
    cells[1].children[0].className = `pill ${shard.level}`;
    setText(cells[1].children[0], shard.state);
    const members = shard.replicas ? [`${shard.members} of ${shard.replicas} replicas are members`] : [];
    setText(cells[1].children[1], [...shard.moves, ...members].join(", "));
    const ranges = shard.ranges > 1 ? ` in ${whole.format(shard.ranges)} ranges` : "";
    setText(cells[2], shard.ranges ? `${percent(shard.share)}${ranges}` : "none");
    const fill = known ? shard.fill : 0;
    setText(cells[3].children[0], known ? `${bytes(shard.bytes)} of ${bytes(shard.limit)} (${percent(fill)})` : `– of ${bytes(shard.limit)}`);
    cells[3].children[1].className = `bar${fill >= 0.99 ? " bad-bar" : fill >= 0.85 ? " warn-bar" : ""}`;
    cells[3].children[1].firstChild.style.width = `${Math.min(fill, 1) * 100}%`;
    setText(cells[4].children[0], known ? rate(shard.rate) : "–");
    cells[4].children[1].firstChild.style.width = `${((shard.rate || 0) / busiest) * 100}%`;
    setText(cells[5], known ? whole.format(shard.documents) : "–");
    setText(cells[6], known ? String(shard.epoch) : "–");
    setText(cells[7], shard.address);
  });
  const more = cluster.all_shards - cluster.shards.length;
  setText(one("shards-note"), more > 0 ? `${whole.format(more)} more shards aren't shown; those that aren't well come first.` : "");
}

function withRole(tag, role, className = "") {
  const made = make(tag, className);
  made.setAttribute("role", role);
  return made;
}

function buildGroup() {
  const body = withRole("tbody", "rowgroup");
  const row = withRole("tr", "row", "group");
  const head = withRole("th", "rowheader");
  head.colSpan = 5;
  head.scope = "rowgroup";
  head.append(make("span", "swatch"), make("span", "name"), make("span", "pill"), make("span", "note"));
  row.append(head);
  body.append(row);
  return body;
}

function buildReplica() {
  const row = withRole("tr", "row");
  const name = withRole("th", "rowheader", "mono");
  name.scope = "row";
  const state = withRole("td", "cell", "state");
  state.append(make("span"), make("span", "why"));
  row.append(name, withRole("td", "cell", "role"), state, withRole("td", "cell", "behind"), withRole("td", "cell", "age"));
  return row;
}

function showReplica(row, replica, mostStale) {
  const [name, role, state, behind, age] = row.children;
  row.className = replica.role;
  setText(name, replica.address);
  setText(role, replica.role);
  state.children[0].className = `pill ${replica.level}`;
  setText(state.children[0], replica.state);
  setText(state.children[1], replica.silent === null ? replica.why : `last heard ${duration(replica.silent)} ago`);
  const groups = replica.behind === null ? "not known" : `${whole.format(replica.behind)} ${replica.behind === 1 ? "group" : "groups"}`;
  setText(behind, replica.role === "primary" ? "–" : groups);
  const old = replica.stale === null ? "not known" : `${replica.stale.toFixed(1)} s${replica.stale > mostStale ? ", too old to read" : ""}`;
  setText(age, replica.role === "primary" ? "–" : old);
}

function showReplicas(cluster) {
  one("replicas-card").hidden = !cluster.groups.length;
  const table = one("replicas");
  while (table.tBodies.length > cluster.groups.length) table.tBodies[table.tBodies.length - 1].remove();
  cluster.groups.forEach((group, number) => {
    let body = table.tBodies[number];
    if (!body) {
      body = buildGroup();
      table.append(body);
    }
    const [, name, pill, note] = body.rows[0].cells[0].children;
    body.className = `c${group.color}`;
    setText(name, group.shard);
    pill.className = `pill ${group.level}`;
    setText(pill, group.state);
    setText(note, `${group.members} of ${group.replicas.length} are members, changes need ${group.least} · ballot ${group.ballot} · lease ${group.lease} s`);
    while (body.rows.length > group.replicas.length + 1) body.rows[body.rows.length - 1].remove();
    group.replicas.forEach((replica, place) => {
      if (!body.rows[place + 1]) body.append(buildReplica());
      showReplica(body.rows[place + 1], replica, group.most_stale);
    });
  });
  const more = cluster.all_groups - cluster.groups.length;
  setText(one("replicas-note"), more > 0 ? `${whole.format(more)} more shards have replicas; those that aren't well come first.` : "");
}

function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function showChart(cluster) {
  const chart = one("chart");
  const rates = cluster.rates;
  if (!rates.length) {
    chart.setAttribute("aria-label", "No figures yet");
    return;
  }
  const width = Math.max(chart.clientWidth, 200);
  const [height, bottom, left] = [170, 150, 46];
  const highest = Math.max(...rates.map(([, value]) => value));
  const step = 10 ** Math.floor(Math.log10(Math.max(highest, 1)));
  const top = [1, 2, 5, 10].map((times) => times * step).find((value) => value >= highest) || 10 * step;
  const x = (age) => left + (1 + age / WINDOW) * (width - left - 6);
  const y = (value) => bottom - (value / top) * (bottom - 10);
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const part of [0, 0.5, 1]) {
    const level = y(top * part);
    drawn.append(svg("line", { class: "grid", x1: left, x2: width - 6, y1: level, y2: level }));
    const label = svg("text", { x: left - 6, y: level + 4, "text-anchor": "end" });
    label.textContent = rate(top * part);
    drawn.append(label);
  }
  for (const [age, text, anchor] of [[-WINDOW, "5 min ago", "start"], [0, "now", "end"]]) {
    const label = svg("text", { x: x(age), y: height - 4, "text-anchor": anchor });
    label.textContent = text;
    drawn.append(label);
  }
  // One line for each time without a gap: the page was closed in between.
  let run = [];
  const draw = () => {
    if (!run.length) return;
    const points = run.map(([age, value]) => `${x(age).toFixed(1)},${y(value).toFixed(1)}`);
    const ends = [x(run[run.length - 1][0]), x(run[0][0])].map((end) => `${end.toFixed(1)},${bottom}`);
    drawn.append(svg("polygon", { class: "below", points: [...points, ...ends].join(" ") }));
    drawn.append(svg("polyline", { class: "rate", points: points.join(" ") }));
  };
  for (const point of rates) {
    if (run.length && point[0] - run[run.length - 1][0] > 4) {
      draw();
      run = [];
    }
    run.push(point);
  }
  draw();
  chart.replaceChildren(drawn);
  chart.setAttribute("aria-label", `Now ${rate(rates[rates.length - 1][1])} operations a second, at most ${rate(highest)} in the last 5 minutes`);
}

function showMoves(cluster) {
  each(
    one("moves"),
    cluster.moves,
    () => {
      const item = make("li");
      const head = make("div", "head");
      head.append(make("b"), make("span", "pill"), make("span", "note"));
      const bar = make("div", "bar");
      bar.append(make("i"));
      bar.setAttribute("aria-hidden", "true");
      item.append(head, bar, make("span", "why"));
      return item;
    },
    (item, move) => {
      const [name, phase, part] = item.firstChild.children;
      setText(name, `${move.source} → ${move.target}`);
      const word = move.over && move.phase === "committed" ? "done" : move.paused ? `${move.phase}, paused` : move.phase;
      phase.className = `pill ${move.phase === "cancelled" ? "bad" : move.over ? "good" : "info"}`;
      setText(phase, word);
      setText(part, `${percent(move.share)} of the line`);
      const done = move.over || move.phase === "committed" ? 1 : move.expected ? Math.min(move.bytes / move.expected, 1) : 0;
      item.children[1].hidden = move.over;
      item.children[1].firstChild.style.width = `${done * 100}%`;
      const facts = [];
      if (move.documents) facts.push(`${whole.format(move.documents)} documents, ${bytes(move.bytes)}`);
      if (!move.over && move.expected) facts.push(`${percent(done)} of ${bytes(move.expected)}`);
      if (move.rate) facts.push(`${bytes(move.rate)} a second`);
      if (move.seconds) facts.push(`${move.over ? "took " : ""}${duration(move.seconds)}`);
      if (move.why) facts.push(move.why);
      setText(item.children[2], facts.join(" · "));
    },
  );
  const hidden = cluster.going_moves - cluster.moves.filter((move) => !move.over).length;
  setText(one("moves-note"), !cluster.moves.length ? "No range is moving, and none has of late." : hidden > 0 ? `${hidden} more are planned.` : "");
}

function showIndexes(cluster) {
  each(
    one("indexes").tBodies[0],
    cluster.indexes,
    () => {
      const row = make("tr");
      row.append(make("td"), make("td", "number"));
      return row;
    },
    (row, index) => {
      setText(row.children[0], index.name || "(default)");
      setText(row.children[1], index.documents === null ? "–" : whole.format(index.documents));
    },
  );
  const names = cluster.indexes.filter((index) => index.name);
  each(one("index-names"), names, () => make("option"), (option, index) => {
    if (option.value !== index.name) option.value = index.name;
  });
  const notes = [];
  if (cluster.totals.known_shards < cluster.all_shards) notes.push(`Counted on ${cluster.totals.known_shards} of ${cluster.all_shards} shards.`);
  if (cluster.all_indexes > cluster.indexes.length) notes.push(`${cluster.all_indexes - cluster.indexes.length} more aren't shown.`);
  setText(one("indexes-note"), notes.join(" "));
}

// ---------------------------------------------------------------- the look-up of a key

function fact(list, name, value) {
  list.append(make("dt", "", name), make("dd", "", value));
}

function showKey(found) {
  const list = make("dl");
  fact(list, "Hash", String(found.hash));
  fact(list, "Slot", whole.format(found.slot));
  fact(list, "Owner", `${found.owner}, ${found.address}`);
  if (found.found === false) fact(list, "Document", "there is none");
  if (found.found) {
    fact(list, "Record", `${whole.format(found.bytes)} bytes, version ${found.version}`);
    fact(list, "Expires", found.expires_in === null ? "never" : `in ${duration(found.expires_in)}`);
  }
  const parts = [list];
  if (found.note) parts.push(make("p", "note", found.note));
  if (found.document !== undefined) {
    const text = make("pre", "", found.document);
    text.tabIndex = 0;
    text.setAttribute("aria-label", "The document");
    parts.push(text);
  }
  one("look-up").replaceChildren(...parts);
}

async function lookUp(event) {
  event.preventDefault();
  try {
    const answer = await fetch("look-up", {
      headers: {
        ...authorization(),
        "Look-Up-Key": encodeURIComponent(one("key").value),
        "Look-Up-Index": encodeURIComponent(one("index").value.trim()),
      },
    });
    if (answer.status === 401) return askToken("The token isn't valid any more.");
    const found = await answer.json();
    if (found.error) one("look-up").replaceChildren(make("p", "error", found.error));
    else showKey(found);
  } catch (error) {
    one("look-up").replaceChildren(make("p", "error", `This failed: ${error.message}`));
  }
}

// ---------------------------------------------------------------- the connection

let connection = null;
let pause = 1000;

function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function askToken(why) {
  sessionStorage.removeItem(TOKEN);
  disconnect();
  one("cluster").hidden = true;
  one("forget").hidden = true;
  one("login").hidden = false;
  setText(one("health"), "Token wanted");
  one("health").className = "pill";
  setText(one("identity"), "");
  setText(one("live"), "");
  setText(one("login-error"), why);
  one("look-up").replaceChildren();
  one("token").focus();
}

// End the connection on purpose.
function disconnect() {
  const ended = connection;
  connection = null;
  if (ended) ended.abort();
}

function lost(why) {
  setText(one("live"), `${why}; trying again`);
  one("live").className = "pill bad";
}

// Show events as they come, until the connection ends. EventSource can't send a token.
async function follow() {
  const own = new AbortController();
  connection = own;
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => own.abort(), SILENT);
  };
  try {
    heard();
    const hadToken = sessionStorage.getItem(TOKEN) !== null;
    const answer = await fetch("events", { headers: authorization(), signal: own.signal });
    if (answer.status === 401) return askToken(hadToken ? "That is no token of this cluster." : "");
    if (!answer.ok) {
      lost((await answer.text()).slice(0, 200).trim());
      return;
    }
    one("login").hidden = true;
    one("cluster").hidden = false;
    one("forget").hidden = !hadToken;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let begun = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      begun += value;
      const events = begun.split("\n\n");
      begun = events.pop();
      if (events.length) {
        heard();
        pause = 1000;
        show(JSON.parse(events[events.length - 1].slice("data: ".length)));
        setText(one("live"), "live");
        one("live").className = "";
      }
    }
    lost("The bootstrap has ended the connection");
  } catch (error) {
    if (connection === own) lost("The bootstrap can't be reached");
  } finally {
    clearTimeout(timer);
    if (connection === own) connection = null;
    own.abort(); // there are few streams, and one that isn't read would keep its place
  }
}

async function followAlways() {
  for (;;) {
    if (document.hidden || !one("login").hidden) {
      await new Promise((wake) => { wakeUp = wake; });
      continue;
    }
    await follow();
    await new Promise((wake) => { wakeUp = wake; setTimeout(wake, pause); });
    pause = Math.min(pause * 2, 10000);
  }
}

let wakeUp = () => {};

document.addEventListener("visibilitychange", () => {
  if (document.hidden) disconnect();
  if (!document.hidden) wakeUp();
});
one("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = one("token").value.trim();
  one("token").value = "";
  if (!/^[\x21-\x7e]+$/.test(token)) {
    setText(one("login-error"), "A token has printable ASCII characters, and no spaces.");
    return;
  }
  sessionStorage.setItem(TOKEN, token);
  one("login").hidden = true;
  pause = 1000;
  wakeUp();
});
one("forget").addEventListener("click", () => askToken(""));
one("look-up-form").addEventListener("submit", lookUp);
addEventListener("resize", () => { if (shown) showChart(shown); });
followAlways();
