// Tables with known structure: correlated and independent numbers, heavy tails, categories; and rows with known changes.
import type { InputColumn } from "../../src/services/train/encoder.ts"
import { makeRandom } from "../../src/services/train/random.ts"
import type { Table } from "../../src/services/train/session.ts"

const KINDS = ["correlated", "correlated", "heavy", "category", "correlated", "independent", "heavy"] as const
const GROUPS = 3
const FACTORS = 3
const LEVELS = 4

export interface GeneratedTable {
  readonly width: number
  readonly inputs: ReadonlyArray<InputColumn>
  /** Rows of one stream of draws; equal streams give equal rows. */
  readonly rows: (count: number, stream: number) => Table
  /** Changes so many features of each row, in place, and answers which. */
  readonly change: (table: Table, features: number, stream: number) => ReadonlyArray<ReadonlyArray<number>>
}

/**
 * Rows come in three groups. Correlated columns follow three hidden factors and their group, heavy ones their
 * exponential, a category is its group's in 97 of 100 rows. A change sets a category to one never seen, a heavy
 * number 400 times as high or low, a correlated one to what another row has at least two deviations away, or any
 * number four to seven deviations beside what it was.
 */
export const generatedTable = (width: number, seed: number): GeneratedTable => {
  const world = makeRandom(seed, 50)
  const kinds = Array.from({ length: width }, (_, at) => KINDS[at % KINDS.length])
  const columns = kinds.map(() => ({
    loads: Array.from({ length: FACTORS }, () => world.normal()),
    shifts: Array.from({ length: GROUPS }, () => 1.5 * world.normal()),
    levels: Array.from({ length: GROUPS }, () => world.below(LEVELS)),
    unit: 10 ** (4 * world.uniform() - 2)
  }))
  const rows = (count: number, stream: number): Table => {
    const random = makeRandom(seed, 60 + stream)
    const values = new Float32Array(count * width)
    for (let row = 0; row < count; row++) {
      const group = random.below(GROUPS)
      const factors = Array.from({ length: FACTORS }, () => random.normal())
      columns.forEach(({ loads, shifts, levels, unit }, column) => {
        const mixed = loads.reduce((sum, load, at) => sum + load * factors[at], 0)
        const draw = {
          correlated: () => unit * (mixed + shifts[group] + 0.3 * random.normal()),
          heavy: () => Math.exp(3 + mixed + 0.4 * random.normal()),
          category: () => (random.uniform() < 0.97 ? levels[group] : random.below(LEVELS)),
          independent: () => unit * random.normal()
        }[kinds[column]]
        values[row * width + column] = draw()
      })
    }
    return { rows: values, count, width }
  }
  const change = (table: Table, features: number, stream: number) => {
    const random = makeRandom(seed, 90 + stream)
    const before = table.rows.slice()
    const deviations = kinds.map((_, column) => {
      const values = Array.from({ length: table.count }, (_, row) => before[row * width + column])
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length
      return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
    })
    const sign = () => (random.below(2) === 0 ? -1 : 1)
    return Array.from({ length: table.count }, (_, row) => {
      const chosen = new Set<number>()
      while (chosen.size < features) chosen.add(random.below(width))
      for (const column of chosen) {
        const at = row * width + column
        const deviation = deviations[column]
        if (kinds[column] === "category") table.rows[at] = -1
        else if (kinds[column] === "heavy") table.rows[at] *= Math.exp(6 * sign())
        else if (kinds[column] === "correlated" && random.below(2) === 0) {
          const others = [...before.keys()].filter(
            (other) => other % width === column && Math.abs(before[other] - before[at]) >= 2 * deviation
          )
          table.rows[at] = before[others[random.below(others.length)]]
        } else table.rows[at] += sign() * (4 + 3 * random.uniform()) * deviation
      }
      return [...chosen]
    })
  }
  const inputs = kinds.map((kind) => ({
    kind: kind === "category" ? ("category" as const) : ("number" as const),
    log: kind === "heavy"
  }))
  return { width, inputs, rows, change }
}
