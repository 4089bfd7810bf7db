// One control per input of a signature, chosen by its name, dtype and shape alone.
//
// A control is {element, json, live, photos, pick}: `json()` gives the input as JSON text, or throws an error that says
// what is missing; `live`: it has a value from the start; `photos()`: canvases of uploaded pictures, null for a file
// that is none; `pick(row)` chooses a row. It calls `changed()` to have the model run.

import { element, parseJson } from "./dom.js";

const LONGEST_SIDE = 640; // of a photo whose size the signature leaves open

/** Make the control of an input; `alone` says that it is the only one of its signature. */
export function makeControl(name, [dtype, shape], alone, changed) {
  const input = { name, dtype, shape: shape ?? [], alone, changed };
  const rank = input.shape.length;
  const isFloat = dtype.startsWith("float");
  if (/^seeds?$/.test(name) && dtype.startsWith("int") && rank === 1) return seeds(input);
  if (isFloat && rank === 2 && shape[1]) return vectors(input);
  if (dtype === "string" && rank === 1) return /_bytes$|image|encoded/.test(name) ? files(input) : sentences(input);
  if ((isFloat || dtype === "uint8") && rank === 4 && [1, 3].includes(shape[3])) return pictures(input);
  return anything(input);
}

function seeds({ alone, changed }) {
  const count = number("Samples", alone ? 16 : 1, 1, 256);
  const first = number("First seed", 0);
  const big = (text) => BigInt(/^-?\d+$/.test(text) ? text : Math.trunc(text)); // int64 goes beyond numbers
  const seed = (index) => big(first.value) + BigInt(index);
  const next = button("Next", () => {
    first.value = big(first.value) + big(count.value);
    changed();
  });
  count.oninput = first.oninput = changed;
  return {
    element: row(labelled(count.name, count), labelled(first.name, first), next),
    json: () => `[${Array.from({ length: count.value }, (_, index) => seed(index)).join(", ")}]`,
    live: true,
  };
}

function vectors({ name, shape: [, width], alone, changed }) {
  const count = number("Rows", !alone ? 1 : width > 3 ? 8 : 200, 1, 1000);
  const seed = number("Drawn with seed", 0, 0);
  const chosen = number("Row to change", 0, 0);
  const sliders = element("div", { className: "sliders" });
  let values = [];

  const current = () => values[Math.min(Math.abs(Math.trunc(chosen.value)), values.length - 1)];
  const show = () => {
    for (const [index, { control, lastChild }] of [...sliders.children].entries()) {
      control.value = current()[index];
      lastChild.textContent = current()[index].toFixed(2);
    }
  };
  const fill = (kept) => { // each row is drawn by itself, so that more rows leave the first ones as they are
    const draw = (_, index) => kept[index] ?? normal(width, 1009 * seed.value + index);
    values = Array.from({ length: Math.max(1, count.value) }, draw);
    chosen.max = values.length - 1;
    chosen.value = Math.min(chosen.value, chosen.max);
    show();
  };
  const addSliders = (number) => {
    for (let index = sliders.children.length, end = Math.min(width, index + number); index < end; index++) {
      const slider = element("input", { type: "range", min: -3, max: 3, step: 0.01 });
      slider.oninput = () => {
        current()[index] = Number(slider.value);
        show();
        changed();
      };
      sliders.append(labelled(`${name}[${index}]`, slider, element("output")));
    }
    more.hidden = sliders.children.length >= width;
    show();
  };
  const redraw = () => {
    fill([]);
    changed();
  };
  const again = button("Draw new", () => {
    seed.value = Number(seed.value) + 1;
    redraw();
  });
  const more = button("More values", () => addSliders(24));
  seed.oninput = redraw;
  chosen.oninput = () => {
    show();
    changed(); // only to say that it is not valid, or is so again
  };
  count.oninput = () => {
    fill(values);
    changed();
  };
  fill([]);
  addSliders(8);
  const numbers = row(...[count, seed].map((control) => labelled(control.name, control)), again);
  return {
    element: element("div", {}, numbers, row(labelled(chosen.name, chosen)), sliders, more),
    json: () => JSON.stringify(values),
    live: true,
    pick: (index) => {
      chosen.value = index;
      show();
    },
  };
}

function sentences({ name }) {
  const area = element("textarea", { rows: 4 });
  return {
    element: labelled(`${name}, one sentence per line`, area),
    json: () => JSON.stringify(area.value.replace(/\n+$/, "").split("\n")),
  };
}

function anything({ name, dtype, shape }) {
  const zero = { string: "", bool: false }[dtype] ?? 0;
  const zeros = shape.reduceRight((inner, size) => Array(size ?? 1).fill(inner), zero);
  const area = element("textarea", { rows: 4, spellcheck: false, value: JSON.stringify(zeros) });
  return {
    element: labelled(`${name}, as JSON`, area),
    json: () => {
      try {
        parseJson(area.value);
      } catch (error) {
        throw new Error(`${name} is not JSON: ${error.message}`);
      }
      return area.value; // as typed: long integers keep all their digits
    },
  };
}

function files(input) {
  return upload(input, true, async (file) => {
    const photo = await createImageBitmap(file).then((bitmap) => paint(bitmap), () => null); // no photo to the browser
    const url = await new Promise((resolve, reject) => {
      const reader = new FileReader();
      Object.assign(reader, { onload: () => resolve(reader.result), onerror: () => reject(reader.error) });
      reader.readAsDataURL(file);
    });
    return { photo, json: JSON.stringify({ b64: url.slice(url.indexOf(",") + 1) }) };
  });
}

function pictures(input) {
  const [, height, width, channels] = input.shape;
  return upload(input, Boolean(height && width), async (file) => { // several would differ in size if that is open
    const bitmap = await createImageBitmap(file).catch(() => {
      throw new Error(`${file.name} is no picture that this browser can read.`);
    });
    const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    const photo = paint(bitmap, width ?? Math.ceil(bitmap.width * scale), height ?? Math.ceil(bitmap.height * scale));
    return { photo, json: JSON.stringify(pixels(photo, channels, input.dtype === "uint8")) };
  });
}

/** A control for files; `load` makes {photo, json} of one. */
function upload({ name, changed }, multiple, load) {
  const chooser = element("input", { type: "file", multiple });
  const label = labelled(multiple ? `${name}, one or more files` : `${name}, a file`, chooser);
  const preview = element("div", { className: "preview" });
  let loading = null;
  let photos = [];
  chooser.onchange = async () => {
    const mine = (loading = chooser.files.length ? Promise.all([...chooser.files].map(load)) : null);
    const items = await mine?.catch(() => null); // json() tells why
    if (mine !== loading) return;
    photos = (items ?? []).map((item) => item.photo);
    preview.replaceChildren(...photos.filter(Boolean));
    changed();
  };
  return {
    element: element("div", {}, label, preview),
    json: async () => {
      if (!loading) throw new Error(`Choose a file for ${name}.`);
      return `[${(await loading).map((item) => item.json).join(", ")}]`;
    },
    photos: () => photos,
  };
}

/** Draw a picture on a canvas of a size, by default its own. */
function paint(bitmap, width = bitmap.width, height = bitmap.height) {
  const canvas = element("canvas", { width, height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // behind what is transparent
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}

/** Pixels as nested lists (height, width, channels), in 0..255 or, for floats, in [-1, 1]. */
function pixels(canvas, channels, asBytes) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const scale = (value) => (asBytes ? Math.round(value) : Number((value / 127.5 - 1).toFixed(4)));
  const pixel = (at) => {
    const [red, green, blue] = data.subarray(at, at + 3);
    return (channels === 3 ? [red, green, blue] : [0.299 * red + 0.587 * green + 0.114 * blue]).map(scale);
  };
  return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => pixel(4 * (y * width + x))));
}

/** Standard normal numbers, the same for the same seed: mulberry32, then Box and Muller. */
function normal(size, seed) {
  let state = seed | 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const draw = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return Array.from({ length: size }, () => Number(draw().toFixed(4)));
}

function number(name, value, min = "", max = "") {
  return element("input", { type: "number", name, step: 1, min, max, value, required: true });
}

function button(text, onclick) {
  return element("button", { type: "button", onclick }, text);
}

function labelled(text, ...controls) {
  return element("label", {}, element("span", {}, text), ...controls);
}

function row(...children) {
  return element("div", { className: "row" }, ...children);
}
