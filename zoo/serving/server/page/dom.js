// Small helpers. Whatever comes from the server reaches the page as text, never as HTML.

/** Make an element with properties and children; a child that is a string becomes text. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Cut text to a length fit for reading. */
export function cut(text, length = 2000) {
  return text.length > length ? `${text.slice(0, length)} … (${text.length.toLocaleString("en")} characters)` : text;
}

/** Read JSON as TF Serving writes it, where NaN and Infinity stand bare; NaN becomes null. */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    const words = { NaN: "null", Infinity: "1e999", "-Infinity": "-1e999" };
    return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (word) => words[word] ?? word));
  }
}
