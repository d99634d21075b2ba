// Leaves out the training rows that look least like the rest: attacks among them would become normal.
import type { InputColumn } from "./encoder.ts"
import { GraphBuilder } from "./graph.ts"
import { growForest, scoreForest } from "./isolation.ts"
import { scoreGraph } from "./mixture.ts"
import { optimise } from "./network/optimise.ts"
import { meanPotential, scoreMatchingObjective } from "./network/scoreMatching.ts"
import { encode, fitMixture, plainGrain, runGraph } from "./prototypes.ts"
import { makeRandom } from "./random.ts"
import { pick, type Table } from "./session.ts"

/** Prototypes of the first fit, which only has to tell the crowd from the rest. */
const PROTOTYPES = 32

export interface TrimOptions {
  readonly seed: number
  /** Share of the rows to leave out. */
  readonly trim: number
  /** Steps of score matching that help to judge; 0: a coarse mixture does. */
  readonly steps: number
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((done: number, total: number) => void) | undefined
}

const ranks = (scores: ArrayLike<number>): Float64Array => {
  const order = Int32Array.from({ length: scores.length }, (_, at) => at).sort(
    (a, b) => scores[a] - scores[b] || a - b
  )
  const rank = new Float64Array(scores.length)
  order.forEach((row, at) => {
    rank[row] = at
  })
  return rank
}

const potentials = async (encoded: Table, options: TrimOptions): Promise<Float32Array> => {
  const { seed, steps, signal, progress } = options
  const objective = scoreMatchingObjective(encoded.width, steps)
  const parameters = await optimise(encoded, objective, { seed, stream: 40, signal, progress })
  const graph = new GraphBuilder()
  const energy = meanPotential(graph, graph.input("rows", ["n", encoded.width]), parameters)
  const bytes = graph.serialize("potential", [graph.output("energy", energy)])
  return (await runGraph(bytes, encoded, "energy", 1, signal)).rows
}

/**
 * The rows that stay: those with the lowest sum of ranks under a first energy and an isolation forest, in their
 * old order. A coarse mixture, because a fine one gives a knot of attacks a prototype of its own.
 */
export const trimmed = async (
  table: Table,
  inputs: ReadonlyArray<InputColumn>,
  options: TrimOptions
): Promise<Table> => {
  const drop = Math.floor(table.count * options.trim)
  if (drop === 0) return table
  const { seed, signal, progress } = options
  const { encoder, encoded } = await encode(table, inputs, signal)
  const byEnergy = async () => {
    if (options.steps > 0) return potentials(encoded, options)
    const mixture = await fitMixture(encoded, {
      grain: plainGrain(PROTOTYPES),
      seed,
      stream: 1,
      signal,
      progress
    })
    const stage = { encoder, mixture, noveltyLeast: 0 }
    return (await runGraph(scoreGraph(stage), table, "energy", 1, signal)).rows
  }
  const first = ranks(await byEnergy())
  const second = ranks(await scoreForest(growForest(encoded, makeRandom(seed, 2)), encoded))
  const sums = first.map((rank, row) => rank + second[row])
  const order = Int32Array.from({ length: table.count }, (_, at) => at).sort(
    (a, b) => sums[a] - sums[b] || a - b
  )
  return pick(
    table,
    order
      .subarray(0, table.count - drop)
      .slice()
      .sort()
  )
}
