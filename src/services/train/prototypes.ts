// Fits the prototype mixture to feature rows: encode, cluster, and weigh what no row did.
import { quantile } from "./calibrate.ts"
import { type Encoder, fitEncoder, type InputColumn } from "./encoder.ts"
import { cluster } from "./kmeans.ts"
import { encoderGraph, type FirstStage, type Mixture, makeMixture, scoreGraph } from "./mixture.ts"
import { makeRandom } from "./random.ts"
import { openSession, runTable, type Table } from "./session.ts"

const ITERATIONS = 10
/** Rows whose energies say how far apart known rows lie. */
const KNOWN_ROWS_MAX = 3_000

/** Nothing varies in these rows, so there is nothing to learn a density from. */
export class NothingVaries extends Error {}

/** Runs a graph with one float output of `width` values a row over a table. */
export const runGraph = async (
  graph: Uint8Array,
  table: Table,
  output: string,
  width: number,
  signal?: AbortSignal
): Promise<Table> => {
  const session = await openSession(graph)
  try {
    return await runTable(session, table, output, width, signal)
  } finally {
    await session.release()
  }
}

/** Rows in model space, and how they came there. Throws `NothingVaries`. */
export const encode = async (
  table: Table,
  inputs: ReadonlyArray<InputColumn>,
  signal?: AbortSignal
): Promise<{ readonly encoder: Encoder; readonly encoded: Table }> => {
  const encoder = fitEncoder(table, inputs)
  const width = encoder.columns.length
  if (width === 0) throw new NothingVaries("every column holds one value")
  return { encoder, encoded: await runGraph(encoderGraph(encoder), table, "encoded", width, signal) }
}

/** How finely prototypes tell rows apart. */
export interface Grain {
  readonly prototypesMax: number
  /** Fewer prototypes than the most where rows are fewer than this for each. */
  readonly rowsEach: number
  /** Least variance, in squared spreads: finer structure than its root is not seen. */
  readonly varianceFloor: number
}

const ROWS_EACH = 8
const VARIANCE_FLOOR = 1e-3

/** At most this many prototypes, of eight rows or more each. */
export const plainGrain = (prototypesMax: number): Grain => ({
  prototypesMax,
  rowsEach: ROWS_EACH,
  varianceFloor: VARIANCE_FLOOR
})

/** Prototypes at 41 columns, and the most of them at fewer columns for the same cost. */
const PROTOTYPES = 512
const PROTOTYPES_MAX = 1_024
/** Multiply-adds a prototype costs beside its columns'; see `costPerRow`. */
const PROTOTYPE_COST = 22
const COST_COLUMNS = 41
const ROWS_EACH_MIN = 4

/**
 * As fine as the rows bear and the cost allows. Rows that fill few columns lie close, n^(−1/width) of the way apart:
 * the floor is a quarter of that where this is less than usual, a centre of few columns is told by fewer rows, and
 * more prototypes cost no more.
 */
export const grainOf = (rows: number, width: number): Grain => ({
  prototypesMax: Math.min(
    PROTOTYPES_MAX,
    Math.max(
      PROTOTYPES,
      Math.round((PROTOTYPES * (COST_COLUMNS + PROTOTYPE_COST)) / (width + PROTOTYPE_COST))
    )
  ),
  rowsEach: Math.min(ROWS_EACH, Math.max(ROWS_EACH_MIN, width)),
  varianceFloor: Math.min(VARIANCE_FLOOR, rows ** (-2 / width) / 16)
})

export const fitMixture = async (
  encoded: Table,
  options: {
    readonly grain: Grain
    readonly seed: number
    /** Names the draws of this fit among those of the seed. */
    readonly stream: number
    readonly signal?: AbortSignal | undefined
    readonly progress?: ((done: number, total: number) => void) | undefined
  }
): Promise<Mixture> => {
  const { prototypesMax, rowsEach, varianceFloor } = options.grain
  const wanted = Math.max(1, Math.min(prototypesMax, Math.floor(encoded.count / rowsEach)))
  const clusters = await cluster(encoded, wanted, makeRandom(options.seed, options.stream), {
    iterations: ITERATIONS,
    signal: options.signal,
    progress: options.progress
  })
  return makeMixture(clusters, encoded.width, varianceFloor)
}

/**
 * What a novelty adds at least to the first stage's energy: what n rows say of something that none of them did, and
 * as much as lies between the middle and the highest hundredth of the fitted rows' energies. They do nothing new, so their energies say how far apart known rows lie. Not
 * the held-back rows': those hold the trimmed share, and with their spread one new value outweighs every other sign.
 */
export const firstStage = async (
  encoder: Encoder,
  mixture: Mixture,
  kept: Table,
  signal?: AbortSignal
): Promise<FirstStage> => {
  const stage = { encoder, mixture, noveltyLeast: 0 }
  const some = { ...kept, count: Math.min(kept.count, KNOWN_ROWS_MAX) }
  const energies = (await runGraph(scoreGraph(stage), some, "energy", 1, signal)).rows.sort()
  const spread = quantile(energies, 0.99) - quantile(energies, 0.5)
  return { ...stage, noveltyLeast: Math.max(Math.log(kept.count + 1), spread) }
}
