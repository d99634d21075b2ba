// k-means (Lloyd 1982) seeded by k-means++ (Arthur and Vassilvitskii 2007); distances run as matrix products.
import * as ort from "onnxruntime-node"
import { GraphBuilder } from "./graph.ts"
import type { Random } from "./random.ts"
import { breathe, openSession, runSlices, type Table } from "./session.ts"

export interface Clusters {
  readonly count: number
  /** count × width. */
  readonly centres: Float32Array
  /** Rows of each cluster. */
  readonly sizes: Float64Array
  /** Sum over a cluster's rows of the squared distance to its centre. */
  readonly spreads: Float64Array
}

/** Rows that the seeding looks at. */
const SEED_ROWS_MAX = 8_192

const squaredDistance = (
  rows: Float32Array,
  row: number,
  centres: Float32Array,
  centre: number,
  width: number
) => {
  let sum = 0
  for (let column = 0, a = row * width, b = centre * width; column < width; column++, a++, b++) {
    const difference = rows[a] - centres[b]
    sum += difference * difference
  }
  return sum
}

const seedCentres = async (table: Table, count: number, random: Random): Promise<Float32Array> => {
  const { width } = table
  const size = Math.min(table.count, SEED_ROWS_MAX)
  const chosen = Int32Array.from({ length: size }, (_, at) =>
    size === table.count ? at : random.below(table.count)
  )
  const centres = new Float32Array(count * width)
  const nearest = new Float64Array(size).fill(Number.POSITIVE_INFINITY)
  let pick = chosen[random.below(size)]
  for (let centre = 0; centre < count; centre++) {
    centres.set(table.rows.subarray(pick * width, (pick + 1) * width), centre * width)
    let total = 0
    for (let at = 0; at < size; at++) {
      const distance = squaredDistance(table.rows, chosen[at], centres, centre, width)
      if (distance < nearest[at]) nearest[at] = distance
      total += nearest[at]
    }
    // With fewer distinct rows than centres the rest fall on one place; empty clusters are dropped later.
    let left = random.uniform() * total
    let at = 0
    while (at < size - 1 && left >= nearest[at]) left -= nearest[at++]
    pick = chosen[at]
    if (centre % 16 === 0) await breathe()
  }
  return centres
}

/** rows [n, width], centres [width, K], halves [1, K] → x·c − |c|²/2 [n, K]: largest at the nearest centre. */
const nearnessGraph = (width: number, count: number) => {
  const graph = new GraphBuilder()
  const rows = graph.input("rows", ["n", width])
  const centres = graph.input("centres", [width, count])
  const halves = graph.input("halves", [1, count])
  const nearness = graph.binary("Sub", graph.matMul(rows, centres), halves)
  return graph.serialize("nearness", [graph.output("nearness", nearness)])
}

const transposed = (centres: Float32Array, count: number, width: number) => {
  const columns = new Float32Array(width * count)
  const halves = new Float32Array(count)
  for (let centre = 0; centre < count; centre++) {
    let squares = 0
    for (let column = 0; column < width; column++) {
      const value = centres[centre * width + column]
      columns[column * count + centre] = value
      squares += value * value
    }
    halves[centre] = squares / 2
  }
  return { columns, halves }
}

/**
 * Clusters a table. Deterministic for a seed. The counts and spreads belong to the last assignment, the
 * centres are the means of its clusters; empty clusters are dropped.
 */
export const cluster = async (
  table: Table,
  wanted: number,
  random: Random,
  options: {
    readonly iterations: number
    readonly signal?: AbortSignal | undefined
    readonly progress?: ((done: number, total: number) => void) | undefined
  }
): Promise<Clusters> => {
  const { rows, count, width } = table
  const session = await openSession(nearnessGraph(width, wanted))
  try {
    let centres = await seedCentres(table, wanted, random)
    const assigned = new Int32Array(count)
    for (let iteration = 0; iteration < options.iterations; iteration++) {
      const { columns, halves } = transposed(centres, wanted, width)
      const feeds = {
        centres: new ort.Tensor("float32", columns, [width, wanted]),
        halves: new ort.Tensor("float32", halves, [1, wanted])
      }
      const take = (outputs: ort.InferenceSession.OnnxValueMapType, from: number, size: number) => {
        const nearness = outputs["nearness"].data as Float32Array
        for (let row = 0; row < size; row++) {
          let best = 0
          const base = row * wanted
          for (let centre = 1; centre < wanted; centre++) {
            if (nearness[base + centre] > nearness[base + best]) best = centre
          }
          assigned[from + row] = best
        }
      }
      const done = iteration
      await runSlices(session, "rows", table, take, {
        feeds,
        signal: options.signal,
        progress: (at, total) => options.progress?.(done * total + at, options.iterations * total)
      })
      centres = means(table, assigned, wanted, centres)
    }
    return summarise(rows, count, width, assigned, centres, wanted)
  } finally {
    await session.release()
  }
}

const means = ({ rows, count, width }: Table, assigned: Int32Array, wanted: number, before: Float32Array) => {
  const sums = new Float64Array(wanted * width)
  const sizes = new Float64Array(wanted)
  for (let row = 0; row < count; row++) {
    const to = assigned[row] * width
    sizes[assigned[row]]++
    for (let column = 0; column < width; column++) sums[to + column] += rows[row * width + column]
  }
  const centres = Float32Array.from(before)
  for (let centre = 0; centre < wanted; centre++) {
    if (sizes[centre] === 0) continue
    for (let at = centre * width; at < (centre + 1) * width; at++) centres[at] = sums[at] / sizes[centre]
  }
  return centres
}

const summarise = (
  rows: Float32Array,
  count: number,
  width: number,
  assigned: Int32Array,
  centres: Float32Array,
  wanted: number
): Clusters => {
  const sizes = new Float64Array(wanted)
  const spreads = new Float64Array(wanted)
  for (let row = 0; row < count; row++) {
    sizes[assigned[row]]++
    spreads[assigned[row]] += squaredDistance(rows, row, centres, assigned[row], width)
  }
  const kept = Array.from({ length: wanted }, (_, at) => at).filter((at) => sizes[at] > 0)
  const packed = new Float32Array(kept.length * width)
  kept.forEach((from, to) => {
    packed.set(centres.subarray(from * width, (from + 1) * width), to * width)
  })
  return {
    count: kept.length,
    centres: packed,
    sizes: Float64Array.from(kept, (at) => sizes[at]),
    spreads: Float64Array.from(kept, (at) => spreads[at])
  }
}
