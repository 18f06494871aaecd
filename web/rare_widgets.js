// Rare widgets are folded away on classic nodes too, with a button below to show them; the page itself does so in
// Nodes 2.0 alone, where it leaves them room all the same.
import { app } from "../../scripts/app.js"

app.registerExtension({
  name: "ReferEverything.RareWidgets",
  nodeCreated(node) {
    const rare = node.widgets?.filter((widget) => widget.options?.advanced) ?? []
    if (node.constructor.category !== "ReferEverything" || !rare.length) return
    const isLinked = ({ name }) => node.inputs.some((socket) => socket.widget?.name === name && socket.link != null)
    let shown = false
    const fold = () => {
      for (const widget of rare) widget.hidden = !shown && !isLinked(widget)
    }
    if (!window.LiteGraph.vueNodesMode) {
      const button = node.addWidget("button", "advanced", null, () => {
        const before = node.computeSize()[1]
        shown = !shown
        button.label = shown ? "hide advanced inputs" : "show advanced inputs"
        fold()
        node.setSize([node.size[0], node.size[1] + node.computeSize()[1] - before])
        app.graph?.setDirtyCanvas(true, true)
      })
      button.label = "show advanced inputs"
      button.serialize = false
      button.options.serialize = false
    }
    fold()
    node.setSize([node.size[0], node.computeSize()[1]])
    const { onConfigure } = node
    node.onConfigure = function () {
      onConfigure?.apply(this, arguments)
      fold()
    }
  }
})
