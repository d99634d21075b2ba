// Reverse-mode differentiation (Linnainmaa 1970) of a graph: gradients are expressions of the same graph, so they have gradients too.
import type { Expression, GraphBuilder, Shape } from "../graph.ts"

/** No rule says how this operator's result changes with its inputs. */
export class NotDifferentiable extends Error {}

const sameShape = (left: Shape, right: Shape) =>
  left.length === right.length && left.every((size, axis) => size === right[axis])

const lengths = (shape: Shape): ReadonlyArray<number> =>
  shape.map((size) => {
    if (typeof size === "number") return size
    throw new NotDifferentiable(`the length of axis ${size} must be known here`)
  })

/**
 * An adjoint is kept with axes of length 1 where all its values along them are equal, until an operator needs
 * them written out: the gradient of a sum then costs nothing.
 */
const writtenOut = (graph: GraphBuilder, adjoint: Expression, shape: Shape): Expression =>
  sameShape(adjoint.shape, shape) ? adjoint : graph.expand(adjoint, lengths(shape))

/** The part of an adjoint of a broadcast result (of shape `from`) that belongs to an operand of shape `to`. */
const gathered = (graph: GraphBuilder, adjoint: Expression, from: Shape, to: Shape): Expression => {
  const lead = from.length - to.length
  const spread = from.flatMap((size, axis) => ((to[axis - lead] ?? 1) === 1 && size !== 1 ? [axis] : []))
  const held = adjoint.shape.length < from.length ? writtenOut(graph, adjoint, from) : adjoint
  const summed = spread.filter((axis) => held.shape[axis] !== 1)
  const times = lengths(spread.filter((axis) => held.shape[axis] === 1).map((axis) => from[axis])).reduce(
    (product, size) => product * size,
    1
  )
  let sum = summed.length > 0 ? graph.reduceSum(held, summed) : held
  if (times > 1) sum = graph.binary("Mul", sum, graph.constant([times], [1]))
  return lead > 0 ? graph.reshape(sum, lengths(to), to) : sum
}

type Rule = (graph: GraphBuilder, node: Expression, adjoint: Expression, operand: number) => Expression

/** Of an element-wise operator of two operands: what the adjoint is multiplied with, before it is gathered. */
const binaryRule =
  (
    local: (graph: GraphBuilder, node: Expression, adjoint: Expression, operand: number) => Expression
  ): Rule =>
  (graph, node, adjoint, operand) =>
    gathered(graph, local(graph, node, adjoint, operand), node.shape, node.inputs[operand].shape)

const one = (graph: GraphBuilder) => graph.constant([1], [1])

const rules: Readonly<Record<string, Rule>> = {
  Identity: (_, __, adjoint) => adjoint,
  Add: binaryRule((_, __, adjoint) => adjoint),
  Sub: binaryRule((graph, _, adjoint, operand) => (operand === 0 ? adjoint : graph.unary("Neg", adjoint))),
  Mul: binaryRule((graph, node, adjoint, operand) => graph.binary("Mul", adjoint, node.inputs[1 - operand])),
  Div: binaryRule((graph, node, adjoint, operand) => {
    const share = graph.binary("Div", adjoint, node.inputs[1])
    return operand === 0 ? share : graph.unary("Neg", graph.binary("Mul", share, node))
  }),
  Neg: (graph, _, adjoint) => graph.unary("Neg", adjoint),
  Exp: (graph, node, adjoint) => graph.binary("Mul", adjoint, node),
  Log: (graph, node, adjoint) => graph.binary("Div", adjoint, node.inputs[0]),
  Sqrt: (graph, node, adjoint) =>
    graph.binary("Div", adjoint, graph.binary("Mul", node, graph.constant([2], [1]))),
  Sigmoid: (graph, node, adjoint) =>
    graph.binary("Mul", adjoint, graph.binary("Sub", node, graph.binary("Mul", node, node))),
  Tanh: (graph, node, adjoint) =>
    graph.binary("Mul", adjoint, graph.binary("Sub", one(graph), graph.binary("Mul", node, node))),
  ReduceSum: (_, __, adjoint) => adjoint,
  Reshape: (graph, node, adjoint) => {
    const { shape } = node.inputs[0]
    return graph.reshape(writtenOut(graph, adjoint, node.shape), lengths(shape), shape)
  },
  Transpose: (graph, _, adjoint) => graph.transpose(adjoint),
  MatMul: (graph, node, adjoint, operand) => {
    const [left, right] = node.inputs
    const [rows, columns] = adjoint.shape
    if (operand === 0) {
      const whole = columns === node.shape[1] ? adjoint : writtenOut(graph, adjoint, [rows, node.shape[1]])
      return graph.matMul(whole, graph.transpose(right))
    }
    const whole = rows === node.shape[0] ? adjoint : writtenOut(graph, adjoint, [node.shape[0], columns])
    return graph.matMul(graph.transpose(left), whole)
  },
  Expand: (graph, node, adjoint) => gathered(graph, adjoint, node.shape, node.inputs[0].shape),
  Slice: (graph, node, adjoint) => {
    const [whole, ...bounds] = node.inputs
    const [from, to, axis] = bounds.map(({ data }) => Number((data as BigInt64Array)[0]))
    const zeros = (length: number) => {
      const shape = lengths(whole.shape).map((size, at) => (at === axis ? length : size))
      return graph.constant(new Float32Array(shape.reduce((product, size) => product * size, 1)), shape)
    }
    const pieces = [from, -1, Number(whole.shape[axis]) - to].flatMap((length) =>
      length < 0 ? [writtenOut(graph, adjoint, node.shape)] : length > 0 ? [zeros(length)] : []
    )
    return graph.concat(pieces, axis)
  },
  Concat: (graph, node, adjoint, operand) => {
    const { axis } = node.attributes as { readonly axis: number }
    const before = node.inputs.slice(0, operand).map((input) => input.shape[axis])
    const from = lengths(before).reduce((sum, size) => sum + size, 0)
    const to = from + Number(node.inputs[operand].shape[axis])
    return graph.slice(writtenOut(graph, adjoint, node.shape), from, to, axis)
  }
}

/** Expressions up to `target` that change when one of `of` does. */
const dependants = (graph: GraphBuilder, target: Expression, of: ReadonlyArray<Expression>) => {
  const found = new Set(of)
  const before = graph.expressions.slice(0, graph.expressions.indexOf(target) + 1)
  for (const expression of before) {
    if (expression.inputs.some((input) => found.has(input))) found.add(expression)
  }
  return before.filter((expression) => found.has(expression))
}

/**
 * Gradients of the sum of `target`'s values by each of `of`, in their shapes; a gradient whose rows are all equal
 * may have one row where the number of rows is open. Throws `NotDifferentiable`.
 */
export const gradients = (
  graph: GraphBuilder,
  target: Expression,
  of: ReadonlyArray<Expression>
): ReadonlyArray<Expression> => {
  const live = dependants(graph, target, of)
  const differentiated = new Set(live)
  const adjoints = new Map<Expression, Expression>()
  const ones = target.shape.map(() => 1)
  adjoints.set(target, graph.constant([1], ones))
  for (const node of live.toReversed()) {
    const adjoint = adjoints.get(node)
    if (adjoint === undefined) continue
    node.inputs.forEach((input, operand) => {
      if (!differentiated.has(input)) return
      const rule = rules[node.op]
      if (rule === undefined) throw new NotDifferentiable(`${node.op} has no gradient`)
      const part = rule(graph, node, adjoint, operand)
      const sum = adjoints.get(input)
      adjoints.set(input, sum === undefined ? part : graph.binary("Add", sum, part))
    })
  }
  return of.map((expression) => {
    const adjoint =
      adjoints.get(expression) ??
      graph.constant(
        [0],
        expression.shape.map(() => 1)
      )
    return expression.shape.every((size) => typeof size === "number")
      ? writtenOut(graph, adjoint, expression.shape)
      : adjoint
  })
}
