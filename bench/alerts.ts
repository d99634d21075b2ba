// Question: what does an alert cost from the moment a cell raised it until its record is in the log and its device's
// incident in the database; and for how long does that hold the event loop? Embedded log and SQLite, one process.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, Logger, LogLevel, Schema } from "effect"
import { makeEmitter } from "../src/actors/cell/Emitter.ts"
import * as DeviceBatches from "../src/actors/device/DeviceBatches.ts"
import { foundation } from "../src/programs/Runner.ts"
import { AlertId } from "../src/schema/Ids.ts"
import { StreamDefinition } from "../src/schema/stream/StreamDefinition.ts"
import type { Alert } from "../src/schema/verdict/Alert.ts"
import { defaultConfig } from "../src/services/runtime/Settings.ts"
import { Checkpoint } from "../src/services/state/Checkpoint.ts"
import { Projections } from "../src/services/state/Projections.ts"
import { flowsDefinition, numbers } from "./flows.ts"
import { type Question, quantile, type Row, round, summaryOf } from "./report.ts"

const CELLS = 8
const FLOOD = 4_000
const REPEATED_DEVICES = 100
const PACED_PER_SECOND = 200
const PACED_SECONDS = 5
const SLICE_ALERTS = 16
const COST_GOAL = 0.3
const HOLD_GOAL = 10

/** An alert as a cell writes it, contributions and all. */
const alertAt = (offset: number, device: string): Alert => ({
  id: AlertId.make(`flows.${offset % CELLS}.${offset}.rule-telnet`),
  stream: "flows",
  partition: offset % CELLS,
  offset,
  device,
  time: 1_760_000_000_000 + offset,
  recordTime: 1_760_000_000_000 + offset,
  severity: "high",
  rule: "telnet",
  escalated: false,
  path: "fast",
  model: `sha256:${"ab".repeat(32)}`,
  energy: 20 + (offset % 100) / 7,
  pvalue: 1.25e-6,
  threshold: 14.5,
  contributions: numbers.map((feature, i) => ({
    feature: `${feature} vs own baseline`,
    energy: 4.125 / (i + 1),
    observed: offset % 977,
    expected: 12.5 * i
  })),
  prototype: null,
  quarantined: false,
  summary: "rule telnet; bytesIn vs own baseline: 312, expected 12.5; temp: 88, expected 21"
})

const pause = (millis: number) => Effect.promise(() => new Promise((done) => setTimeout(done, millis)))

/** CPU milliseconds and seconds that something takes. */
const measured = (work: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const from = performance.now()
    const before = process.cpuUsage()
    yield* work
    const { user, system } = process.cpuUsage(before)
    return { cpuMillis: (user + system) / 1_000, seconds: (performance.now() - from) / 1_000 }
  })

/** CPU milliseconds of each turn of the event loop meanwhile: what other processes take does not count. */
const turnsOf = (work: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const turns: Array<number> = []
    let last = process.cpuUsage()
    let over = false
    const look = () => {
      const { user, system } = process.cpuUsage(last)
      last = process.cpuUsage()
      turns.push((user + system) / 1_000)
      if (!over) setImmediate(look)
    }
    setImmediate(look)
    yield* work
    over = true
    return turns
  })

const definition = Schema.decodeUnknownSync(StreamDefinition)(flowsDefinition("flows", CELLS))

const play = Effect.gen(function* () {
  const store = yield* Checkpoint
  const emitters = yield* Effect.forEach(Array.from({ length: CELLS }), (_, partition) => {
    const key = { stream: "flows", partition }
    return Effect.flatMap(store.claim(key, "bench"), (epoch) => makeEmitter("bench", key, epoch))
  })
  const projections = yield* Projections
  let offset = 0
  const next = (count: number, deviceOf: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => alertAt(offset++, deviceOf(n)))
  const flushed = Effect.orDie(Effect.forEach(emitters, (emitter) => emitter.flushed, { discard: true }))
  const flood = (count: number, deviceOf: (n: number) => string) => {
    const alerts = next(count, deviceOf)
    return Effect.forEach(
      emitters,
      (emitter, cell) =>
        Effect.gen(function* () {
          const own = alerts.filter((alert) => alert.partition === cell)
          for (let at = 0; at < own.length; at += SLICE_ALERTS) {
            emitter.offer({ alerts: own.slice(at, at + SLICE_ALERTS), letters: [] })
            yield* emitter.room()
            yield* pause(0)
          }
        }),
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.zipRight(flushed))
  }
  /** One alert after the other, evenly; or only the waiting. */
  const paced = (alerts: ReadonlyArray<Alert>, silent: boolean) =>
    Effect.gen(function* () {
      const from = performance.now()
      for (const [n, alert] of alerts.entries()) {
        if (!silent) emitters[alert.partition].offer({ alerts: [alert], letters: [] })
        yield* pause(Math.max(0, from + ((n + 1) * 1_000) / PACED_PER_SECOND - performance.now()))
      }
      yield* flushed
    })
  // Code that is not warm yet costs what a runner pays once.
  yield* flood(1_000, (n) => `warm-${n}`)
  const fresh = yield* measured(flood(FLOOD, (n) => `new-${n}`))
  const repeated = yield* measured(flood(FLOOD, (n) => `again-${n % REPEATED_DEVICES}`))
  const turns = yield* turnsOf(flood(FLOOD, (n) => `turn-${n}`))
  const even = next(PACED_PER_SECOND * PACED_SECONDS, (n) => `paced-${n}`)
  const idle = yield* measured(paced(even, true))
  const busy = yield* measured(paced(even, false))
  const { alerts } = yield* projections.counts
  if (alerts !== offset) throw new Error(`${alerts} of ${offset} alerts are in the database`)
  const cost = (what: string, cpuMillis: number, count: number, seconds: number, goal?: number): Row => ({
    question: "alerts",
    what,
    figure: round(cpuMillis / count),
    unit: "CPU ms/alert",
    ...(goal === undefined ? {} : { goal: `≤ ${goal} ms`, met: cpuMillis / count <= goal }),
    detail: { alertsPerSecond: round(count / seconds) }
  })
  const held = quantile(turns, 1)
  return [
    cost(`alerts of ${FLOOD} new devices at once`, fresh.cpuMillis, FLOOD, fresh.seconds, COST_GOAL),
    cost(
      `${FLOOD} alerts of ${REPEATED_DEVICES} devices at once`,
      repeated.cpuMillis,
      FLOOD,
      repeated.seconds,
      COST_GOAL
    ),
    cost(
      `alerts of new devices, ${PACED_PER_SECOND} a second in a process that is idle otherwise`,
      busy.cpuMillis - idle.cpuMillis,
      even.length,
      busy.seconds
    ),
    {
      question: "alerts",
      what: `longest turn of the event loop while ${FLOOD} come at once`,
      figure: round(held),
      unit: "CPU ms",
      goal: `< ${HOLD_GOAL} ms`,
      met: held < HOLD_GOAL,
      detail: {
        ...summaryOf(turns.filter((millis) => millis > 0.1)),
        largest: turns.toSorted((a, b) => b - a).slice(0, 8)
      }
    }
  ]
})

export const alerts: Question = () => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-bench-"))
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
  const settings = {
    ...defaultConfig,
    dataDir: folder,
    log: { ...defaultConfig.log, durability: "normal" as const }
  }
  return Effect.runPromise(
    Effect.scoped(play).pipe(
      Effect.provide(DeviceBatches.layer.pipe(Layer.provideMerge(foundation(settings, [definition])))),
      Effect.provide(Logger.minimumLogLevel(LogLevel.Warning))
    )
  )
}
