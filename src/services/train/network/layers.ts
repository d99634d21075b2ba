// Dense layers: how their parameters lie in one vector, how they start, and what they compute.
import type { Expression, GraphBuilder } from "../graph.ts"
import type { Random } from "../random.ts"

/** One matrix of a network; `inputs` is how many numbers each of its outputs sums up, for the start. */
export interface ParameterShape {
  readonly rows: number
  readonly columns: number
  readonly inputs: number
}

/** A matrix [inputs, outputs] and a row of offsets [1, outputs]. */
export interface Layer {
  readonly matrix: Expression
  readonly offset: Expression
}

/** Matrix and offset of each layer between these lengths: [40, 128, 1] is two layers. */
export const denseShapes = (sizes: ReadonlyArray<number>): ReadonlyArray<ParameterShape> =>
  sizes.slice(1).flatMap((columns, at) => [
    { rows: sizes[at], columns, inputs: sizes[at] },
    { rows: 1, columns, inputs: sizes[at] }
  ])

export const parameterCount = (shapes: ReadonlyArray<ParameterShape>): number =>
  shapes.reduce((sum, { rows, columns }) => sum + rows * columns, 0)

/** Uniform within ±1/√inputs, offsets too, as LeCun (1998) has it; one matrix after the other in one vector. */
export const startParameters = (shapes: ReadonlyArray<ParameterShape>, random: Random): Float32Array => {
  const values = new Float32Array(parameterCount(shapes))
  let at = 0
  for (const { rows, columns, inputs } of shapes) {
    const end = at + rows * columns
    while (at < end) values[at++] = (2 * random.uniform() - 1) / Math.sqrt(inputs)
  }
  return values
}

const parts = <A>(
  shapes: ReadonlyArray<ParameterShape>,
  take: (from: number, to: number, shape: readonly [number, number]) => A
): ReadonlyArray<A> => {
  let to = 0
  return shapes.map(({ rows, columns }) => {
    const from = to
    to += rows * columns
    return take(from, to, [rows, columns])
  })
}

/** The matrices as parts of a vector that the graph is given. */
export const parametersIn = (
  graph: GraphBuilder,
  vector: Expression,
  shapes: ReadonlyArray<ParameterShape>
): ReadonlyArray<Expression> =>
  parts(shapes, (from, to, shape) => graph.reshape(graph.slice(vector, from, to, 0), shape, shape))

/** The matrices as constants: trained, for serving. */
export const fixedParameters = (
  graph: GraphBuilder,
  values: Float32Array,
  shapes: ReadonlyArray<ParameterShape>
): ReadonlyArray<Expression> =>
  parts(shapes, (from, to, shape) => graph.constant(values.subarray(from, to), shape))

/** One vector of all the matrices' values, in their order. */
export const joined = (graph: GraphBuilder, matrices: ReadonlyArray<Expression>): Expression =>
  graph.concat(
    matrices.map((value) => {
      const size = Number(value.shape[0]) * Number(value.shape[1])
      return graph.reshape(value, [size], [size])
    }),
    0
  )

/** Matrices and offsets in turn, as layers. */
export const layersOf = (matrices: ReadonlyArray<Expression>): ReadonlyArray<Layer> =>
  Array.from({ length: matrices.length / 2 }, (_, at) => ({
    matrix: matrices[2 * at],
    offset: matrices[2 * at + 1]
  }))

export const affine = (graph: GraphBuilder, value: Expression, { matrix, offset }: Layer): Expression =>
  graph.binary("Add", graph.matMul(value, matrix), offset)

/** SiLU: x · sigmoid(x) (Elfwing, Uchibe and Doya 2018). */
export const silu = (graph: GraphBuilder, value: Expression): Expression =>
  graph.binary("Mul", value, graph.unary("Sigmoid", value))

/** All layers, SiLU between them. */
export const perceptron = (
  graph: GraphBuilder,
  value: Expression,
  layers: ReadonlyArray<Layer>
): Expression =>
  layers.reduce((inner, layer, at) => affine(graph, at === 0 ? inner : silu(graph, inner), layer), value)
