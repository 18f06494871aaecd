// Prompts as Encode Text holds them, a layer a line, and as a list of layers. No page is needed: text in, text out.
// What a line means is the engine's to say (rem_engine/layers.py); here it is only taken apart and put together again.

const NAME = /^[\p{L}\p{N}_](?:[\p{L}\p{N}_.-]*[\p{L}\p{N}_])?$/u
const SET = /^([^:]+):\s*(.+)$/s
const COLOUR = /^#[0-9a-f]{6}$/i

export const NEW_LAYER = { shown: true, name: "", text: "", without: [], preset: "", colour: "", settings: [] }

function named(part) {
  const colon = part.indexOf(":")
  const [before, after] = [part.slice(0, colon).trim(), part.slice(colon + 1)]
  const isTime = /\d$/.test(part.slice(0, colon)) && /^\d/.test(after)
  return colon < 0 || isTime || !NAME.test(before) ? ["", part] : [before, after.trim()]
}

function layerOf(line) {
  const [first, ...rest] = line.trim().replace(/^#\s*/, "").split("|")
  const [name, text] = named(first.trim())
  const layer = { ...NEW_LAYER, shown: !line.trim().startsWith("#"), name, text, without: [], settings: [] }
  for (const part of rest.map((part) => part.trim())) {
    const [, what, value] = part.startsWith("-") ? [] : (SET.exec(part) ?? [])
    const setting = what?.trim().toLowerCase()
    if (setting === "preset" && !layer.preset) layer.preset = value.toLowerCase()
    else if (setting === "colour" && !layer.colour && COLOUR.test(value)) layer.colour = value
    else if (part.startsWith("-") && part.length > 1) layer.without.push(part.slice(1).trim())
    else layer.settings.push(part)
  }
  return layer
}

function lineOf({ shown, name, text, without, preset, colour, settings }) {
  const parts = [name ? `${name}: ${text}` : text, ...without.map((other) => `-${other}`)]
  if (preset) parts.push(`preset: ${preset}`)
  if (colour) parts.push(`colour: ${colour}`)
  return `${shown ? "" : "# "}${[...parts, ...settings].join(" | ")}`
}

/** The layers of a text, those left out too, which have shown: false. */
export function layersOf(text) {
  return text
    .split("\n")
    .filter((line) => line.trim())
    .map(layerOf)
}

/** The text of layers; lines without anything are left away. */
export function textOf(layers) {
  return layers
    .map(lineOf)
    .filter((line) => line.replace("#", "").trim())
    .join("\n")
}
