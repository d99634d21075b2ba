// Two stages: as many false alarms as asked for, one scale, and a gate that looks at nothing but the value.
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { Manifest } from "../../../src/schema/model/Manifest.ts"
import { makeCalibration } from "../../../src/services/decide/conformal.ts"
import {
  deepEnergy,
  gatherSuspects,
  makeStages,
  makeSuspects,
  type Stages,
  scatterSuspects
} from "../../../src/services/score/stages.ts"
import { fitTail } from "../../../src/services/train/calibrate.ts"
import { makeRandom, type Random } from "../../../src/services/train/random.ts"

/** A normal row's two energies: they agree in part; the deep one's tail is heavier, its unit another. */
const drawRow = (random: Random): readonly [fast: number, deep: number] => {
  const shared = random.normal()
  return [10 * shared + 5 * random.normal(), Math.exp((shared + random.normal()) / 2)]
}

const graphsOf = (rows: ReadonlyArray<readonly [number, number]>, paired: boolean): Manifest["graphs"] => {
  const order = (of: 0 | 1) => rows.map((_, row) => row).sort((a, b) => rows[a][of] - rows[b][of])
  const place = new Map(order(0).map((row, at) => [row, at]))
  const graph = (step: "deep" | "fast", of: 0 | 1) => ({
    step,
    score: `${step}.onnx`,
    calibration: fitTail(Float64Array.from(rows, (row) => row[of])),
    costPerRow: 1
  })
  const deep = graph("deep", 1)
  return [
    paired ? { ...deep, firstStage: order(1).map((row) => place.get(row) as number) } : deep,
    graph("fast", 0)
  ]
}

const rowsOf = (count: number, random: Random) => Array.from({ length: count }, () => drawRow(random))

const energyOf = (stages: Stages, [fast, deep]: readonly [number, number]): number =>
  fast > stages.gate ? deep : deepEnergy(stages, fast)

describe("p-values of two stages on fresh normal rows", () => {
  it.each([
    [200, 40],
    [3_000, 12]
  ])("hold, with %d calibration rows", (count, models) => {
    const fresh = 4_000
    const alarms = { 0.01: 0, 0.001: 0 }
    let passed = 0
    for (let model = 0; model < models; model++) {
      const random = makeRandom(model + 1, 5)
      const stages = makeStages(graphsOf(rowsOf(count, random), true), 0.05) as Stages
      const scale = makeCalibration(stages.calibration)
      for (const row of rowsOf(fresh, random)) {
        if (row[0] > stages.gate) passed++
        const p = scale.pvalue(energyOf(stages, row))
        if (p <= 0.01) alarms[0.01]++
        if (p <= 0.001) alarms[0.001]++
      }
    }
    for (const share of [0.01, 0.001] as const) {
      const deviation = Math.sqrt(share / (models * count) + share / (models * fresh))
      const rate = alarms[share] / (models * fresh)
      expect(rate, `at ${share}`).toBeLessThan(share + 3.3 * deviation)
    }
    // And they are not bought by saying nothing: the deep energy's own rate, less what the gate holds back.
    expect(alarms[0.01] / (models * fresh)).toBeGreaterThan(0.007)
    const gateDeviation = Math.sqrt(0.05 / (models * count) + 0.05 / (models * fresh))
    expect(Math.abs(passed / (models * fresh) - Math.floor(0.05 * (count + 1)) / (count + 1))).toBeLessThan(
      3.3 * gateDeviation
    )
  })

  it("are never too small where a bundle doesn't say which energies are one row's", () => {
    const random = makeRandom(3, 5)
    const rows = rowsOf(1_000, random)
    const paired = makeCalibration((makeStages(graphsOf(rows, true), 0.05) as Stages).calibration)
    const alone = makeCalibration((makeStages(graphsOf(rows, false), 0.05) as Stages).calibration)
    // Above every energy of the first stage: where alerts are decided.
    for (let energy = 3; energy < 12; energy += 0.25) {
      expect(alone.pvalue(energy)).toBeGreaterThanOrEqual(paired.pvalue(energy))
    }
  })
})

describe("two stages", () => {
  const stages = makeStages(graphsOf(rowsOf(500, makeRandom(8, 5)), true), 0.1) as Stages

  it("need both energies", () => {
    const [deep, fast] = graphsOf(rowsOf(50, makeRandom(1, 5)), true)
    expect(makeStages([fast], 0.05)).toBeUndefined()
    expect(makeStages([deep], 0.05)).toBeUndefined()
    expect(makeStages([deep, fast], 0.05)).toBeDefined()
  })

  it("let at least one calibration row's place pass, however few there are", () => {
    const few = makeStages(graphsOf(rowsOf(4, makeRandom(1, 5)), true), 0.05) as Stages
    expect(Number.isFinite(few.gate)).toBe(true)
  })

  it("put the first stage's energies on the deep one's scale: equally rare, and in the same order", () => {
    for (const share of [0.1, 0.5, 0.85]) {
      const fast = Float64Array.from(rowsOf(4_000, makeRandom(21, 5)), (row) => row[0]).sort()
      const mapped = deepEnergy(stages, fast[Math.floor(share * fast.length)])
      const below = stages.to.filter((energy) => energy <= mapped).length / stages.to.length
      expect(Math.abs(below - share)).toBeLessThan(0.08)
    }
    fc.assert(
      fc.property(
        fc.double({ min: -80, max: 80, noNaN: true }),
        fc.double({ min: 0, max: 9 }),
        (at, more) => {
          expect(deepEnergy(stages, at + more)).toBeGreaterThanOrEqual(deepEnergy(stages, at))
        }
      ),
      { seed: 4 }
    )
  })

  it("give an event the same energy and path in any company", () => {
    const width = 3
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -60, max: 60, noNaN: true }), { minLength: 1, maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
        (firsts, lengths) => {
          const rows = Float32Array.from({ length: firsts.length * width }, (_, at) => at)
          /** Deep energy of a row: told from the row itself, so that a row gathered wrongly is found out. */
          const run = (cuts: ReadonlyArray<number>) => {
            const suspects = makeSuspects()
            const energies = Float32Array.from(firsts)
            const deep: Array<number> = []
            for (let from = 0, cut = 0; from < firsts.length; cut++) {
              const count = Math.min(cuts[cut % cuts.length], firsts.length - from)
              const part = energies.subarray(from, from + count)
              const found = gatherSuspects(
                stages,
                rows.subarray(from * width),
                count,
                width,
                part,
                undefined,
                suspects
              )
              for (let at = 0; at < found; at++) suspects.energies[at] = 1_000 + suspects.rows[at * width + 1]
              scatterSuspects(suspects, part)
              deep.push(...suspects.deep.subarray(0, count))
              from += count
            }
            return { energies: [...energies], deep }
          }
          const whole = run([firsts.length])
          expect(run(lengths)).toEqual(whole)
          firsts.forEach((first, row) => {
            expect(whole.deep[row]).toBe(first > stages.gate ? 1 : 0)
            if (first > stages.gate) expect(whole.energies[row]).toBe(1_000 + row * width + 1)
          })
        }
      ),
      { seed: 6 }
    )
  })

  it("send no repeat on: it is not scored again", () => {
    const suspects = makeSuspects()
    const energies = Float32Array.of(1e3, 1e3, 1e3)
    const found = gatherSuspects(
      stages,
      new Float32Array(3),
      3,
      1,
      energies,
      Uint8Array.of(0, 4, 8),
      suspects
    )
    expect(found).toBe(1)
    expect([...suspects.deep.subarray(0, 3)]).toEqual([1, 0, 0])
  })
})
