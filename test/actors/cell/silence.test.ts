// Devices that fall silent: told once, by the stream's own time, the same however its log was cut and whoever took over.
import { Effect, Layer, Schema } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { restoreCell, takeSnapshot, writeSnapshot } from "../../../src/actors/cell/CellPersistence.ts"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"
import { defaultConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { Checkpoint } from "../../../src/services/state/Checkpoint.ts"
import * as SqlCheckpoint from "../../../src/services/state/SqlCheckpoint.ts"
import { batchOf, coreOf, nothing, runSlices } from "../../support/cellRun.ts"
import { seeded, T0 } from "../../support/folding.ts"
import { stateOf } from "../../support/stateOf.ts"

const planOf = (alerts: object) =>
  planStream(
    Schema.decodeUnknownSync(StreamDefinition)({
      stream: "flows",
      source: { topic: "flows" },
      identity: { device: "device", time: "ts" },
      lateness: "10s",
      fields: { load: { type: "number" } },
      baseline: { halfLife: "1h", spread: "lasting" },
      alerts: { budget: "1 in 1000000 events", quiet: "10m", ...alerts }
    })
  )
const plan = planOf({ silence: true })
const key = { stream: "flows", partition: 0 }
const utf8 = new TextEncoder()
/** Each device reports once a turn; all tests end before the records' own time, beyond which no event's is believed. */
const TURN = 20_000

interface Report {
  readonly device: number
  /** Turns after the start. */
  readonly at: number
}

const valuesOf = (reports: ReadonlyArray<Report>) =>
  reports.map(({ device, at }) =>
    utf8.encode(JSON.stringify({ device: `d${device}`, ts: T0 + Math.round(at * TURN), load: 10 }))
  )

/** Ten devices that report one after the other, but for those that are away. */
const turns = (
  count: number,
  away: (device: number, turn: number) => boolean = () => false
): ReadonlyArray<Report> =>
  Array.from({ length: count * 10 }, (_, n) => ({ device: n % 10, at: n / 10 })).filter(
    ({ device, at }) => !away(device, at)
  )

const silencesOf = (reports: ReadonlyArray<Report>, of = plan) => {
  const out = nothing()
  runSlices(coreOf(of), batchOf(valuesOf(reports)), 0, reports.length, [100], out)
  return out.alerts
    .map((alert) => JSON.parse(alert))
    .filter(({ id }: { readonly id: string }) => id.endsWith(".silence"))
}

describe("a silent device", () => {
  it("is told once the stream has gone on without it for four times its longest pause", () => {
    const gone = (device: number, turn: number) => device === 3 && turn >= 60
    const [alert, ...others] = silencesOf(turns(200, gone))
    expect(others).toEqual([])
    expect(alert).toMatchObject({
      device: "d3",
      severity: "medium",
      rule: null,
      path: "rules",
      energy: null,
      summary: `no event since ${new Date(T0 + 59.3 * TURN).toISOString()}, usually every 20 s`
    })
    expect(alert.id).toBe(`flows.0.${alert.offset}.silence`)
    // Its turn comes once in ten events, which take one.
    const gap = (alert.time - T0) / TURN - 59.3
    expect(gap).toBeGreaterThan(4)
    expect(gap).toBeLessThan(5.3)
    expect(alert.contributions).toEqual([
      { feature: "silence", energy: expect.any(Number), observed: Math.round(gap * 20), expected: 20 }
    ])
  })

  it("that speaks again may be told again, after a pause longer than that one let expect", () => {
    const gone = (device: number, turn: number) => device === 3 && ((turn >= 60 && turn < 80) || turn >= 200)
    const found = silencesOf(turns(400, gone))
    expect(found.map(({ device }) => device)).toEqual(["d3", "d3"])
    // Twenty turns were its longest pause, and fade within a thousand events.
    expect((found[1].time - T0) / TURN).toBeGreaterThan(200 + 40)
    expect((found[1].time - T0) / TURN).toBeLessThan(200 + 81)
  })

  it("is held against its own rhythm: one that often pauses for sixty turns isn't told for that", () => {
    const gone = (device: number, turn: number) => device === 3 && Math.floor(turn / 60) % 2 === 1
    expect(silencesOf(turns(600, gone)).filter(({ time }) => time > T0 + 120 * TURN)).toEqual([])
  })

  it("is nobody's news before it has a rhythm, in quarantine, or where nothing is declared", () => {
    const gone = (device: number, turn: number) => device === 3 && turn >= 60
    expect(silencesOf(turns(200, (device, turn) => device === 3 && turn >= 30))).toEqual([])
    expect(silencesOf(turns(200, gone), planOf({}))).toEqual([])
    const core = coreOf(plan)
    core.quarantine("d3", true)
    const out = nothing()
    const reports = turns(200, gone)
    runSlices(core, batchOf(valuesOf(reports)), 0, reports.length, [100], out)
    expect(out.alerts.filter((alert) => alert.includes(".silence"))).toEqual([])
  })

  it("is told to nobody by a stream that has stopped as a whole: its time stands still", () => {
    expect(silencesOf(turns(100))).toEqual([])
    const all = (_: number, turn: number) => turn >= 60 && turn < 63
    expect(silencesOf(turns(100, all))).toEqual([])
  })
})

const services = SqlCheckpoint.layer.pipe(
  Layer.provideMerge(layerSqlite({ filename: ":memory:", durability: "normal", busyTimeoutMillis: 1_000 })),
  Layer.provideMerge(Layer.succeed(Settings, defaultConfig))
)

describe("silences", () => {
  /** Devices that come one by one and report at random, with long absences; several thousand events. */
  const wild = (seed: number) => {
    const chance = seeded(seed)
    const until = new Float64Array(12)
    return Array.from({ length: 3_000 }, (_, n): Report => {
      let device = Math.floor(chance() * Math.min(12, 1 + n / 50))
      if (chance() < 0.01) until[device] = n + 400
      while (until[device] > n) device = (device + 1) % 12
      return { device, at: n / 10 }
    })
  }

  it("are the same, alert by alert and bit by bit of state, wherever the log is cut and a new owner goes on", async () => {
    let told = 0
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1_000 }),
        fc.array(fc.integer({ min: 1, max: 2_999 }), { maxLength: 4 }),
        fc.integer({ min: 1, max: 500 }),
        async (seed, stops, length) => {
          const values = valuesOf(wild(seed))
          const batch = batchOf(values)
          const whole = nothing()
          const core = coreOf(plan)
          runSlices(core, batch, 0, batch.count, [4_096], whole)
          told += whole.alerts.filter((alert) => alert.includes(".silence")).length
          const parts = nothing()
          const state = await Effect.gen(function* () {
            const store = yield* Checkpoint
            let from = 0
            for (const to of [...stops.toSorted((a, b) => a - b), batch.count]) {
              const epoch = yield* store.claim(key, "a")
              const cell = yield* restoreCell(key, plan, epoch)
              runSlices(cell.core, batch, from, to, [length], parts)
              yield* writeSnapshot(store, takeSnapshot(key, epoch, cell))
              from = to
            }
            return stateOf((yield* restoreCell(key, plan, yield* store.claim(key, "b"))).core)
          }).pipe(Effect.provide(services), Effect.runPromise)
          expect(parts.alerts).toEqual(whole.alerts)
          expect(state).toEqual(stateOf(core))
        }
      ),
      { numRuns: 12, seed: 7 }
    )
    expect(told).toBeGreaterThan(12)
  })
})
