// Energy S: a scalar network whose slope points from noised rows back to where they came from (Vincent 2011; Song and Ermon 2019).
import type { Expression, GraphBuilder } from "../graph.ts"
import { gradients } from "./autodiff.ts"
import {
  affine,
  denseShapes,
  fixedParameters,
  layersOf,
  type ParameterShape,
  perceptron,
  silu
} from "./layers.ts"
import { BATCH, type Objective } from "./optimise.ts"

const HIDDEN = 128
const DECAY = 1e-4
const NOISE_LOW = 0.1
const NOISE_HIGH = 2
/** Noise levels over which the energy is averaged where rows are judged before the fit. */
const LEVELS = [0.1, 0.3, 0.7, 1.5] as const
/** The noise level of the energy that is served: as wide as the rows are. */
const LEVEL = 1

/** The first layer's matrix in two: for the columns, and for log s. */
const shapesOf = (width: number): ReadonlyArray<ParameterShape> => [
  { rows: width, columns: HIDDEN, inputs: width + 1 },
  { rows: 1, columns: HIDDEN, inputs: width + 1 },
  { rows: 1, columns: HIDDEN, inputs: width + 1 },
  ...denseShapes([HIDDEN, HIDDEN, 1])
]

/** g(x / √(1 + s²), log s), [n, 1]; `scaled` is its first argument. */
const potentialAt = (
  graph: GraphBuilder,
  scaled: Expression,
  logLevel: Expression,
  [rows, level, offset, ...rest]: ReadonlyArray<Expression>
): Expression => {
  const start = graph.binary("Add", graph.matMul(logLevel, level), offset)
  const inner = silu(graph, graph.binary("Add", graph.matMul(scaled, rows), start))
  return perceptron(graph, inner, layersOf(rest))
}

/**
 * With x = z + s e, least mean of |s ∇g(x) − e|²: a gradient of a gradient trains it. `extra` holds log s,
 * uniform, so that every scale counts alike.
 */
export const scoreMatchingObjective = (width: number, steps: number): Objective => ({
  shapes: shapesOf(width),
  steps,
  decay: DECAY,
  draw: (random) => Math.log(NOISE_LOW) + random.uniform() * Math.log(NOISE_HIGH / NOISE_LOW),
  loss: (graph, parameters, { z, noise, extra }) => {
    const s = graph.unary("Exp", extra)
    const x = graph.binary("Add", z, graph.binary("Mul", noise, s))
    const spread = graph.binary("Add", graph.binary("Mul", s, s), graph.constant([1], [1]))
    const scaled = graph.binary("Div", x, graph.unary("Sqrt", spread))
    const [slope] = gradients(graph, potentialAt(graph, scaled, extra, parameters), [x])
    const error = graph.binary("Sub", graph.binary("Mul", s, slope), noise)
    const sum = graph.reduceSum(graph.binary("Mul", error, error), [0, 1])
    return graph.binary("Mul", sum, graph.constant([1 / (BATCH * width)], [1]))
  }
})

/** g at one level of noise as a perceptron of the row itself: its first matrix and offset, and the parameters that follow. */
const levelLayer = (width: number, parameters: Float32Array, s: number) => {
  const shrink = 1 / Math.sqrt(1 + s * s)
  const part = (from: number, to: number) => parameters.subarray(from * HIDDEN, to * HIDDEN)
  const [level, offset] = [part(width, width + 1), part(width + 1, width + 2)]
  return {
    matrix: part(0, width).map((value) => shrink * value),
    offset: offset.map((value, unit) => value + Math.log(s) * level[unit]),
    rest: parameters.subarray((width + 2) * HIDDEN)
  }
}

/**
 * Mean of g over the noise levels, [n, 1], without the last offset, which is the same for all rows. The first
 * layer is one product for all levels: four times the multiply-adds of a shared one, but three passes less over
 * what it makes.
 */
export const meanPotential = (graph: GraphBuilder, z: Expression, parameters: Float32Array): Expression => {
  const n = z.shape[0]
  const width = Number(z.shape[1])
  const count = LEVELS.length
  const [, , , ...rest] = fixedParameters(graph, parameters, shapesOf(width))
  const [second, last] = layersOf(rest)
  const valuesOf = ({ data }: Expression) => data as Float32Array
  const wide = new Float32Array(width * count * HIDDEN)
  const starts = new Float32Array(count * HIDDEN)
  const weights = new Float32Array(count * HIDDEN)
  LEVELS.forEach((s, at) => {
    const { matrix, offset } = levelLayer(width, parameters, s)
    for (let unit = 0; unit < HIDDEN; unit++) {
      const to = at * HIDDEN + unit
      for (let row = 0; row < width; row++) wide[row * count * HIDDEN + to] = matrix[row * HIDDEN + unit]
      starts[to] = offset[unit]
      weights[to] = valuesOf(last.matrix)[unit] / count
    }
  })
  const first = {
    matrix: graph.constant(wide, [width, count * HIDDEN]),
    offset: graph.constant(starts, [1, count * HIDDEN])
  }
  const inner = graph.reshape(silu(graph, affine(graph, z, first)), [-1, count, HIDDEN], [n, count, HIDDEN])
  const outer = silu(graph, affine(graph, inner, second))
  const row = graph.reshape(outer, [-1, count * HIDDEN], [n, count * HIDDEN])
  return graph.matMul(row, graph.constant(weights, [count * HIDDEN, 1]))
}

/**
 * g at one level of noise, [n, 1], without the last offset, which is the same for all rows. It is a quarter of the work
 * of the mean over four levels, and tells rows apart as well (decision 0011).
 */
export const potential = (graph: GraphBuilder, z: Expression, parameters: Float32Array): Expression => {
  const width = Number(z.shape[1])
  const { matrix, offset, rest } = levelLayer(width, parameters, LEVEL)
  const known = Float32Array.from([...matrix, ...offset, ...rest])
  known[known.length - 1] = 0
  const shapes = denseShapes([width, HIDDEN, HIDDEN, 1])
  return perceptron(graph, z, layersOf(fixedParameters(graph, known, shapes)))
}

/** Slope of the potential by z, [n, width]. */
export const potentialSlope = (graph: GraphBuilder, z: Expression, parameters: Float32Array): Expression =>
  gradients(graph, potential(graph, z, parameters), [z])[0]

/** Multiply-adds a row. */
export const potentialCost = (width: number): number => HIDDEN * (width + HIDDEN + 1)
