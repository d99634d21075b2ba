import { describe, expect, it } from "vitest"
import { gaussian, makeTestCell, planOf, seeded, type TestEvent } from "../../support/folding.ts"

const MINUTE = 60_000
const population = {
  a: { mean: 0, variance: 1 },
  "a course": { mean: 1, variance: 1 },
  gap: { mean: 4.1, variance: 1e-4 }
}

/** One reading a minute from minute `from` on. */
const readings = (from: number, values: ReadonlyArray<number>): ReadonlyArray<TestEvent> =>
  values.map((value, i) => ({ device: 0, at: (from + i) * MINUTE, numbers: [value] }))

const times = <A>(count: number, value: (i: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, i) => value(i))

const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, v) => sum + v, 0) / values.length

describe("a half-life in events", () => {
  const shift = (baseline: Record<string, unknown>, everyMinutes: number) => {
    const cell = makeTestCell(planOf({ baseline }), { population })
    const next = gaussian(1)
    const at = (i: number) => i * everyMinutes * MINUTE
    cell.run(times(1_000, (i) => ({ device: 0, at: at(i), numbers: [next()] })))
    cell.run(times(100, (i) => ({ device: 0, at: at(1_000 + i), numbers: [1 + next()] })))
    return cell.columns.mean[0]
  }

  it("keeps a device that reports twice a day from forgetting what it was", () => {
    expect(shift({ halfLife: "1d" }, 720)).toBeGreaterThan(0.8)
    expect(shift({ halfLife: "1d", events: 700 }, 720)).toBeLessThan(0.2)
  })

  it("changes nothing where the events of a half-life are more", () => {
    expect(shift({ halfLife: "1d", events: 700 }, 1)).toBe(shift({ halfLife: "1d" }, 1))
  })

  it("is 700 events where no baseline is declared, and none where one is", () => {
    expect(planOf().halfLifeEvents).toBe(700)
    expect(planOf({ baseline: { halfLife: "1h" } }).halfLifeEvents).toBe(1)
  })
})

describe("a lasting spread", () => {
  /** Eight lively hours a day, and sixteen quiet ones. */
  const bursts = (days: number, seed: number) => {
    const next = gaussian(seed)
    return times(days * 1_440, (i) => (i % 1_440 < 480 ? 3 * next() : 0.1 * next()))
  }
  const energies = (spread: string) => {
    const cell = makeTestCell(planOf({ baseline: { halfLife: "1h", spread } }), { population })
    cell.run(readings(0, bursts(20, 2)))
    const from = 20 * 1_440
    return {
      usual: mean(cell.run(readings(from, bursts(1, 3))).subarray(0, 10)),
      strange: cell.run(readings(from + 1_440, [30]))[0]
    }
  }

  it("takes what begins every morning for usual, and what is stranger not", () => {
    const recent = energies("recent")
    const lasting = energies("lasting")
    expect(recent.usual).toBeGreaterThan(10)
    expect(lasting.usual).toBeLessThan(recent.usual / 2)
    expect(lasting.strange).toBeGreaterThan(4 * lasting.usual)
  })

  describe("of a value that is seldom other than about 0", () => {
    const plan = planOf({ baseline: { halfLife: "1d", events: 700, spread: "lasting" } })
    const quiet = (count: number, every: number) => {
      const next = gaussian(4)
      return times(count, (i) => (i % every === every - 1 ? 5 : 0.005 * next()))
    }

    it("doubles at each of them that comes by itself, from next to nothing to what it is", () => {
      const cell = makeTestCell(plan)
      const first = cell.run(readings(0, quiet(2_000, 2_000)))[1_999]
      cell.run(readings(2_000, quiet(4_000, 20)))
      const usual = cell.run(readings(6_000, quiet(20, 20)))[19]
      expect(first).toBeGreaterThan(30)
      expect(usual).toBeLessThan(first / 2)
    })

    it("is not what one burst of them says", () => {
      const cell = makeTestCell(plan)
      const first = cell.run(readings(0, quiet(2_000, 2_000)))[1_999]
      cell.run(readings(2_000, quiet(40, 1)))
      cell.run(readings(2_040, quiet(100, 101)))
      expect(cell.run(readings(2_140, [5]))[0]).toBeGreaterThan(0.9 * first)
    })
  })

  it("costs four bytes a signal, and nothing where it is not declared", () => {
    expect(planOf({ baseline: { halfLife: "1d", spread: "lasting" } }).memoryWidth).toBe(2)
    expect(planOf().memoryWidth).toBe(0)
  })
})

describe("a level of energies that are usual in the stream", () => {
  it("freezes no baseline by what one event in twenty is", () => {
    const cell = makeTestCell(planOf({ baseline: { halfLife: "1d" } }), { population })
    const next = gaussian(5)
    // One reading in twenty jumps. That is how this stream is.
    cell.run(
      readings(
        0,
        times(4_000, (i) => (i % 20 === 0 ? 30 : 0) + next())
      )
    )
    expect(cell.cell.level[0]).toBeGreaterThan(10)
  })

  it("is not led upwards by one burst", () => {
    const cell = makeTestCell(planOf({ baseline: { halfLife: "1d" } }), { population })
    const next = gaussian(6)
    cell.run(readings(0, times(2_000, next)))
    const before = cell.cell.level[0]
    cell.run(
      readings(
        2_000,
        times(20, () => 30 + next())
      )
    )
    expect(cell.cell.level[0]).toBeLessThanOrEqual(before + 20 * 0.245)
  })
})

describe("courses", () => {
  const plan = planOf({ baseline: { halfLife: "7d", lags: 6 } })
  const wave = (i: number) => Math.sin((2 * Math.PI * i) / 24)

  it("find a broken rhythm whose values are all usual", () => {
    const cell = makeTestCell(plan, { population })
    const next = gaussian(7)
    const usual = cell.run(
      readings(
        0,
        times(1_000, (i) => wave(i) + 0.02 * next())
      )
    )
    // To and fro at every reading, between values that the wave passes twice a period.
    const broken = cell.run(
      readings(
        1_000,
        times(24, (i) => (i % 2 === 0 ? 0.7 : -0.7) + 0.02 * next())
      )
    )
    expect(Math.max(...broken)).toBeGreaterThan(Math.max(...usual.slice(-500)) + 3)
  })

  it("come to be known: what was strange once is not strange for good", () => {
    const cell = makeTestCell(plan, { population })
    const next = gaussian(8)
    cell.run(
      readings(
        0,
        times(600, (i) => wave(i) + 0.02 * next())
      )
    )
    const saw = (i: number) => ((i % 8) - 4) / 4
    const first = Math.max(
      ...cell.run(
        readings(
          600,
          times(24, (i) => saw(i) + 0.02 * next())
        )
      )
    )
    const later = cell.run(
      readings(
        624,
        times(600, (i) => saw(i) + 0.02 * next())
      )
    )
    expect(Math.max(...later.slice(-100))).toBeLessThan(first)
  })

  it("depend on the events alone, not on how batches were cut", () => {
    const next = seeded(9)
    const events = readings(
      0,
      times(300, (i) => wave(i) + next())
    )
    const whole = makeTestCell(plan, { population })
    const cut = makeTestCell(plan, { population })
    expect(Array.from(cut.run(events, [1, 50, 51, 200]))).toEqual(Array.from(whole.run(events)))
    expect(cut.columns.memory).toEqual(whole.columns.memory)
  })

  it("say what they saw in their signal, by the number's name", () => {
    expect(plan.signals).toEqual(["a", "a course", "gap"])
  })
})

describe("a gap that tells nothing", () => {
  it("moves no energy", () => {
    const run = (gap: boolean, pause: number) => {
      const cell = makeTestCell(planOf({ baseline: { halfLife: "1d", gap } }), { population })
      cell.run(
        readings(
          0,
          times(500, (i) => i % 7)
        )
      )
      return cell.run([{ device: 0, at: 499 * MINUTE + pause, numbers: [3] }])[0]
    }
    expect(run(false, 5_000)).toBe(run(false, MINUTE))
    expect(run(true, 5_000)).toBeGreaterThan(run(true, MINUTE) + 5)
  })
})
