// What an energy promises: as many false alarms as asked for, and reasons that name what is odd.
import { Tensor } from "onnxruntime-node"
import { beforeAll, describe, expect, it } from "vitest"
import { falseAlarmInterval } from "../../../bench/falseAlarms.ts"
import { fitTail, pvalueOf, quantile } from "../../../src/services/train/calibrate.ts"
import { crossFitted, fitCurves, fusedEnergies, MEMBERS } from "../../../src/services/train/fusion.ts"
import { runGraph } from "../../../src/services/train/prototypes.ts"
import { makeRandom, type Random } from "../../../src/services/train/random.ts"
import { openSession } from "../../../src/services/train/session.ts"
import { type TrainedModel, trainDefaults, trainModel } from "../../../src/services/train/trainModel.ts"
import { generatedTable } from "../../support/generatedTable.ts"

const draws: Readonly<Record<string, (random: Random) => number>> = {
  normal: (random) => random.normal(),
  exponential: (random) => -Math.log(1 - random.uniform()),
  "heavy-tailed": (random) => (1 - random.uniform()) ** -0.4,
  tied: (random) => Math.round(2 * random.normal())
}

/** Columns of the rows that the energies are of. */
const WIDTH = 10

describe("p-values on fresh rows like those that calibrate", () => {
  it.each(Object.keys(draws).flatMap((shape) => [120, 400, 3_000].map((count) => [shape, count] as const)))(
    "hold for fused energies, %s, %d calibration rows",
    (shape, count) => {
      const draw = draws[shape]
      const models = count < 1_000 ? 60 : 10
      const fresh = 1_000
      const alarms = { 0.01: 0, 0.001: 0 }
      for (let model = 0; model < models; model++) {
        const random = makeRandom(model + 1, 7)
        // Members that agree in part, as energies of one row do.
        const members = (rows: number) =>
          Float32Array.from({ length: rows }, () => draw(random)).reduce(
            (into, shared, row) => {
              for (let member = 0; member < MEMBERS; member++)
                into[row * MEMBERS + member] = (member < 2 ? shared : 0) + draw(random) / 2
              return into
            },
            new Float32Array(rows * MEMBERS)
          )
        const held = members(count)
        const calibration = fitTail(crossFitted(held, WIDTH))
        for (const energy of fusedEnergies(fitCurves(held, WIDTH), members(fresh))) {
          const p = pvalueOf(calibration, energy)
          if (p <= 0.01) alarms[0.01]++
          if (p <= 0.001) alarms[0.001]++
        }
      }
      for (const share of [0.01, 0.001] as const) {
        const rate = alarms[share] / (models * fresh)
        // Each model's own rate is a draw with the deviation of its k-th highest energy.
        const deviation = Math.sqrt(share / (models * count) + share / (models * fresh))
        expect(rate, `at ${share}`).toBeLessThan(share + 3.3 * deviation)
      }
      if (count >= 400 && shape !== "tied") expect(alarms[0.01] / (models * fresh)).toBeGreaterThan(0.007)
    }
  )

  it("have the interval that exchangeable rows give", () => {
    const random = makeRandom(12)
    const { low, high } = falseAlarmInterval(0.01, 400, 1_000)
    let outside = 0
    for (let time = 0; time < 1_000; time++) {
      const calibration = fitTail(Float64Array.from({ length: 400 }, () => random.uniform()))
      let alarms = 0
      for (let row = 0; row < 1_000; row++) if (pvalueOf(calibration, random.uniform()) <= 0.01) alarms++
      if (alarms < low || alarms > high) outside++
    }
    expect(outside).toBeLessThan(25)
  })
})

describe.each([
  [12, 1],
  [30, 2]
])("a model of %d generated columns", (width, seed) => {
  const world = generatedTable(width, seed)
  let trained: TrainedModel
  beforeAll(async () => {
    trained = await trainModel(world.rows(3_000, 1), world.inputs, {
      ...trainDefaults,
      seed,
      autoencoderSteps: 1_200,
      scoreMatchingSteps: 600
    })
  })

  it("alarms on fresh rows within the interval of its nominal rate", async () => {
    const fresh = world.rows(6_000, 2)
    for (const { step, score, calibration } of trained.graphs) {
      const energies = (await runGraph(score, fresh, "energy", 1)).rows
      for (const share of [0.01, 0.001]) {
        const alarms = energies.filter((energy) => pvalueOf(calibration, energy) <= share).length
        const { low, high } = falseAlarmInterval(share, calibration.energies.length, fresh.count)
        expect(alarms, `${step} at ${share}`).toBeLessThanOrEqual(high)
        expect(alarms, `${step} at ${share}`).toBeGreaterThanOrEqual(low)
      }
    }
  })

  it.each([1, 2])("names a changed feature among the first two, %d changed", async (changes) => {
    const count = 500
    const table = world.rows(count, 3)
    const changed = world.change(table, changes, changes)
    for (const { step, explain, calibration } of trained.graphs) {
      const session = await openSession(explain as Uint8Array)
      const answer = await session.run({ rows: new Tensor("float32", table.rows, [count, width]) })
      await session.release()
      const energy = answer["energy"].data as Float32Array
      const contributions = answer["contributions"].data as Float32Array
      const median = quantile(calibration.energies, 0.5)
      let named = 0
      changed.forEach((features, row) => {
        const shares = [...contributions.subarray(row * width, (row + 1) * width)]
        const above = energy[row] - median
        const sum = shares.reduce((total, share) => total + share, 0)
        expect(Math.abs(sum - above)).toBeLessThan(1e-3)
        const first = shares.map((_, at) => at).sort((a, b) => shares[b] - shares[a])
        if (features.some((feature) => first.slice(0, 2).includes(feature))) named++
      })
      expect(named / count, step).toBeGreaterThanOrEqual(0.9)
    }
  })
})
