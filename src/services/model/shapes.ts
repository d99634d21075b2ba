// Works out the shape of every value of an ONNX graph, for the operators that a bundle may use.
import type onnxProto from "onnx-proto"

type NodeProto = onnxProto.onnx.INodeProto

/** An axis: a length, or `n` for the rows of a batch. */
export type Axis = number | "n"
export type Axes = ReadonlyArray<Axis>

/** A graph breaks a rule of admission. `operator`: one that is not on the list. */
export class Inadmissible extends Error {
  readonly reason: "unknown-operator" | "wrong-shape" | "too-large" | "will-not-load"

  constructor(reason: Inadmissible["reason"], message: string) {
    super(message)
    this.reason = reason
  }
}

const wrong = (message: string) => new Inadmissible("wrong-shape", message)

interface Known {
  readonly axes: Axes
  /** Values of an int64 constant. */
  readonly integers: ReadonlyArray<number> | undefined
}

const attributeOf = (node: NodeProto, name: string) =>
  node.attribute?.find((attribute) => attribute.name === name)

const integerOf = (node: NodeProto, name: string, fallback: number): number => {
  const found = attributeOf(node, name)
  return found === undefined ? fallback : Number(found.i)
}

const broadcast = (left: Axes, right: Axes): Axes => {
  const rank = Math.max(left.length, right.length)
  return Array.from({ length: rank }, (_, at) => {
    const a = left[at - rank + left.length] ?? 1
    const b = right[at - rank + right.length] ?? 1
    if (a === 1) return b
    if (b === 1 || a === b) return a
    throw wrong(`shapes [${left}] and [${right}] do not fit`)
  })
}

const place = (axis: number, rank: number): number => {
  const at = axis < 0 ? axis + rank : axis
  if (!(at >= 0 && at < rank)) throw wrong(`axis ${axis} of ${rank}`)
  return at
}

const elementwise = (_: NodeProto, inputs: ReadonlyArray<Known>): Axes =>
  inputs.map((input) => input.axes).reduce(broadcast)

const same = (_: NodeProto, inputs: ReadonlyArray<Known>): Axes => inputs[0].axes

const reduced = (node: NodeProto, axes: Axes, along: ReadonlyArray<number>): Axes => {
  const gone = new Set(along.map((axis) => place(axis, axes.length)))
  return integerOf(node, "keepdims", 1) === 1
    ? axes.map((axis, at) => (gone.has(at) ? 1 : axis))
    : axes.filter((_, at) => !gone.has(at))
}

const concat = (node: NodeProto, inputs: ReadonlyArray<Known>): Axes => {
  const rank = inputs[0].axes.length
  const along = place(integerOf(node, "axis", Number.NaN), rank)
  return inputs
    .map((input) => input.axes)
    .reduce((left, right) => {
      if (right.length !== rank || left[along] === "n" || right[along] === "n")
        throw wrong("pieces of other shapes joined")
      return left.map((axis, at) => {
        if (at === along) return Number(axis) + Number(right[at])
        if (axis !== right[at]) throw wrong("pieces of other shapes joined")
        return axis
      })
    })
}

const matMul = (_: NodeProto, [left, right]: ReadonlyArray<Known>): Axes => {
  if (left.axes.length < 2 || right.axes.length !== 2 || left.axes.at(-1) !== right.axes[0]) {
    throw wrong(`the product [${left.axes}] × [${right.axes}]`)
  }
  return [...left.axes.slice(0, -1), right.axes[1]]
}

const reshape = (_: NodeProto, [data, target]: ReadonlyArray<Known>): Axes => {
  if (target.integers === undefined) throw wrong("a shape that is not a constant")
  const rows = data.axes.includes("n")
  const size = data.axes.reduce<number>((product, axis) => product * (axis === "n" ? 1 : axis), 1)
  const given = target.integers
    .filter((length) => length !== -1)
    .reduce((product, length) => product * length, 1)
  const open = target.integers.length - target.integers.filter((length) => length > 0).length
  const left = size / given
  if (open > 1 || target.integers.some((length) => length < -1 || length === 0) || (open === 0 && rows)) {
    throw wrong(`a reshape to [${target.integers}]`)
  }
  // Rows and a length together on one axis have no name here; no bundle needs them.
  if (open === 1 && (rows ? left !== 1 : !Number.isInteger(left)))
    throw wrong(`a reshape to [${target.integers}]`)
  if (open === 0 && left !== 1) throw wrong(`a reshape to [${target.integers}]`)
  return target.integers.map((length) => (length === -1 ? (rows ? "n" : left) : length))
}

const gather = (node: NodeProto, [table, indices]: ReadonlyArray<Known>): Axes => {
  const along = place(integerOf(node, "axis", 0), table.axes.length)
  return [...table.axes.slice(0, along), ...indices.axes, ...table.axes.slice(along + 1)]
}

type Rule = (node: NodeProto, inputs: ReadonlyArray<Known>) => Axes

const rules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(
    "Add Sub Mul Div Min Max Equal Less Greater LessOrEqual GreaterOrEqual And Or Where"
      .split(" ")
      .map((op) => [op, elementwise])
  ),
  ...Object.fromEntries(
    "Abs Cast Clip Exp Identity IsNaN Log Neg Not Relu Sigmoid Sign Softplus Sqrt Tanh"
      .split(" ")
      .map((op) => [op, same])
  ),
  Concat: concat,
  MatMul: matMul,
  Reshape: reshape,
  Gather: gather,
  Transpose: (node, [data]) => {
    const order =
      attributeOf(node, "perm")?.ints?.map(Number) ?? data.axes.map((_, at) => data.axes.length - 1 - at)
    return order.map((at) => data.axes[place(at, data.axes.length)])
  },
  ReduceSum: (node, [data, axes]) => reduced(node, data.axes, axes?.integers ?? data.axes.map((_, at) => at)),
  ReduceMax: (node, [data]) =>
    reduced(node, data.axes, attributeOf(node, "axes")?.ints?.map(Number) ?? data.axes.map((_, at) => at)),
  ArgMax: (node, [data]) => reduced(node, data.axes, [integerOf(node, "axis", 0)])
}

/** Operators a bundle may use. None loops, branches, or makes a tensor of a size that only its data tell. */
export const admittedOperators: ReadonlySet<string> = new Set(Object.keys(rules))

/** Most elements that one value of a graph may hold for each row. */
const ELEMENTS_PER_ROW_MAX = 64 * 1024 * 1024

/** Shape of a node's result. Throws `Inadmissible`. */
export const shapeOf = (node: NodeProto, values: ReadonlyMap<string, Known>): Known => {
  const op = node.opType ?? ""
  const rule = rules[op]
  if (rule === undefined || (node.domain ?? "") !== "") {
    throw new Inadmissible(
      "unknown-operator",
      `it uses the operator ${node.domain ? `${node.domain}.` : ""}${op}`
    )
  }
  const inputs = (node.input ?? []).map((name) => {
    const known = values.get(name)
    if (known === undefined)
      throw new Inadmissible("will-not-load", `node ${node.name} reads ${name}, which nothing makes`)
    return known
  })
  if (inputs.length === 0) throw wrong(`node ${node.name} reads nothing`)
  const axes = rule(node, inputs)
  const elements = axes.reduce<number>((product, axis) => product * (axis === "n" ? 1 : axis), 1)
  if (!(elements <= ELEMENTS_PER_ROW_MAX)) {
    throw new Inadmissible("too-large", `node ${node.name} makes ${elements} elements a row`)
  }
  return { axes, integers: undefined }
}

export type { Known }
