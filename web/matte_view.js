// How a preview's plate and masks are mixed into what is looked at. No page is needed: pixels in, pixels out.

export const VIEWS = ["overlay", "matte", "checker", "plate"]

const SQUARE = 16 // pixels of a checker's square
const CHECKER = [89, 128] // its two greys
const HALF = 128 // of a mask, where its contour runs

/** Where the tiles of a packed picture lie: the plate first, then a mask for each layer. */
export function tilePlaces(described) {
  const [width, height] = described.tile
  return Array.from({ length: 1 + described.layers.length }, (_, tile) => ({
    left: (tile % described.columns) * width,
    top: Math.floor(tile / described.columns) * height,
    width,
    height
  }))
}

/** "#rrggbb" as [red, green, blue], 0..255. */
export function rgbOf(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))
}

/** Whether a pixel is the outermost of what a mask covers; its cut at the border is no contour. */
function onContour(packed, row, x, y, stride, { width, height }) {
  const at = row + 4 * x + 1
  if (packed[at] < HALF) return false
  return (
    (x > 0 && packed[at - 4] < HALF) ||
    (x < width - 1 && packed[at + 4] < HALF) ||
    (y > 0 && packed[at - 4 * stride] < HALF) ||
    (y < height - 1 && packed[at + 4 * stride] < HALF)
  )
}

/**
 * Mixes one frame.
 *
 * @param {Uint8ClampedArray} packed RGBA of the packed picture.
 * @param {number} stride its width in pixels.
 * @param {object} described what the node said of it: tile, columns, layers with their colours.
 * @param {object} look view, one of VIEWS; opacity 0..1 of an overlay; hidden, names of layers that are left out;
 *   split, 0..1, left of which the plate alone is seen (0: nowhere).
 * @param {Uint8ClampedArray} out RGBA of one tile, written.
 */
export function mix(packed, stride, described, look, out) {
  const [plate, ...masks] = tilePlaces(described)
  const seen = masks
    .map((place, layer) => ({ place, ...described.layers[layer] }))
    .filter((layer) => !look.hidden.includes(layer.name))
    .map((layer) => ({ place: layer.place, rgb: rgbOf(layer.colour) }))
  const { width, height } = plate
  const start = ({ left, top }, y) => 4 * ((top + y) * stride + left)
  for (let y = 0; y < height; y++) {
    const from = start(plate, y)
    const rows = seen.map((layer) => start(layer.place, y))
    for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x)
      const source = from + 4 * x
      out[at + 3] = 255
      const view = x < look.split * width ? "plate" : look.view
      let alpha = 0
      for (const row of rows) alpha = Math.max(alpha, packed[row + 4 * x + 1])
      for (let channel = 0; channel < 3; channel++) {
        let value = packed[source + channel]
        if (view === "matte") {
          value = alpha
        } else if (view === "checker") {
          const ground = CHECKER[(Math.floor(x / SQUARE) + Math.floor(y / SQUARE)) % 2]
          value = ground + ((value - ground) * alpha) / 255
        } else if (view === "overlay") {
          for (let layer = 0; layer < rows.length; layer++) {
            const mask = packed[rows[layer] + 4 * x + 1]
            const share = onContour(packed, rows[layer], x, y, stride, plate) ? 1 : (look.opacity * mask) / 255
            value += share * (seen[layer].rgb[channel] - value)
          }
        }
        out[at + channel] = value
      }
    }
  }
}
