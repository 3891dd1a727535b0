// Renders /openapi.json: a list of routes, their fields with types and bounds, and a form that sends a request.
"use strict";

const EXAMPLES = {
  "/generate": { inputs: "Once upon a time", generation_config: { max_new_tokens: 32, do_sample: true }, seed: 7, stream: true },
  "/tokenize": { inputs: "Once upon a time" },
  "/detokenize": { token_ids: [1, 2, 3] },
  "/score": { pairs: [{ prompt: "Once upon a", continuation: " time" }] },
  "/compute_transition_scores": { sequences: [[5, 1]], scores: [[[0.5, 1.5]]], normalize_logits: true },
  "/generation_config/validate": { generation_config: { num_beams: 4, do_sample: true } },
};
const MAX_DEPTH = 4;
let api = {};

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function follow(schema) {
  return schema && schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema || {};
}

function branches(schema) {
  const found = follow(schema);
  const union = found.anyOf || found.oneOf;
  return union ? union.flatMap(branches) : [found];
}

function kindOf(schema) {
  const words = branches(schema).map((part) => {
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
    const left = low === undefined ? "" : `${low} ${part.minimum === undefined ? "<" : "≤"} `;
    const right = high === undefined ? "" : ` ${part.maximum === undefined ? "<" : "≤"} ${high}`;
    return `${left}value${right}`;
  }
  return "";
}

function objectsIn(schema) {
  return branches(schema).flatMap((part) => (part.type === "array" ? objectsIn(part.items || {}) : part.properties ? [part] : []));
}

function fieldRow(name, schema, required, depth) {
  const facts = [kindOf(schema), boundsOf(schema)].filter(Boolean).join(", ");
  const cell = element("td", {}, element("div", { textContent: schema.description || follow(schema).description || "" }));
  if (depth < MAX_DEPTH) {
    for (const part of objectsIn(schema)) {
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

function form(method, path, hasBody) {
  const target = element("input", { type: "search", value: path, ariaLabel: "Path" });
  const text = element("textarea", { value: JSON.stringify(EXAMPLES[path] || {}, null, 2), spellcheck: false, ariaLabel: "Body" });
  const output = element("pre", { hidden: true });
  const go = element("button", { textContent: "Send" });
  const stop = element("button", { textContent: "Stop", className: "stop", hidden: true });
  go.onclick = async () => {
    const controller = new AbortController();
    stop.onclick = () => controller.abort();
    stop.hidden = output.hidden = false;
    output.textContent = "…";
    try {
      await send(method, target.value, hasBody ? text.value : null, output, controller.signal);
    } catch (error) {
      output.append(`\n${error}`);
    } finally {
      stop.hidden = true;
    }
  };
  return element("details", {}, element("summary", { textContent: "Try it" }), path.includes("{") ? target : "", hasBody ? text : "", go, stop, output);
}

function routeSection(path, method, route) {
  const id = `${method}-${path.replace(/\W+/g, "-")}`;
  const requestSchema = route.requestBody?.content?.["application/json"]?.schema;
  const answerSchema = route.responses?.["200"]?.content?.["application/json"]?.schema;
  const heading = element("h2", {}, element("span", { className: `method ${method}`, textContent: method.toUpperCase() }), element("code", { textContent: path }));
  const section = element("section", { id }, heading, element("p", { textContent: route.description || route.summary || "" }));
  if (requestSchema) section.append(schemaPart("Request", requestSchema, true));
  if (answerSchema) section.append(schemaPart("Answer", answerSchema, false));
  section.append(form(method.toUpperCase(), path, Boolean(requestSchema)));
  return section;
}

function render() {
  document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
  document.getElementById("summary").textContent = api.info.summary || "";
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const section = routeSection(path, method, route);
      const tag = (route.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ section, label: `${method.toUpperCase()} ${path}` });
    }
  }
  for (const [tag, entries] of groups) {
    document.getElementById("contents").append(element("h2", { textContent: tag }));
    for (const { section, label } of entries) {
      document.getElementById("contents").append(element("a", { href: `#${section.id}`, textContent: label }));
      document.getElementById("routes").append(section);
    }
  }
}

function filter(event) {
  const word = event.target.value.toLowerCase();
  for (const section of document.querySelectorAll("section")) {
    section.hidden = Boolean(word) && !section.textContent.toLowerCase().includes(word);
  }
}

document.getElementById("filter").addEventListener("input", filter);
fetch("openapi.json").then((response) => response.json()).then((found) => {
  api = found;
  render();
}).catch((error) => {
  document.getElementById("routes").textContent = `The reference could not be loaded: ${error}`;
});
