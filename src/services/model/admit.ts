// Looks into a graph before ONNX Runtime does: operators, shapes, sizes, and nothing that reaches outside the file.
import onnxProto from "onnx-proto"
import { type Axes, Inadmissible, type Known, shapeOf } from "./shapes.ts"

const { onnx } = onnxProto
type TensorProto = onnxProto.onnx.ITensorProto
type ValueInfoProto = onnxProto.onnx.IValueInfoProto

export { admittedOperators, Inadmissible } from "./shapes.ts"

const NODES_MAX = 4_096
const INITIALIZERS_MAX = 4_096
const OPSET_MIN = 13
const OPSET_MAX = 21

const refused = (reason: Inadmissible["reason"], message: string) => new Inadmissible(reason, message)

const elementBytes = new Map<number, number>([
  [onnx.TensorProto.DataType.FLOAT, 4],
  [onnx.TensorProto.DataType.INT64, 8]
])

const initializer = (tensor: TensorProto): Known => {
  const name = tensor.name ?? ""
  if ((tensor.externalData?.length ?? 0) > 0 || (tensor.dataLocation ?? 0) !== 0) {
    throw refused("will-not-load", `tensor ${name} lies outside the file`)
  }
  const width = elementBytes.get(tensor.dataType ?? 0)
  const raw = tensor.rawData
  if (width === undefined || !raw || raw.length === 0) {
    throw refused("will-not-load", `tensor ${name} is neither float32 nor int64 with raw data`)
  }
  const axes = (tensor.dims ?? []).map(Number)
  const bytes = axes.reduce((product, axis) => product * axis, width)
  if (axes.some((axis) => axis < 1) || bytes !== raw.length) {
    throw refused("wrong-shape", `tensor ${name} says [${axes}] and holds ${raw.length} bytes`)
  }
  if (width === 4) return { axes, integers: undefined }
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
  return {
    axes,
    integers: Array.from({ length: raw.length / 8 }, (_, at) => Number(view.getBigInt64(at * 8, true)))
  }
}

const axesOf = (value: ValueInfoProto): { readonly type: number; readonly axes: Axes } => {
  const tensor = value.type?.tensorType
  if (!tensor) throw refused("wrong-shape", `${value.name} is no tensor`)
  const axes = (tensor.shape?.dim ?? []).map((dim) =>
    dim.dimParam ? ("n" as const) : Number(dim.dimValue ?? 0)
  )
  return { type: tensor.elemType ?? 0, axes }
}

const expectValue = (value: ValueInfoProto, name: string, type: number, axes: Axes) => {
  const found = axesOf(value)
  if (value.name === name && found.type === type && String(found.axes) === String(axes)) return
  throw refused("wrong-shape", `it has ${value.name} [${found.axes}] where ${name} [${axes}] is expected`)
}

/** What the graph is for: `score` answers `energy`, `explain` also contributions, expected values, a prototype. */
export type GraphRole = "score" | "explain"

const outputsOf = (role: GraphRole, width: number): ReadonlyArray<readonly [string, number, Axes]> => {
  const { FLOAT, INT64 } = onnx.TensorProto.DataType
  const energy = ["energy", FLOAT, ["n"]] as const
  return role === "score"
    ? [energy]
    : [
        energy,
        ["contributions", FLOAT, ["n", width]],
        ["expected", FLOAT, ["n", width]],
        ["prototype", INT64, ["n"]]
      ]
}

/**
 * Checks a graph for rows of `width` features. Throws `Inadmissible` where it breaks a rule: an operator off
 * the list, a subgraph or function, data outside the file, a shape that does not fit, or too much of anything.
 */
export const admit = (bytes: Uint8Array, role: GraphRole, width: number): void => {
  let model: onnxProto.onnx.ModelProto
  try {
    model = onnx.ModelProto.decode(bytes)
  } catch (cause) {
    throw refused("will-not-load", `it is no ONNX model (${(cause as Error).message})`)
  }
  const graph = model.graph
  if (!graph) throw refused("will-not-load", "it holds no graph")
  const opsets = model.opsetImport ?? []
  const opset = Number(opsets[0]?.version ?? 0)
  if (opsets.length !== 1 || (opsets[0].domain ?? "") !== "" || opset < OPSET_MIN || opset > OPSET_MAX) {
    throw refused(
      "unknown-operator",
      `its operator set is not the standard one, version ${OPSET_MIN} to ${OPSET_MAX}`
    )
  }
  const functions = (model as { readonly functions?: ReadonlyArray<unknown> }).functions?.length ?? 0
  if (functions > 0 || (model.trainingInfo?.length ?? 0) > 0 || (graph.sparseInitializer?.length ?? 0) > 0) {
    throw refused("unknown-operator", "it holds functions, training steps or sparse tensors")
  }
  const nodes = graph.node ?? []
  const initializers = graph.initializer ?? []
  if (nodes.length > NODES_MAX || initializers.length > INITIALIZERS_MAX) {
    throw refused("too-large", `it has ${nodes.length} nodes and ${initializers.length} constants`)
  }
  const inputs = graph.input ?? []
  if (inputs.length !== 1)
    throw refused("wrong-shape", `it has ${inputs.length} inputs where one is expected`)
  expectValue(inputs[0], "rows", onnx.TensorProto.DataType.FLOAT, ["n", width])

  const values = new Map<string, Known>([["rows", { axes: ["n", width], integers: undefined }]])
  const define = (name: string, known: Known) => {
    if (name === "" || values.has(name))
      throw refused("will-not-load", `${name} is made twice, or has no name`)
    values.set(name, known)
  }
  for (const tensor of initializers) define(tensor.name ?? "", initializer(tensor))
  for (const node of nodes) {
    for (const attribute of node.attribute ?? []) {
      if (attribute.g || attribute.graphs?.length || attribute.t || attribute.tensors?.length) {
        throw refused("unknown-operator", `node ${node.name} holds a graph or a tensor of its own`)
      }
    }
    if (node.output?.length !== 1)
      throw refused("wrong-shape", `node ${node.name} makes ${node.output?.length} values`)
    define(node.output[0], shapeOf(node, values))
  }
  const outputs = graph.output ?? []
  const expected = outputsOf(role, width)
  if (outputs.length !== expected.length) {
    throw refused("wrong-shape", `it has ${outputs.length} outputs where ${expected.length} are expected`)
  }
  expected.forEach(([name, type, axes], at) => {
    expectValue(outputs[at], name, type, axes)
    const made = values.get(name)?.axes
    if (String(made) !== String(axes))
      throw refused("wrong-shape", `${name} is made as [${made}], not [${axes}]`)
  })
}
