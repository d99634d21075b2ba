// Detection quality on labelled sets beside the repository; says so and passes where they are absent.
import { existsSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { readNpz } from "../../../bench/npz.ts"
import { measure } from "../../../src/services/train/evaluate.ts"
import { openSession, runTable, type Table } from "../../../src/services/train/session.ts"
import { trainDefaults, trainModel } from "../../../src/services/train/trainModel.ts"

const folder = join(import.meta.dirname, "../../../../shared/data/adbench")
const present = existsSync(folder)

const rocOf = async (file: string): Promise<number> => {
  const members = readNpz(join(folder, file))
  const { shape, values } = members.get("X") as { shape: ReadonlyArray<number>; values: Float64Array }
  const labels = (members.get("y") as { values: Float64Array }).values
  const width = shape[1]
  const all = Array.from(labels, (_, row) => row)
  const normal = all.filter((row) => labels[row] !== 1)
  const half = normal.length >> 1
  const tested = [...normal.slice(half), ...all.filter((row) => labels[row] === 1)]
  const table = (rows: ReadonlyArray<number>): Table => ({
    rows: Float32Array.from(rows.flatMap((row) => [...values.subarray(row * width, (row + 1) * width)])),
    count: rows.length,
    width
  })
  const inputs = Array.from({ length: width }, () => ({ kind: "number", log: false }) as const)
  const trained = await trainModel(table(normal.slice(0, half)), inputs, {
    ...trainDefaults,
    energy: "fast"
  })
  const session = await openSession(trained.graphs[0].score)
  const energies = (await runTable(session, table(tested), "energy", 1)).rows
  await session.release()
  const truth = tested.map((row) => labels[row])
  return measure(energies, truth, truth).rocAuc
}

describe.skipIf(!present)(
  `detection on sets in ../shared/data${present ? "" : " (absent, not measured)"}`,
  () => {
    // Isolation forest, published protocol: pendigits .960, mnist .865, annthyroid .912.
    it.each([
      ["28_pendigits.npz", 0.98],
      ["24_mnist.npz", 0.9],
      ["2_annthyroid.npz", 0.88]
    ])("%s: ROC above %f", async (file, bar) => {
      expect(await rocOf(file)).toBeGreaterThan(bar)
    })
  }
)
