// Drawings of outputs, chosen by name, dtype and shape alone.

import { cut, element } from "./dom.js";

const MOST = 100; // images or rows that are shown
const LEGIBLE = 128; // pixels on the screen to which small images are enlarged
const LARGEST = 800; // pixels of a photo that is drawn over
const MEDIA = [["iVBORw0KGgo", "image/png"], ["/9j/", "image/jpeg"]];
const PALETTE = ["2a2a32", "4e9fe5", "f28e2b", "59c26b", "e15759", "b07ee8", "edc948", "ff9da7", "2fc4b2", "c08a5a"];
let leastScore = 0.3; // stays from one answer to the next

/**
 * Draw an answer.
 *
 * @param outputs {name: nested lists}
 * @param dtypes {name: dtype}
 * @param photos Canvases of the uploaded pictures, one per row, or an empty list
 * @returns Elements
 */
export function draw(outputs, dtypes, photos) {
  const hasBoxes = shapeOf(outputs.boxes)[2] === 4 && photos.length === outputs.boxes.length && photos.every(Boolean);
  return Object.entries(outputs).map(([name, value]) => {
    const drawing = hasBoxes && name === "boxes" ? drawBoxes(outputs, photos) : drawOne(value, dtypes[name], photos);
    return section(name, drawing, value);
  });
}

function section(name, drawing, value) {
  const title = element("h3", {}, name, element("small", {}, ` ${JSON.stringify(shapeOf(value))}`));
  const raw = element("pre");
  const numbers = element("details", {}, element("summary", {}, "As JSON"), raw);
  numbers.ontoggle = () => (raw.textContent = cut(JSON.stringify(value)));
  numbers.hidden = !drawing.matches("svg, :has(canvas)"); // all else shows the values already
  return element("section", { className: "output" }, title, drawing, numbers);
}

function drawOne(value, dtype, photos) {
  const shape = shapeOf(value);
  const [rows, height, width, channels] = shape;
  const isFloat = dtype.startsWith("float");
  if (shape.includes(0)) return element("p", {}, "No rows.");
  if (shape.length === 4 && [1, 3, 4].includes(channels) && (isFloat || dtype === "uint8")) {
    return grid(value, (image) => drawImage(image, isFloat), rows > 2 ? LEGIBLE : 2 * LEGIBLE);
  }
  if (shape.length === 3 && /^u?int|^bool/.test(dtype) && height > 1 && width > 1) {
    return grid(value, (labels, index) => drawLabels(labels, photos[index]), 2 * LEGIBLE, legend);
  }
  if (shape.length === 2 && height === 2 && isFloat && rows > 2) return scatter(value);
  if (shape.length === 1 && rows <= MOST && typeof value[0] === "string") {
    return element("ol", { start: 0 }, ...value.map((text) => element("li", {}, text)));
  }
  if (shape.length === 1 && value.every((file) => mediaOf(file))) return files(value);
  if (shape.length <= 2 && !(rows > MOST) && !(height > 20)) return table(value);
  return element("pre", {}, cut(JSON.stringify(value)));
}

/** The shape of nested lists. */
function shapeOf(value) {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : [];
}

/** A figure per row, enlarged by a whole number, with a link to save it and perhaps a note. */
function grid(rows, drawRow, legible, note = () => "") {
  const figures = rows.slice(0, MOST).map((row, index) => {
    const picture = drawRow(row, index);
    const scale = Math.max(1, Math.floor(legible / Math.max(picture.width, picture.height)));
    picture.style.width = `${picture.width * scale}px`;
    Object.assign(picture, { role: "img", ariaLabel: `row ${index}` });
    const link = { download: `${index}.png`, href: "#", ariaLabel: `save PNG of row ${index}` };
    const save = element("a", link, "save PNG");
    save.onclick = () => (save.href = picture.toDataURL());
    const figure = element("figure", {}, picture, element("figcaption", {}, `${index} `, save), note(row));
    figure.dataset.row = index;
    return figure;
  });
  const rest = rows.length > MOST ? [element("p", {}, `These are the first ${MOST} of ${rows.length}.`)] : [];
  return element("div", { className: "grid" }, ...figures, ...rest);
}

/** The media type of a file of bytes that is a picture, by how it begins in base64. */
function mediaOf(file) {
  const [, media] = MEDIA.find(([start]) => file?.b64?.startsWith(start)) ?? [];
  return media;
}

/** A figure for each picture that comes as a file, with a link to save it as it came. */
function files(rows) {
  const figures = rows.slice(0, MOST).map((file, index) => {
    const href = `data:${mediaOf(file)};base64,${file.b64}`;
    const picture = element("img", { src: href, alt: `row ${index}` });
    picture.onload = () => {
      const scale = Math.max(1, Math.floor((2 * LEGIBLE) / Math.max(picture.naturalWidth, picture.naturalHeight)));
      picture.style.width = `${picture.naturalWidth * scale}px`;
    };
    const save = element("a", { href, download: `${index}.${mediaOf(file).slice(6)}` }, "save");
    return element("figure", {}, picture, element("figcaption", {}, `${index} `, save));
  });
  return element("div", { className: "grid" }, ...figures);
}

function drawImage(image, isFloat) {
  const byte = isFloat ? (value) => 127.5 * (value + 1) : (value) => value; // the canvas rounds and clips
  const opaque = isFloat ? 1 : 255;
  return fromPixels(image, ([red, green = red, blue = red, alpha = opaque]) => [red, green, blue, alpha].map(byte));
}

function drawLabels(labels, photo) {
  const colours = fromPixels(labels, (label) => [...colour(label), !photo ? 255 : Number(label) ? 150 : 0]);
  return photo ? over(photo, (pen, { width, height }) => pen.drawImage(colours, 0, 0, width, height)) : colours;
}

function legend(labels) {
  const items = [...new Set(labels.flat())].sort((one, other) => one - other).slice(0, 24).map((label) => {
    const swatch = element("i");
    swatch.style.background = `rgb(${colour(label)})`;
    return element("li", {}, swatch, String(label));
  });
  return element("ul", { className: "legend" }, ...items);
}

function drawBoxes({ boxes, scores, classes }, photos) {
  const slider = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: leastScore });
  const count = element("output");
  const place = element("div");
  const drawRow = (row, index) => over(photos[index], (pen, canvas) => {
    const isNormalised = row.flat().every((side) => side <= 1.5); // otherwise in pixels of the photo
    const unit = isNormalised ? { height: 1, width: 1 } : photos[index];
    const [down, across] = [canvas.height / unit.height, canvas.width / unit.width];
    row.forEach(([top, left, bottom, right], box) => {
      const score = scores?.[index][box];
      if (score < leastScore || bottom <= top || right <= left) return; // the latter are padding
      const corners = [left * across, top * down, right * across, bottom * down];
      drawBox(pen, corners, classes?.[index][box] ?? "", score?.toFixed(2) ?? "");
    });
  });
  slider.oninput = () => {
    leastScore = Number(slider.value);
    const all = scores?.flat() ?? [];
    const kept = all.filter((score) => score >= leastScore);
    count.textContent = `${leastScore.toFixed(2)}: ${kept.length} of ${all.length} boxes`;
    place.replaceChildren(grid(boxes, drawRow, 2 * LEGIBLE));
  };
  slider.oninput();
  const name = element("span", {}, "Least score");
  return element("div", {}, element("label", { className: "row", hidden: !scores }, name, slider, count), place);
}

function drawBox(pen, [left, top, right, bottom], label, score) {
  pen.strokeStyle = pen.fillStyle = `rgb(${colour(label)})`;
  pen.lineWidth = 2;
  pen.strokeRect(left, top, right - left, bottom - top);
  const words = `${label} ${score}`;
  const y = Math.max(0, top - 17);
  pen.font = "600 13px system-ui, sans-serif";
  pen.fillRect(left - 1, y, pen.measureText(words).width + 8, 17);
  pen.fillStyle = "black";
  pen.fillText(words, left + 3, y + 13);
}

/** A copy of a photo, of a size fit for the screen, drawn over by `paint(pen, canvas)`. */
function over(photo, paint) {
  const longest = Math.max(photo.width, photo.height);
  const scale = longest > LARGEST ? LARGEST / longest : Math.max(1, Math.floor((2 * LEGIBLE) / longest));
  const canvas = element("canvas", { width: photo.width * scale, height: photo.height * scale });
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = scale < 1;
  pen.drawImage(photo, 0, 0, canvas.width, canvas.height);
  pen.imageSmoothingEnabled = false;
  paint(pen, canvas);
  return canvas;
}

/** A canvas from nested lists (height, width, ...); `toBytes` gives red, green, blue and alpha of one pixel. */
function fromPixels(rows, toBytes) {
  const canvas = element("canvas", { width: rows[0].length, height: rows.length });
  const image = new ImageData(canvas.width, canvas.height);
  rows.flat().forEach((pixel, index) => image.data.set(toBytes(pixel), 4 * index));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Red, green and blue for a label: a number, where 0 is dark, or text. */
function colour(label) {
  const isText = typeof label === "string";
  const code = isText ? [...label].reduce((sum, letter) => sum + letter.codePointAt(0), 1) : Number(label);
  const hex = PALETTE[code && 1 + (Math.abs(code - 1) % (PALETTE.length - 1))];
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** Points in the plane; one scale for both axes, so that circles stay round. */
function scatter(points) {
  const finite = points.filter((point) => point.every(Number.isFinite));
  const limits = [0, 1].map((axis) => {
    const values = finite.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const reach = Math.max(...limits.map(([low, high]) => high - low)) || 1;
  const place = (value, axis) => 200 + (360 * (value - (limits[axis][0] + limits[axis][1]) / 2)) / reach;
  const short = (value) => String(Number(value.toPrecision(3)));
  const text = (value, x, y, anchor) => svg("text", { x, y, "text-anchor": anchor }, short(value));
  const path = finite.map(([x, y]) => `M${place(x, 0).toFixed(2)} ${(400 - place(y, 1)).toFixed(2)}h0`);
  const drawing = svg("svg", { viewBox: "-64 -2 468 424", class: "scatter", role: "img" });
  drawing.append(
    svg("title", {}, `${finite.length} of ${points.length} points are finite`),
    svg("rect", { width: 400, height: 400 }),
    ...limits[0].map((value) => text(value, place(value, 0), 418, "middle")),
    ...limits[1].map((value) => text(value, -6, 404 - place(value, 1), "end")),
    svg("path", { d: path.join("") }),
  );
  return drawing;
}

function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(text);
  return made;
}

function table(value) {
  const rows = [value].flat().map((row, index) => {
    const cells = [row].flat().map((cell) => element("td", {}, show(cell)));
    return element("tr", {}, element("th", { scope: "row" }, String(index)), ...cells);
  });
  return element("div", { className: "scroll" }, element("table", {}, ...rows));
}

function show(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(6)));
  return value === null ? "NaN" : typeof value === "string" ? value : JSON.stringify(value);
}
