// Trains a network on ONNX Runtime: one graph is one optimiser step, parameters in, parameters out.
import * as ort from "onnxruntime-node"
import { type Expression, GraphBuilder } from "../graph.ts"
import { makeRandom, type Random } from "../random.ts"
import { breathe, openSession, type Table } from "../session.ts"
import { adamw, STEP_NUMBERS, scheduleStep } from "./adamw.ts"
import { gradients } from "./autodiff.ts"
import { joined, type ParameterShape, parameterCount, parametersIn, startParameters } from "./layers.ts"

/** Rows drawn for one step. */
export const BATCH = 256
/** Least number of normal draws kept; a step takes a run of them from a random place. */
const NOISE_POOL = 1 << 20
/** Steps between turns for other work on this thread: some ten milliseconds. */
const STEPS_PER_BREATH = 16
const RATE = 1e-3

/** What training minimises. */
export interface Objective {
  readonly shapes: ReadonlyArray<ParameterShape>
  readonly steps: number
  /** AdamW's weight decay. */
  readonly decay: number
  /** A number that each row of a batch gets beside its noise; 0 without it. */
  readonly draw?: (random: Random) => number
  /** z, noise: [256, width], extra: [256, 1], parameters in their shapes. Answers the loss, [1, 1]. */
  readonly loss: (
    graph: GraphBuilder,
    parameters: ReadonlyArray<Expression>,
    batch: { readonly z: Expression; readonly noise: Expression; readonly extra: Expression }
  ) => Expression
}

export interface OptimiseOptions {
  readonly seed: number
  /** Names the draws of this network among those of the seed; the two that follow are its own, too. */
  readonly stream: number
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((done: number, total: number) => void) | undefined
}

const stateNames = ["parameters", "first", "second"] as const

/**
 * One step as a graph: forward, backward, AdamW. Inputs: the state's three vectors, a batch (`z`, `noise`,
 * `extra`) and `numbers` as `scheduleStep` fills them in; outputs: the state after it.
 */
export const stepGraph = (objective: Objective, width: number): Uint8Array => {
  const graph = new GraphBuilder()
  const size = parameterCount(objective.shapes)
  const [parameters, first, second] = stateNames.map((name) => graph.input(name, [size]))
  const batch = {
    z: graph.input("z", [BATCH, width]),
    noise: graph.input("noise", [BATCH, width]),
    extra: graph.input("extra", [BATCH, 1])
  }
  const numbers = graph.input("numbers", [STEP_NUMBERS])
  const matrices = parametersIn(graph, parameters, objective.shapes)
  const loss = objective.loss(graph, matrices, batch)
  const slope = joined(graph, gradients(graph, loss, matrices))
  const next = adamw(graph, { parameters, first, second }, slope, numbers)
  return graph.serialize(
    "step",
    stateNames.map((name) => graph.output(`${name}_next`, next[name]))
  )
}

/** The batches of one training, from one seed. The arrays of a batch are written anew for the next. */
class Batches {
  private readonly random: Random
  private readonly pool: Float32Array
  private readonly z: Float32Array
  private readonly extra = new Float32Array(BATCH)
  private readonly numbers = new Float32Array(STEP_NUMBERS)
  private readonly table: Table
  private readonly objective: Objective

  constructor(table: Table, objective: Objective, { seed, stream }: OptimiseOptions) {
    this.table = table
    this.objective = objective
    this.random = makeRandom(seed, stream)
    this.z = new Float32Array(BATCH * table.width)
    this.pool = new Float32Array(Math.max(NOISE_POOL, 4 * this.z.length))
    const normals = makeRandom(seed, stream + 1)
    for (let at = 0; at < this.pool.length; at++) this.pool[at] = normals.normal()
  }

  feeds(step: number): Record<string, ort.Tensor> {
    const { width, rows, count } = this.table
    const { random, objective, pool, z } = this
    for (let row = 0; row < BATCH; row++) {
      const from = random.below(count) * width
      z.set(rows.subarray(from, from + width), row * width)
      if (objective.draw !== undefined) this.extra[row] = objective.draw(random)
    }
    const place = random.below(pool.length - z.length)
    scheduleStep(step, objective.steps, { rate: RATE, decay: objective.decay }, this.numbers)
    return {
      z: new ort.Tensor("float32", z, [BATCH, width]),
      noise: new ort.Tensor("float32", pool.subarray(place, place + z.length), [BATCH, width]),
      extra: new ort.Tensor("float32", this.extra, [BATCH, 1]),
      numbers: new ort.Tensor("float32", this.numbers, [STEP_NUMBERS])
    }
  }
}

/**
 * Trains on encoded rows; answers the parameters as one vector. Equal table, objective and seed give equal bits
 * on one machine. Throws the signal's reason.
 */
export const optimise = async (
  table: Table,
  objective: Objective,
  options: OptimiseOptions
): Promise<Float32Array> => {
  const { signal, progress, seed, stream } = options
  const start = startParameters(objective.shapes, makeRandom(seed, stream + 2))
  const vector = (data: Float32Array): ort.Tensor => new ort.Tensor("float32", data, [data.length])
  let state = [start, new Float32Array(start.length), new Float32Array(start.length)].map(vector)
  const batches = new Batches(table, objective, options)
  const session = await openSession(stepGraph(objective, table.width))
  try {
    for (let step = 0; step < objective.steps; step++) {
      const named = Object.fromEntries(stateNames.map((name, at) => [name, state[at]]))
      const answer = await session.run({ ...named, ...batches.feeds(step) })
      state = stateNames.map((name) => answer[`${name}_next`] as ort.Tensor)
      if (step % STEPS_PER_BREATH > 0) continue
      signal?.throwIfAborted()
      progress?.(step, objective.steps)
      await breathe()
    }
  } finally {
    await session.release()
  }
  return state[0].data as Float32Array
}
