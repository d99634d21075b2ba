// Drift in a cell: nothing where nothing moved, found where a fleet moves, no drift where one device does; the same
// however batches are cut and whoever owns the cell.
import { Schema } from "effect"
import { describe, expect, it } from "vitest"
import type { CellCore } from "../../../src/actors/cell/cellCore.ts"
import type { DriftReport } from "../../../src/schema/model/Drift.ts"
import type { Manifest } from "../../../src/schema/model/Manifest.ts"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import { defaultFeatures } from "../../../src/services/feature/rowLayout.ts"
import { joinedDrift } from "../../../src/services/inspect/joinedDrift.ts"
import { fitTail } from "../../../src/services/train/calibrate.ts"
import { makeRandom } from "../../../src/services/train/random.ts"
import { makeReference } from "../../../src/services/train/reference.ts"
import { batchOf, coreOf } from "../../support/cellRun.ts"

const HOUR = 3_600_000
const WINDOW = 8 * HOUR
/** A window's beginning, before the time at which the log took the records. */
const START = (Math.floor(1_760_000_000_000 / WINDOW) - 2) * WINDOW
const DEVICES = 16

const plan = planStream(
  Schema.decodeUnknownSync(StreamDefinition)({
    stream: "flows",
    source: { topic: "flows" },
    identity: { device: "device", time: "ts" },
    fields: { load: { type: "number" }, heat: { type: "number" } },
    baseline: { halfLife: "30d" },
    drift: { window: "8h" },
    ladder: ["fast", "baseline", "rules"]
  })
)
const features = defaultFeatures(plan)
const width = features.length
const utf8 = new TextEncoder()

/** A fleet whose devices have habits, and values that follow their own past: one event a device and minute. */
const makeFleet = (seed: number) => {
  const habit = makeRandom(seed, 80)
  const means = Array.from({ length: DEVICES }, () => 50 + 2 * habit.normal())
  return (
    run: number,
    from: number,
    minutes: number,
    shift: (device: number) => number = () => 0
  ): ReadonlyArray<Uint8Array> => {
    const random = makeRandom(1_000 * seed + run, 81)
    const state = Array.from({ length: 2 * DEVICES }, () => random.normal())
    const events: Array<Uint8Array> = []
    for (let minute = 0; minute < minutes; minute++) {
      for (let device = 0; device < DEVICES; device++) {
        for (const at of [2 * device, 2 * device + 1]) state[at] = 0.8 * state[at] + 0.6 * random.normal()
        const text = {
          device: `d${device}`,
          ts: from + minute * 60_000 + device,
          load: means[device] + state[2 * device] + shift(device),
          heat: 20 + state[2 * device + 1]
        }
        events.push(utf8.encode(JSON.stringify(text)))
      }
    }
    return events
  }
}

/** Energy: half the squared residuals. Written where a model's would be. */
const energise = (core: CellCore): void => {
  for (let i = 0; i < core.count; i++) {
    let energy = 0
    features.forEach((feature, k) => {
      if (feature.kind === "residual") energy += core.rows[i * width + k] ** 2 / 2
    })
    core.energies[i] = energy
  }
}

const take = (core: CellCore, values: ReadonlyArray<Uint8Array>, lengths: ReadonlyArray<number>): void => {
  const batch = batchOf(values)
  for (let at = 0, slice = 0; at < values.length; slice++) {
    at = core.take(batch, at, Math.min(values.length, at + lengths[slice % lengths.length]))
    energise(core)
    core.decide("fast")
  }
}

/** Trains on two windows of the fleet, after an hour in which its devices settle. */
const modelOf = (fleet: ReturnType<typeof makeFleet>): Manifest => {
  const core = coreOf(plan)
  core.useFeatures(features, undefined)
  const batch = batchOf(fleet(0, START - 3 * WINDOW, 25 * 60 - 60))
  const rows: Array<number> = []
  const energies: Array<number> = []
  for (let at = 0; at < batch.count; ) {
    at = core.take(batch, at, Math.min(batch.count, at + 960))
    energise(core)
    for (let i = 0; i < core.count; i++) {
      if (at < 16 * 60 * DEVICES) continue
      rows.push(...core.featureRow(i))
      energies.push(core.energies[i])
    }
  }
  return {
    name: "flows",
    features,
    vocabularies: {},
    population: {},
    reference: makeReference(
      { rows: Float32Array.from(rows), count: energies.length, width },
      features.map(({ kind }) => (kind === "value" ? 0 : 0.01))
    ),
    graphs: [{ step: "fast", calibration: fitTail(Float64Array.from(energies)) }]
  } as unknown as Manifest
}

const cellOf = (model: Manifest): CellCore => {
  const core = coreOf(plan)
  core.modelDigest = "sha256:1"
  core.useModel(model)
  return core
}

/** A warm fleet through a cell, then one window of it with a shift; the cell is at the window's end. */
const runFleet = (seed: number, shift: (device: number) => number) => {
  const fleet = makeFleet(seed)
  const model = modelOf(fleet)
  const core = cellOf(model)
  take(core, fleet(0, START - 3 * WINDOW, 24 * 60), [960])
  take(core, fleet(1, START, 8 * 60 + 1, shift), [960])
  return { core, model, report: core.drift.report() as DriftReport }
}

describe("a cell's drift", () => {
  it("is none while the fleet is as it was trained on", { timeout: 120_000 }, () => {
    const states = Array.from({ length: 12 }, (_, seed) => runFleet(seed + 1, () => 0).report.state)
    expect(states.filter((state) => state !== "stable")).toEqual([])
  })

  it("is found and named where all devices move by one deviation", { timeout: 120_000 }, () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { report } = runFleet(seed, () => 2)
      expect(report.state, JSON.stringify(report)).toBe("drifted")
      expect(report.features[0].feature).toMatch(/^load/)
    }
  })

  it("is none where one device moves, however far: that is an incident", { timeout: 120_000 }, () => {
    for (let seed = 1; seed <= 4; seed++) {
      const { report } = runFleet(seed, (device) => (device === 3 ? 30 : 0))
      expect(report.state, JSON.stringify(report)).toBe("stable")
    }
  })

  it("is the same for every way to cut the events, and for an owner that takes over", {
    timeout: 120_000
  }, () => {
    const fleet = makeFleet(9)
    const model = modelOf(fleet)
    const values = fleet(2, START + HOUR / 2, 5 * 60, () => 1)
    const whole = cellOf(model)
    take(whole, values, [4_096])
    expect(whole.drift.report()).toMatchObject({ rows: expect.any(Number) })
    for (const lengths of [[1, 7, 100], [33]]) {
      const cut = cellOf(model)
      take(cut, values, lengths)
      expect(cut.drift.counts()).toEqual(whole.drift.counts())
    }
    // The counts go over as bytes; devices' baselines are the checkpoint's own matter, so the same cell goes on.
    const first = cellOf(model)
    take(first, values.slice(0, 2_000), [500])
    const handed = first.drift.counts() as { digest: string; bytes: Uint8Array }
    first.drift.restore(handed.digest, handed.bytes)
    first.drift.use(model, "sha256:1")
    expect(first.drift.counts()).toEqual(handed)
    take(first, values.slice(2_000), [500])
    expect(first.drift.counts()).toEqual(whole.drift.counts())
  })

  it("begins anew with another model, and is unknown by one without a reference", () => {
    const fleet = makeFleet(10)
    const model = modelOf(fleet)
    const core = cellOf(model)
    take(core, fleet(2, START, 90), [960])
    core.modelDigest = "sha256:2"
    core.useModel(model)
    expect(core.drift.report()).toMatchObject({ state: "unknown", rows: 0 })
    core.useModel({ ...model, reference: undefined } as Manifest)
    expect(core.drift.report()).toMatchObject({ state: "unknown" })
    core.modelDigest = null
    core.useModel(undefined)
    expect(core.drift.report()).toBeNull()
  })

  it("is joined over the cells of a stream: what each sees a part of", { timeout: 120_000 }, () => {
    const { core, model, report } = runFleet(3, () => 2)
    const bytes = (core.drift.counts() as { bytes: Uint8Array }).bytes
    const twice = joinedDrift(model, plan, [bytes, bytes])
    expect(twice.rows).toBe(2 * report.rows)
    expect(twice.energy.psi).toBeCloseTo(report.energy.psi, 6)
    expect(twice.state).toBe("drifted")
    expect(joinedDrift(model, plan, []).state).toBe("unknown")
    expect(joinedDrift(model, plan, [new Uint8Array(3)]).state).toBe("unknown")
  })
})
