// AdamW (Loshchilov and Hutter 2019) as nodes of a graph, on one vector that holds every parameter.
import type { Expression, GraphBuilder } from "../graph.ts"

const FIRST = 0.9
const SECOND = 0.999
const EPSILON = 1e-8

/** Parameters and moving averages of their gradient and of its square, [size] each. */
export interface OptimiserState {
  readonly parameters: Expression
  readonly first: Expression
  readonly second: Expression
}

/** Numbers of one step that depend on its place in the schedule alone: decay, rate, floor. */
export const STEP_NUMBERS = 3

/**
 * Fills in step `step` of `steps` (from 0): what a parameter keeps after weight decay, the learning rate, and
 * the least denominator, the averages' corrections for their start at zero worked in. Half cosine from `rate` to 0.
 */
export const scheduleStep = (
  step: number,
  steps: number,
  { rate, decay }: { readonly rate: number; readonly decay: number },
  into: Float32Array
): void => {
  const now = (rate * (1 + Math.cos((Math.PI * step) / steps))) / 2
  const second = Math.sqrt(1 - SECOND ** (step + 1))
  into[0] = 1 - now * decay
  into[1] = (now * second) / (1 - FIRST ** (step + 1))
  into[2] = EPSILON * second
}

/** The state after one step. `gradient`: [size]; `numbers`: [3], as `scheduleStep` fills them in. */
export const adamw = (
  graph: GraphBuilder,
  state: OptimiserState,
  gradient: Expression,
  numbers: Expression
): OptimiserState => {
  const fixed = (value: number) => graph.constant([value], [1])
  const mixed = (before: Expression, weight: number, now: Expression) =>
    graph.binary(
      "Add",
      graph.binary("Mul", before, fixed(weight)),
      graph.binary("Mul", now, fixed(1 - weight))
    )
  const [decay, rate, floor] = [0, 1, 2].map((at) => graph.slice(numbers, at, at + 1, 0))
  const first = mixed(state.first, FIRST, gradient)
  const second = mixed(state.second, SECOND, graph.binary("Mul", gradient, gradient))
  const step = graph.binary("Div", first, graph.binary("Add", graph.unary("Sqrt", second), floor))
  const parameters = graph.binary(
    "Sub",
    graph.binary("Mul", state.parameters, decay),
    graph.binary("Mul", step, rate)
  )
  return { parameters, first, second }
}
