// The life of the page: follow the list of models, show the panel of a signature, run its requests.
// The address says which, after the #: model/signature.

import { cut, element, parseJson } from "./dom.js";
import { makeControl } from "./inputs.js";
import { draw } from "./outputs.js";

const POLL = 2000; // ms between looks at the list of models
const PAUSE = 30; // ms for which changes are gathered into one request
const [connection, list, about, news, place] = document.querySelectorAll("#connection, #models, #about, #news, #panel");
const panels = new Map(); // by model and signature
const controls = new Map(); // by model, signature, and all of an input
let models = null; // as the server last gave them

/** The form of one signature and its last answer. It stays while others are shown, and its controls stay for ever. */
class Panel {
  constructor(key, model, signature) {
    Object.assign(this, { model, signature, timer: null, running: false, again: false });
    const inputs = Object.entries(this.spec.inputs);
    this.inputs = JSON.stringify(inputs);
    this.controls = inputs.map(([name, spec]) => {
      const whole = JSON.stringify([key, name, spec]);
      const changed = () => panels.get(key).changed(); // perhaps of a later version
      if (!controls.has(whole)) controls.set(whole, { name, ...makeControl(name, spec, inputs.length === 1, changed) });
      return controls.get(whole);
    });
    const run = element("button", { className: "main" }, "Run");
    this.form = element("form", { noValidate: true }, ...this.controls.map((control) => control.element), run);
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.run();
    };
    this.form.onkeydown = (event) => {
      if (event.key === "Enter" && event.ctrlKey) this.form.requestSubmit();
    };
    this.error = element("p", { className: "error", role: "alert" });
    this.facts = element("span", { role: "status" });
    const picks = this.controls.some((control) => control.pick);
    this.results = element("div", { className: picks ? "results pick" : "results" });
    this.results.onclick = (event) => {
      const row = event.target.closest("canvas")?.closest("[data-row]")?.dataset.row;
      if (row) this.controls.forEach((control) => control.pick?.(Number(row)));
    };
    this.curl = element("pre");
    this.copy = element("button", { type: "button" }, "Copy as curl");
    const details = element("details", {}, element("summary", {}, "The request"), this.curl);
    const row = element("div", { className: "row" }, this.facts, this.copy);
    this.request = element("div", { className: "request", hidden: true }, row, details);
    this.element = element("div", {}, this.form, this.error, this.request, this.results);
    if (this.controls.every((control) => control.live)) this.changed();
  }

  get spec() {
    return this.model.signatures[this.signature];
  }

  changed() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.run();
    }, PAUSE);
  }

  /** Run now or, if a request is under way, once more after it. */
  async run() {
    this.again = this.running;
    if (this.running) return;
    this.running = true;
    do {
      this.again = false;
      try {
        await this.ask();
        this.error.textContent = "";
        this.results.classList.remove("old");
      } catch (error) {
        this.error.textContent = error.message;
        this.results.classList.add("old");
      }
    } while (this.again);
    this.running = false;
  }

  async ask() {
    const { spec, signature, model } = this;
    const wrong = this.form.querySelector(":invalid");
    if (wrong) throw new Error(`${wrong.name}: ${wrong.validationMessage}`);
    const inputs = this.controls.map(async ({ name, json }) => `${JSON.stringify(name)}: ${await json()}`);
    const all = (await Promise.all(inputs)).join(", ");
    const photos = this.controls.find((control) => control.photos)?.photos() ?? [];
    const body = `{"signature_name": ${JSON.stringify(signature)}, "inputs": {${all}}}`;
    const url = `${location.origin}/v1/models/${encodeURIComponent(model.name)}:predict`;
    this.offerCurl(url, body);
    const started = performance.now();
    const text = await post(url, body);
    this.facts.textContent = `${(performance.now() - started).toFixed(0)} ms, version ${model.version}`;
    const names = Object.keys(spec.outputs);
    const { outputs } = parseJson(text);
    const named = names.length === 1 ? { [names[0]]: outputs } : outputs; // one stands without its name
    const dtypes = Object.fromEntries(names.map((name) => [name, spec.outputs[name][0]]));
    this.results.replaceChildren(...draw(named, dtypes, photos));
  }

  offerCurl(url, body) {
    const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    const long = body.length > 100_000; // more than one argument of a command may have
    const command = `curl ${quote(url)} --data-binary ${long ? `@- <<'END'\n${body}\nEND` : quote(body)}`;
    this.request.hidden = false;
    this.facts.textContent = "";
    this.curl.textContent = cut(command);
    this.copy.onclick = async () => {
      const copied = await navigator.clipboard?.writeText(command).then(() => true, () => false);
      if (copied) return (this.copy.textContent = "Copied");
      this.curl.textContent = command; // no clipboard without https or localhost
      this.curl.parentElement.open = true;
      getSelection().selectAllChildren(this.curl);
    };
    this.copy.textContent = "Copy as curl";
  }
}

async function post(url, body) {
  const gone = () => {
    throw new Error("The server does not answer. Is it still running? What you entered stays here: press Run again.");
  };
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body }).catch(gone);
  const text = await response.text().catch(gone);
  if (response.ok) return text;
  let message;
  try {
    message = JSON.parse(text).error;
  } catch {
    message = text;
  }
  throw new Error(cut(message || `The server answered with status ${response.status}.`));
}

/** Show what the address says; the panel is replaced only by another one, so that focus and text stay. */
function show() {
  const [name, wanted] = location.hash.slice(1).split("/");
  const model = name ? models.find((one) => encodeURIComponent(one.name) === name) : models[0];
  const focus = document.activeElement.getAttribute("href");
  const version = (one) => element("small", {}, `version ${one.version}`);
  list.replaceChildren(...models.map((one) => link([one.name], one === model, one.name, version(one))));
  if (model) {
    const names = Object.keys(model.signatures);
    const usual = names.includes("serving_default") ? "serving_default" : names[0];
    const signature = names.find((one) => encodeURIComponent(one) === wanted) ?? usual;
    about.replaceChildren(...describe(model, signature));
    const panel = panelOf(model, signature);
    if (place.firstChild !== panel.element) place.replaceChildren(panel.element);
  }
  const missing = name ? "This model is not served now." : "No model is served yet. Publish one: it appears here.";
  news.textContent = model ? "" : missing;
  if (focus) document.querySelector(`nav a[href="${CSS.escape(focus)}"]`)?.focus();
}

function panelOf(model, signature) {
  const key = JSON.stringify([model.name, signature]);
  const inputs = JSON.stringify(Object.entries(model.signatures[signature].inputs));
  if (panels.get(key)?.inputs !== inputs) panels.set(key, new Panel(key, model, signature));
  return Object.assign(panels.get(key), { model });
}

function link(parts, isCurrent, ...children) {
  const href = `#${parts.map(encodeURIComponent).join("/")}`;
  return element("li", {}, element("a", { href, ariaCurrent: isCurrent ? "true" : null }, ...children));
}

function describe({ name, version, signatures, card }, signature) {
  const text = (value) => {
    if (value === null || typeof value !== "object") return String(value);
    if (Array.isArray(value)) return value.map(text).join(", ");
    return Object.entries(value).map(([key, part]) => `${key}: ${text(part)}`).join(", ");
  };
  const type = ([tensor, [dtype, shape]]) => `${tensor} ${dtype} ${JSON.stringify(shape).replaceAll("null", "n")}`;
  const types = (tensors) => Object.entries(tensors).map(type).join(", ");
  const facts = ["data", "command", "figures", "created"].filter((key) => (card[key] ?? "") !== "");
  const terms = facts.flatMap((key) => [element("dt", {}, key), element("dd", {}, text(card[key]))]);
  const { inputs, outputs } = signatures[signature];
  const choices = Object.keys(signatures).map((key) => link([name, key], key === signature, key));
  return [
    element("h2", {}, name, element("small", {}, ` version ${version}`)),
    element("dl", {}, ...terms),
    element("nav", { ariaLabel: "Signatures" }, element("ul", { className: "tabs" }, ...choices)),
    element("p", { className: "types" }, `${types(inputs)} → ${types(outputs)}`),
  ];
}

async function poll() {
  const answer = await fetch("/page/models", { signal: AbortSignal.timeout(5 * POLL) })
    .then((response) => (response.ok ? response.json() : null))
    .catch(() => null);
  connection.textContent = answer ? "" : "The server does not answer; trying again …";
  if (answer && JSON.stringify(answer) !== JSON.stringify(models)) {
    models = answer;
    show();
  }
  setTimeout(poll, POLL);
}

addEventListener("hashchange", () => models && show());
poll();
