// Do reasons name what is odd? One or two features of normal rows are moved far away; which does the explanation name?
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { makeRandom } from "../src/services/train/random.ts"
import { groundstate } from "./program.ts"

const ROWS = 300
/** How far a feature is moved, in its standard deviations. */
const SPREADS = 6
const NAMED = 2

export interface Reasons {
  /** Share of rows in which a moved feature is among the first two, where one is moved and where two are. */
  readonly one: number
  readonly two: number
}

interface Explained {
  readonly row: number
  readonly contributions: ReadonlyArray<{ readonly feature: string }>
}

const spreadsOf = (rows: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> =>
  rows[0].map((_, column) => {
    const values = rows.map((row) => row[column])
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
  })

/** `test`: numbers as CSV with a header. Moves features of its first rows and asks `score --explain`. */
export const measureReasons = async (
  test: string,
  model: string,
  folder: string,
  seed: number
): Promise<Reasons> => {
  const [header, ...lines] = test.trim().split("\n")
  const names = header.split(",")
  const rows = lines.map((line) => line.split(",").map(Number))
  const spreads = spreadsOf(rows)
  const varying = names.flatMap((_, column) => (spreads[column] > 0 ? [column] : []))
  const random = makeRandom(seed, 77)
  const shareNamed = async (changes: number) => {
    const moved: Array<ReadonlySet<string>> = []
    const changed = rows.slice(0, ROWS).map((row) => {
      const values = [...row]
      const columns = new Set<number>()
      while (columns.size < Math.min(changes, varying.length))
        columns.add(varying[random.below(varying.length)])
      for (const column of columns)
        values[column] += (random.below(2) === 0 ? -1 : 1) * SPREADS * spreads[column]
      moved.push(new Set([...columns].map((column) => names[column])))
      return values.join(",")
    })
    const [input, output, why] = ["moved.csv", "moved.out.csv", "why.jsonl"].map((name) => join(folder, name))
    writeFileSync(input, `${header}\n${changed.join("\n")}\n`)
    await groundstate(
      ...["score", "--model", model, "--input", input, "--output", output],
      ...["--explain", why, "--alert-share", "1", "-o", "json"]
    )
    const explained = readFileSync(why, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Explained)
    const named = explained.filter(({ row, contributions }) =>
      contributions.slice(0, NAMED).some(({ feature }) => moved[row - 1].has(feature))
    )
    return named.length / changed.length
  }
  return { one: await shareNamed(1), two: await shareNamed(2) }
}
