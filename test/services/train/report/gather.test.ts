import { describe, expect, it } from "vitest"
import { pvalueOf } from "../../../../src/services/train/calibrate.ts"
import { alongAxis, energyAt, makeEnergyAxis } from "../../../../src/services/train/report/energyAxis.ts"
import { thresholdOf } from "../../../../src/services/train/report/gather.ts"
import { momentOf, timeColumnOf } from "../../../../src/services/train/report/timeline.ts"
import { evenCalibration, gather, judged, pageOf, SHARE } from "./judgedRows.ts"

const normals = Array.from({ length: 1_000 }, (_, at) => judged(at + 1, at / 1_000, false))

describe("what a report gathers", () => {
  it("counts every row in one bin, and marks where rows begin to alert", () => {
    const gathered = gather([...normals, judged(1_001, 0.5, true), judged(1_002, 7, true)])
    const sum = (of: "normal" | "anomalous") => gathered.bins.reduce((total, bin) => total + bin[of], 0)
    expect([sum("normal"), sum("anomalous")]).toEqual([1_000, 2])
    expect(gathered.bins[0].from).toBe(0)
    expect(gathered.bins.at(-1)).toMatchObject({ anomalous: 1, to: 7 })
    const threshold = gathered.threshold as number
    expect(pvalueOf(evenCalibration, threshold)).toBeLessThanOrEqual(SHARE)
    expect(pvalueOf(evenCalibration, threshold - 1e-5)).toBeGreaterThan(SHARE)
  })

  it("leaves a threshold off the axis that lies far from every row", () => {
    const far = [judged(1, 900, false), judged(2, 901, true), judged(3, 902, true)]
    const { axis, threshold, bins } = gather(far)
    expect([axis.low, axis.high]).toEqual([900, 902])
    expect(threshold).toBeLessThan(1)
    expect(bins.filter((bin) => bin.normal + bin.anomalous > 0).length).toBe(3)
    expect(pageOf(gather(far))).toContain("left of here")
  })

  it("knows no threshold where no energy alerts", () => {
    expect(thresholdOf({ ...evenCalibration }, 0)).toBeUndefined()
  })

  it("finds p-values of rows like the calibration's inside the band", () => {
    const { calibration } = gather([...normals, judged(1_001, 9, true)])
    expect(calibration.filter((point) => point.observed < point.low || point.observed > point.high)).toEqual(
      []
    )
  })

  it("counts anomalies by what their label says, the most frequent first", () => {
    const attack = (row: number, label: string, energy: number) => judged(row, energy, true, { label })
    const { kinds, otherKinds } = gather([
      ...normals,
      attack(1_001, "scan", 5),
      attack(1_002, "flood", 5),
      attack(1_003, "flood", 0.2)
    ])
    expect(kinds).toEqual([
      { label: "flood", rows: 2, caught: 1 },
      { label: "scan", rows: 1, caught: 1 }
    ])
    expect(otherKinds).toBeUndefined()
    const many = gather([
      ...normals,
      ...Array.from({ length: 20 }, (_, at) => attack(1_001 + at, `kind ${at}`, 5))
    ])
    expect([many.kinds.length, many.otherKinds]).toEqual([12, { label: "others", rows: 8, caught: 8 }])
  })

  it("keeps the worst misses of each kind and the worst false alarms, rows that are equal once", () => {
    const features = Float32Array.of(1, Number.NaN)
    const gathered = gather([
      ...normals.slice(0, 900),
      judged(901, 4, false),
      judged(902, 6, false, { features }),
      judged(903, 6, false, { features }),
      ...Array.from({ length: 9 }, (_, at) => judged(1_001 + at, at / 100, true, { label: "near" })),
      judged(1_010, 0.8, true, { label: "far" }),
      judged(1_011, 9, true)
    ])
    expect(gathered.falseAlarms.map(({ row, times }) => [row, times])).toEqual([
      [902, 2],
      [901, 1]
    ])
    expect(gathered.misses.map(({ row }) => row)).toEqual([1_001, 1_002, 1_003, 1_004, 1_005, 1_010])
  })

  it("keeps a copy of a row's features", () => {
    const features = Float32Array.of(1, 2)
    const gathered = gather(
      (function* () {
        yield* normals
        yield judged(1_001, 0.1, true, { features })
        features.fill(0)
      })()
    )
    expect([...gathered.misses[0].features]).toEqual([1, 2])
  })
})

describe("the axis of energies", () => {
  it("is straight, and bends only where a few rows lie far beyond the rest", () => {
    expect(makeEnergyAxis(0, 20, 1, 3).wide).toBeUndefined()
    const axis = makeEnergyAxis(0, 1e6, 1, 3)
    expect(axis.wide).toEqual({ centre: 1, spread: 2 })
    expect(energyAt(axis, alongAxis(axis, 12_345))).toBeCloseTo(12_345, 6)
  })

  it("has a width where all energies are the same", () => {
    expect(makeEnergyAxis(2, 2, 2, 2)).toEqual({ low: 1.5, high: 2.5, wide: undefined })
  })
})

describe("the timeline", () => {
  it("reads dates, with a zone or in UTC, seconds and milliseconds since 1970, and counts", () => {
    const noon = { value: Date.UTC(2026, 2, 1, 12), unit: "date" }
    expect(momentOf("2026-03-01 12:00:00")).toEqual(noon)
    expect(momentOf("2026-03-01T13:00+01:00")).toEqual(noon)
    expect(momentOf(noon.value)).toEqual(noon)
    expect(momentOf(String(noon.value / 1_000))).toEqual(noon)
    expect(momentOf("17")).toEqual({ value: 17, unit: "number" })
    expect(["noon", "", null, undefined, true, "2026-13-41"].map(momentOf)).toEqual(
      new Array(6).fill(undefined)
    )
    expect(timeColumnOf(["runtime", "DateTime", "ts"])).toBe("DateTime")
  })

  it("gathers rows of any order into stretches with their highest energy, labels and alerts", () => {
    const rows = normals.map((row, at) => ({ ...row, energy: 0.5, pvalue: 0.5, alert: false, time: at }))
    const { timeline } = gather(
      [judged(1_001, 9, true, { time: 999 }), judged(1_002, 5, false, { time: "0" }), ...rows.reverse()],
      "t"
    )
    expect(timeline).toMatchObject({ column: "t", unit: "number", from: 0, to: 999 })
    expect(timeline?.buckets.length).toBe(480)
    expect(timeline?.buckets[0]).toMatchObject({ highest: 5, anomalies: 0, caught: 0, falseAlarms: 1 })
    expect(timeline?.buckets.at(-1)).toMatchObject({ highest: 9, anomalies: 1, caught: 1, falseAlarms: 0 })
    expect(timeline?.buckets.reduce((sum, bucket) => sum + bucket.rows, 0)).toBe(1_002)
  })

  it("is left out where rows have no times, or times of two kinds", () => {
    const rows = [...normals, judged(1_001, 9, true)]
    const timed = (time: (at: number) => string) => rows.map((row, at) => ({ ...row, time: time(at) }))
    expect(gather(rows, "t").timeline).toBeUndefined()
    expect(
      gather(
        timed((at) => (at % 2 === 0 ? "2026-03-01" : "5")),
        "t"
      ).timeline
    ).toBeUndefined()
    expect(
      gather(
        timed(() => "2026-03-01"),
        "t"
      ).timeline
    ).toBeUndefined()
  })
})
