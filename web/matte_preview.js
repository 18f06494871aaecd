// A preview on the nodes that make masks, for judging them: the host's own player shows a video as it is, this one lets
// the plate, the matte, an overlay and a checker be chosen while it plays, layers be hidden, and the plate be compared.
import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { mix, VIEWS } from "./matte_view.js"

const NODES = ["SegmentVideo", "MaskToAlpha", "SegmentShot", "CorrectMask"]
const KEPT = "matte preview" // the property of a node that brings its preview back after a reload
const LOOK = "matte view"
const HEIGHT = 290 // units on the canvas: the same before and after a run, so that nothing moves

const STYLE = `
.rem-preview { display: flex; flex-direction: column; gap: 4px; height: 100%; min-height: 0; overflow: hidden;
  box-sizing: border-box; font: 11px sans-serif; color: var(--input-text, #ddd); }
.rem-preview > div { display: flex; gap: 4px; align-items: center; flex: none; }
.rem-preview .rem-stage { flex: 1 1 0; min-height: 0; justify-content: center; background: #000; position: relative;
  border-radius: 4px; overflow: hidden; }
[data-node-id] .rem-stage { min-height: 190px; } /* Nodes 2.0 give a widget what others leave */
.rem-preview canvas, .rem-preview .rem-live { max-width: 100%; max-height: 100%; touch-action: none; }
.rem-preview .rem-live { position: absolute; display: none; }
.rem-preview .rem-note { position: absolute; color: #999; }
.rem-preview button { background: var(--comfy-input-bg, #333); color: inherit; border: 0; border-radius: 3px;
  padding: 2px 6px; cursor: pointer; font: inherit; }
.rem-preview button[aria-pressed="true"] { background: var(--primary-bg, #236692); color: #fff; }
.rem-preview input[type="range"] { flex: 1 1 40px; min-width: 30px; }
.rem-preview .rem-layers { flex-wrap: wrap; max-height: 38px; overflow: auto; }
.rem-preview .rem-layers i { display: inline-block; width: 9px; height: 9px; margin-right: 4px; border-radius: 2px; }
.rem-preview .rem-layers button[aria-pressed="false"] { opacity: 0.45; text-decoration: line-through; }
[data-testid^="node-body-"]:has(.rem-preview) > img, [data-testid^="node-body-"]:has(.rem-preview) > img + * {
  display: none; } /* where nodes are drawn by the page, its last picture of a run and that one's size stay below */
`

function element(kind, options = {}, ...children) {
  const made = Object.assign(document.createElement(kind), options)
  made.append(...children)
  return made
}

function button(text, title, press) {
  return element("button", { type: "button", textContent: text, title, onclick: press })
}

class MattePreview {
  constructor(node) {
    this.node = node
    this.look = { view: "overlay", opacity: 0.45, hidden: [], split: 0 }
    this.described = null
    this.canvas = element("canvas", { width: 16, height: 9 })
    this.live = element("img", { className: "rem-live", alt: "" })
    this.note = element("span", { className: "rem-note", textContent: "Run to see the matte" })
    this.stage = element("div", { className: "rem-stage" }, this.canvas, this.live, this.note)
    this.views = VIEWS.map((view) => button(view, `Show the ${view}`, () => this.change({ view })))
    this.compare = button("compare", "Drag over the picture: the plate to the left", () =>
      this.change({ split: this.look.split ? 0 : 0.5 })
    )
    this.opacity = element("input", { type: "range", min: 0, max: 1, step: 0.05, title: "Opacity of the overlay" })
    this.opacity.oninput = () => this.change({ opacity: Number(this.opacity.value) })
    this.play = button("▶", "Play or pause", () => (this.video.paused ? this.video.play() : this.video.pause()))
    this.scrub = element("input", { type: "range", min: 0, max: 0, step: 1, value: 0, title: "Frame" })
    this.scrub.oninput = () => this.seek(Number(this.scrub.value))
    this.place = element("span", { textContent: "" })
    this.layers = element("div", { className: "rem-layers" })
    this.root = element(
      "div",
      { className: "rem-preview" },
      element("div", {}, ...this.views, this.compare, this.opacity),
      this.stage,
      element("div", {}, this.play, this.scrub, this.place),
      this.layers
    )
    this.video = element("video", { muted: true, loop: true, playsInline: true, preload: "auto" })
    this.video.onloadeddata = () => this.loaded()
    this.video.onseeked = () => this.draw()
    this.video.onplay = () => this.playing()
    this.video.onpause = () => (this.play.textContent = "▶")
    this.video.onerror = () => this.say("The preview is gone from ComfyUI's temporary files: run again.")
    for (const event of ["pointerdown", "pointermove", "wheel"]) {
      this.root.addEventListener(event, (moved) => moved.stopPropagation())
    }
    this.canvas.onpointerdown = (down) => this.canvas.setPointerCapture(down.pointerId)
    this.canvas.onpointermove = (moved) => {
      if (!this.look.split || !moved.buttons) return
      const box = this.canvas.getBoundingClientRect()
      this.change({ split: Math.min(1, Math.max(0.001, (moved.clientX - box.left) / box.width)) })
    }
    this.showControls()
  }

  /** Shows what a run gave, or what a saved graph remembers of one. */
  open(described, look = {}) {
    this.described = described
    this.look = { ...this.look, view: described.view, ...look }
    this.live.style.display = "none"
    this.say("")
    this.scrub.max = described.frames - 1
    this.layers.replaceChildren(
      ...described.layers.map((layer) => {
        const square = element("i")
        square.style.background = layer.colour
        const eye = element("button", { type: "button", title: "Show or hide this layer" }, square, layer.name)
        eye.onclick = () => {
          const hidden = this.look.hidden.filter((name) => name !== layer.name)
          this.change({ hidden: hidden.length < this.look.hidden.length ? hidden : [...hidden, layer.name] })
        }
        return eye
      })
    )
    this.video.src = api.apiURL(`/view?${new URLSearchParams(described.tiles)}`)
    this.showControls()
  }

  loaded() {
    const [width, height] = this.described.tile
    Object.assign(this.canvas, { width, height })
    this.packed = new OffscreenCanvas(this.video.videoWidth, this.video.videoHeight).getContext("2d", {
      willReadFrequently: true
    })
    this.draw()
    this.video.play().catch(() => {}) // a page that may not play shows the first frame
  }

  change(look) {
    Object.assign(this.look, look)
    this.node.properties[LOOK] = { ...this.look }
    this.showControls()
    this.draw()
  }

  showControls() {
    this.views.forEach((view, place) => view.setAttribute("aria-pressed", String(VIEWS[place] === this.look.view)))
    this.compare.setAttribute("aria-pressed", String(this.look.split > 0))
    this.opacity.value = this.look.opacity
    this.opacity.disabled = this.look.view !== "overlay"
    ;[...this.layers.children].forEach((eye, layer) =>
      eye.setAttribute("aria-pressed", String(!this.look.hidden.includes(this.described.layers[layer].name)))
    )
  }

  seek(frame) {
    this.video.pause()
    this.video.currentTime = (frame + 0.5) / this.described.fps
  }

  playing() {
    this.play.textContent = "❚❚"
    const next = () => {
      if (this.video.paused || !this.root.isConnected) return
      this.draw()
      requestAnimationFrame(next)
    }
    next()
  }

  draw() {
    if (!this.packed || this.video.readyState < 2) return
    const { videoWidth, videoHeight } = this.video
    this.packed.drawImage(this.video, 0, 0)
    const picture = this.packed.getImageData(0, 0, videoWidth, videoHeight)
    const context = this.canvas.getContext("2d")
    const out = context.createImageData(this.canvas.width, this.canvas.height)
    mix(picture.data, videoWidth, this.described, this.look, out.data)
    context.putImageData(out, 0, 0)
    if (this.look.split) {
      context.fillStyle = "#fff"
      context.fillRect(Math.round(this.look.split * this.canvas.width) - 1, 0, 2, this.canvas.height)
    }
    const frame = Math.min(this.described.frames - 1, Math.floor(this.video.currentTime * this.described.fps))
    this.scrub.value = frame
    this.place.textContent = `${frame + 1} / ${this.described.frames}`
  }

  /** A picture while the node runs. */
  showLive(blob) {
    URL.revokeObjectURL(this.live.src)
    this.live.src = URL.createObjectURL(blob)
    this.live.style.display = "block"
    this.video.pause()
    this.say("")
  }

  say(text) {
    this.note.textContent = text
  }
}

const previews = new Map() // of the nodes on the canvas

function locate(id) {
  // "7:3" is node 3 within the subgraph node 7.
  let graph = app.graph
  let node = null
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(Number.isNaN(Number(part)) ? part : Number(part))
    graph = node?.subgraph
  }
  return node
}

app.registerExtension({
  name: "ReferEverything.MattePreview",
  setup() {
    document.head.append(element("style", { textContent: STYLE }))
    api.addEventListener("b_preview_with_metadata", ({ detail }) => {
      previews.get(locate(detail.nodeId))?.showLive(detail.blob)
    })
  },
  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return
    const preview = new MattePreview(node)
    previews.set(node, preview)
    const widget = node.addDOMWidget("matte_preview", "matte_preview", preview.root, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => HEIGHT,
      getMaxHeight: () => 4 * HEIGHT
    })
    widget.serialize = false
    // This preview stands for the host's own, which would show the same once more below it.
    node.hideOutputImages = true
    node.onDrawBackground = () => {}
    const { onExecuted, onConfigure, onRemoved } = node
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments)
      const described = output?.matte_preview?.[0]
      if (!described) return
      this.properties[KEPT] = described
      preview.open(described, this.properties[LOOK])
      app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.captureCanvasState?.()
    }
    node.onConfigure = function () {
      onConfigure?.apply(this, arguments)
      if (this.properties[KEPT]) preview.open(this.properties[KEPT], this.properties[LOOK])
    }
    node.onRemoved = function () {
      onRemoved?.apply(this, arguments)
      preview.video.pause()
      previews.delete(this)
    }
  }
})
