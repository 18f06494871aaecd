// Layers of Encode Text as a list: name, text, what to leave out, preset, colour, and an eye. What it writes is the text
// of the node, a layer a line, as somebody would type it; nothing else is saved.
import { app } from "../../scripts/app.js"
import { layersOf, NEW_LAYER, textOf } from "./layer_lines.js"

const STYLE = `
.rem-list { position: fixed; z-index: 1100; left: 50%; top: 18%; transform: translateX(-50%); width: min(900px, 94vw);
  max-height: 70vh; overflow: auto; box-sizing: border-box; padding: 12px; border-radius: 8px; font: 13px sans-serif;
  color: var(--input-text, #ddd); background: var(--comfy-menu-bg, #222); border: 1px solid var(--border-color, #555);
  box-shadow: 0 8px 30px #0009; }
.rem-list .rem-row { display: grid; grid-template-columns: 30px 34px 1fr 2fr 2fr 90px 30px; gap: 6px; margin: 6px 0; }
.rem-list input, .rem-list select, .rem-list button { font: inherit; color: inherit; min-width: 0; padding: 4px 6px;
  background: var(--comfy-input-bg, #333); border: 0; border-radius: 4px; box-sizing: border-box; }
.rem-list input[type="color"] { padding: 2px; height: 100%; width: 100%; }
.rem-list .rem-unset { opacity: 0.35; }
.rem-list .rem-off input { opacity: 0.45; }
.rem-list .rem-foot { display: flex; gap: 6px; justify-content: space-between; margin-top: 10px; }
`
const PARTING = /[|\n]/g // what parts a line of prompts

function element(kind, options = {}, ...children) {
  const made = Object.assign(document.createElement(kind), options)
  made.append(...children)
  return made
}

function presets() {
  const [first, options] = window.LiteGraph.registered_node_types.PromptLayer.nodeData.input.required.preset
  return (Array.isArray(first) ? first : options.options).filter((name) => name !== "none")
}

let shown = null // the list that is shown

class LayerList {
  constructor(node, widget) {
    this.node = node
    this.widget = widget
    this.layers = layersOf(widget.value)
    this.rows = element("div")
    this.root = element(
      "div",
      { className: "rem-list", tabIndex: -1 },
      this.rows,
      element(
        "div",
        { className: "rem-foot" },
        element("button", { type: "button", textContent: "+ layer", onclick: () => this.add() }),
        element("button", { type: "button", textContent: "Done", onclick: () => this.close() })
      )
    )
    // Keys are the list's own: the canvas has shortcuts on most of them.
    this.root.onkeydown = (pressed) => {
      pressed.stopPropagation()
      if (pressed.key === "Escape") this.close()
    }
    document.body.append(element("style", { textContent: STYLE }), this.root)
    if (this.layers.length) this.show()
    else this.add()
  }

  add() {
    this.layers.push({ ...NEW_LAYER })
    this.show()
    this.rows.lastChild.querySelector('[placeholder="what to segment"]').focus()
  }

  show() {
    this.rows.replaceChildren(...this.layers.map((layer) => this.row(layer)))
  }

  row(layer) {
    const set = (values) => {
      Object.assign(layer, values)
      this.widget.value = textOf(this.layers)
      this.widget.callback?.(this.widget.value)
      app.graph.setDirtyCanvas(true, true)
    }
    const field = (placeholder, title, value, given) =>
      element("input", {
        placeholder,
        title,
        value,
        spellcheck: false,
        oninput: ({ target }) => set(given(target.value.replace(PARTING, " ")))
      })
    const colour = element("input", {
      type: "color",
      className: layer.colour ? "" : "rem-unset",
      value: layer.colour || "#808080",
      title: "Colour in the overlay; faint: one that stands out is chosen. Double-click takes it back.",
      oninput: ({ target }) => {
        target.className = ""
        set({ colour: target.value })
      },
      ondblclick: ({ target }) => {
        target.className = "rem-unset"
        set({ colour: "" })
      }
    })
    const preset = element(
      "select",
      { title: "Settings of the matte stage that suit such a thing", onchange: () => set({ preset: preset.value }) },
      ...["", ...presets()].map((name) => element("option", { value: name, textContent: name || "preset" }))
    )
    preset.value = layer.preset
    return element(
      "div",
      { className: `rem-row${layer.shown ? "" : " rem-off"}` },
      element("button", {
        type: "button",
        textContent: layer.shown ? "👁" : "–",
        title: "Segment this layer, or leave it out",
        onclick: () => {
          set({ shown: !layer.shown })
          this.show()
        }
      }),
      colour,
      field("name", "Of its folder and its channels in an EXR, one word", layer.name, (name) => ({ name: name.trim() })),
      field("what to segment", "What to segment, in plain words", layer.text, (text) => ({ text: text.trim() })),
      field("leave out; and this", "What to take away from it", layer.without.join("; "), (text) => ({
        without: text
          .split(";")
          .map((part) => part.trim())
          .filter(Boolean)
      })),
      preset,
      element("button", {
        type: "button",
        textContent: "✕",
        title: "Delete this layer",
        onclick: () => {
          this.layers.splice(this.layers.indexOf(layer), 1)
          set({})
          this.show()
        }
      })
    )
  }

  /** Take it away without a word to the graph, which may be another one by now. */
  remove() {
    if (shown === this) shown = null
    this.root.previousSibling?.remove() // its style
    this.root.remove()
  }

  close() {
    this.remove()
    app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.captureCanvasState?.()
  }
}

app.registerExtension({
  name: "ReferEverything.LayerList",
  beforeConfigureGraph() {
    shown?.remove() // the graph of its node goes
  },
  nodeCreated(node) {
    if (node.comfyClass !== "EncodeText") return
    const text = node.widgets.find((widget) => widget.name === "text")
    const button = node.addWidget("button", "layers", null, () => {
      shown?.close() // one list at a time
      shown = new LayerList(node, text)
    })
    button.label = "edit as a list"
    button.serialize = false
    button.options.serialize = false
    const removed = node.onRemoved
    node.onRemoved = function (...given) {
      if (shown?.node === this) shown.remove()
      return removed?.apply(this, given)
    }
  }
})
