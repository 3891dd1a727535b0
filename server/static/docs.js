// Renders /openapi.json: its routes by door, their fields with types and bounds, and a form that sends a request.
"use strict";

const MAX_DEPTH = 4;
let api = {};

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Text in which `words` between backticks are code and an empty line begins a paragraph.
function prose(text) {
  return (text || "").split("\n\n").filter(Boolean).map((paragraph) => {
    const parts = paragraph.split("`").map((part, index) => (index % 2 ? element("code", { textContent: part }) : part));
    return element("p", {}, ...parts);
  });
}

function follow(schema) {
  return schema && schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema || {};
}

function branches(schema) {
  const found = follow(schema);
  const union = found.anyOf || found.oneOf;
  return union ? union.flatMap(branches) : [found];
}

// Null is left out: every field may be null, which is the same as absent.
function kindOf(schema) {
  const parts = branches(schema).filter((part) => part.type !== "null");
  const words = parts.map((part) => {
    if (part.const !== undefined) return JSON.stringify(part.const);
    if (part.enum) return part.enum.map((item) => JSON.stringify(item)).join(" | ");
    if (part.type === "array") return part.prefixItems ? "list" : `list of ${kindOf(part.items || {})}`;
    return part.type || "any";
  });
  return [...new Set(words)].join(" or ");
}

function boundsOf(schema) {
  for (const part of branches(schema)) {
    const low = part.minimum ?? part.exclusiveMinimum;
    const high = part.maximum ?? part.exclusiveMaximum;
    if (low === undefined && high === undefined) continue;
    const left = low === undefined ? "" : `${shown(low)} ${part.minimum === undefined ? "<" : "≤"} `;
    const isBelow = part.maximum === undefined || isRounded(high);
    const right = high === undefined ? "" : ` ${isBelow ? "<" : "≤"} ${shown(high)}`;
    return `${left}value${right}`;
  }
  return "";
}

// A browser rounds the bounds of 64 bits to powers of two: 2^63 - 1 arrives as 2^63.
function isRounded(number) {
  return Number.isInteger(number) && !Number.isSafeInteger(number);
}

function shown(number) {
  return isRounded(number) ? `${number < 0 ? "-" : ""}2^${Math.log2(Math.abs(number))}` : String(number);
}

function objectsIn(schema) {
  return branches(schema).flatMap((part) => (part.type === "array" ? objectsIn(part.items || {}) : part.properties ? [part] : []));
}

function fieldRow(name, schema, required, depth) {
  const facts = [kindOf(schema), boundsOf(schema)].filter(Boolean).join(", ");
  const parts = objectsIn(schema);
  const cell = element("td", {}, ...prose(schema.description || follow(schema).description || parts[0]?.description));
  if (depth < MAX_DEPTH) {
    for (const part of parts) {
      cell.append(element("details", {}, element("summary", { textContent: part.title || "fields" }), fieldTable(part, depth + 1)));
    }
  }
  const label = element("td", {}, element("span", { className: "name", textContent: name + (required ? " *" : "") }));
  label.append(element("div", { className: "soft", textContent: facts }));
  return element("tr", {}, label, cell);
}

function fieldTable(schema, depth = 0) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([name, field]) => fieldRow(name, field, required.has(name), depth));
  return element("table", {}, element("tbody", {}, ...rows));
}

function schemaPart(title, schema, isOpen) {
  const body = objectsIn(schema).map((part) => fieldTable(part));
  return body.length ? element("details", { open: isOpen }, element("summary", { textContent: title }), ...body) : "";
}

// Each kind of event that a stream may have, by its name where it has one.
function eventsPart(stream) {
  const part = element("details", {}, element("summary", { textContent: "Events of a stream" }));
  for (const event of branches(stream)) {
    const { event: name, data } = event.properties;
    const label = element("h3", {}, ...(name ? ["event: ", element("code", { textContent: name.const })] : ["data"]));
    part.append(label, ...(data.contentSchema ? objectsIn(data.contentSchema).map((fields) => fieldTable(fields)) : [element("code", { textContent: data.const })]));
  }
  return part;
}

function answerParts(responses) {
  const content = responses["200"]?.content || {};
  const problem = Object.values(responses.default?.content || {})[0];
  const parts = [];
  if (content["application/json"]?.schema) parts.push(schemaPart("Answer", content["application/json"].schema, false));
  if (content["text/event-stream"]?.itemSchema) parts.push(eventsPart(content["text/event-stream"].itemSchema));
  if (problem?.schema) parts.push(schemaPart("Errors", problem.schema, false));
  return parts;
}

async function send(method, path, text, output, signal) {
  const options = { method, signal };
  if (text !== null) Object.assign(options, { body: text, headers: { "Content-Type": "application/json" } });
  const started = performance.now();
  const response = await fetch(path.replace(/^\//, ""), options);
  output.textContent = `${response.status} ${response.statusText}\n\n`;
  const isJson = (response.headers.get("content-type") || "").includes("json");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let whole = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    whole += part.value;
    if (!isJson) output.append(part.value);
  }
  if (isJson) output.append(JSON.stringify(JSON.parse(whole), null, 2));
  output.append(`\n\n${Math.round(performance.now() - started)} ms`);
}

function written(body) {
  return JSON.stringify(body, null, 2);
}

// The body to send, and a choice of examples where there are several.
function bodyParts(examples) {
  const named = Object.entries(examples || {});
  const text = element("textarea", { value: written(named[0]?.[1].value ?? {}), spellcheck: false, ariaLabel: "Body" });
  const choice = element("select", { ariaLabel: "Example" }, ...named.map(([name]) => element("option", { textContent: name })));
  choice.onchange = () => { text.value = written(examples[choice.value].value); };
  return { text, choice: named.length > 1 ? choice : "" };
}

function form(method, path, body) {
  const target = element("input", { type: "search", value: path, ariaLabel: "Path" });
  const { text, choice } = bodyParts(body?.examples);
  const output = element("pre", { hidden: true });
  const go = element("button", { textContent: "Send" });
  const stop = element("button", { textContent: "Stop", className: "stop", hidden: true });
  go.onclick = async () => {
    const controller = new AbortController();
    stop.onclick = () => controller.abort();
    stop.hidden = output.hidden = false;
    output.textContent = "…";
    try {
      await send(method, target.value, body ? text.value : null, output, controller.signal);
    } catch (error) {
      output.append(`\n${error}`);
    } finally {
      stop.hidden = true;
    }
  };
  const inputs = [path.includes("{") ? target : "", ...(body ? [choice, text] : [])];
  return element("details", {}, element("summary", { textContent: "Try it" }), ...inputs, go, stop, output);
}

function methodName(method) {
  return element("span", { className: `method ${method}`, textContent: method.toUpperCase() });
}

function anchor(text) {
  return text.toLowerCase().replace(/\W+/g, "-");
}

function routeSection(path, method, route) {
  const id = anchor(`${method}-${path}`);
  const body = route.requestBody?.content?.["application/json"];
  const heading = element("h3", {}, methodName(method), element("code", { textContent: path }));
  const section = element("section", { id, className: "route" }, heading, ...prose(route.description || route.summary));
  if (body) section.append(schemaPart("Request", body.schema, false));
  section.append(...answerParts(route.responses), form(method.toUpperCase(), path, body));
  return section;
}

// The routes by the first of their tags, in the order in which the document lists these.
function groupsOf(paths) {
  const groups = new Map((api.tags || []).map((tag) => [tag.name, { about: tag.description, entries: [] }]));
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const tag = (route.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, { entries: [] });
      groups.get(tag).entries.push({ section: routeSection(path, method, route), path, method });
    }
  }
  return [...groups].filter(([, group]) => group.entries.length);
}

function render() {
  const version = /^\d/.test(api.info.version) ? ` ${api.info.version}` : "";
  document.getElementById("title").textContent = `${api.info.title}${version}`;
  document.getElementById("summary").textContent = api.info.summary || "";
  const contents = document.getElementById("contents");
  for (const [tag, { about, entries }] of groupsOf(api.paths)) {
    const id = anchor(`door-${tag}`);
    const paths = [...new Set(entries.map(({ path }) => path))].map((path) => element("code", { textContent: path }));
    const link = element("a", { href: `#${id}`, textContent: tag });
    document.getElementById("doors").append(
      element("tr", {}, element("td", {}, link), element("td", {}, ...prose(about), element("div", { className: "paths" }, ...paths))),
    );
    contents.append(element("h2", { textContent: tag }));
    const group = element("section", { id, className: "door" }, element("h2", { textContent: tag }), ...prose(about));
    for (const { section, path, method } of entries) {
      contents.append(element("a", { href: `#${section.id}` }, methodName(method), element("span", { textContent: path })));
      group.append(section);
    }
    document.getElementById("routes").append(group);
  }
}

// Leaves the routes and fields that hold the word, and opens the tables it is found in.
function filter(event) {
  const word = event.target.value.trim().toLowerCase();
  const isFound = (node) => node.textContent.toLowerCase().includes(word);
  for (const node of document.querySelectorAll("section, section tr, #doors tr")) node.hidden = Boolean(word) && !isFound(node);
  for (const part of document.querySelectorAll("section details")) {
    if (!("wasOpen" in part)) part.wasOpen = part.open;
    const isTable = part.querySelector("table") !== null;
    part.open = word && isTable ? isFound(part) : part.wasOpen;
    if (!word) delete part.wasOpen;
  }
}

document.getElementById("filter").addEventListener("input", filter);
fetch("openapi.json").then((response) => response.json()).then((found) => {
  api = found;
  render();
}).catch((error) => {
  document.getElementById("routes").textContent = `The reference could not be loaded: ${error}`;
});
