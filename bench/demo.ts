// What `groundstate demo` catches, without a clock: its events through its cells at once, the model in force from one
// event on. `npm run bench:demo -- --seeds 1,2,3 --hours 6 --budget "1 in 50000 events"`; prints a line a run, then all.
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { NodeContext } from "@effect/platform-node"
import { Effect, Schema } from "effect"
import { alertOf } from "../src/actors/cell/alertOf.ts"
import { makeCellCore } from "../src/actors/cell/cellCore.ts"
import { scoreByStep } from "../src/actors/cell/Stages.ts"
import { emptyTally, tallyAlert, tallySummary } from "../src/programs/demoTally.ts"
import { StreamDefinition } from "../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../src/schema/stream/StreamPlan.ts"
import { openModel } from "../src/services/cli/openModel.ts"
import { demoStream } from "../src/services/ingest/demoStream.ts"
import { partitionOf } from "../src/services/ingest/partition.ts"
import { batchOf } from "../src/services/ingest/recordBatch.ts"
import { makeSimulation, type SimEvent } from "../src/services/ingest/simulate.ts"
import { defaultConfig } from "../src/services/runtime/Settings.ts"
import { groundstate, say, scratchFolder } from "./program.ts"

const DEVICES = 1_000
const WARM = 100 * DEVICES
/** Events at which the model comes into force, anomalies begin, and all ends: as in twenty seconds at 10,000 a second. */
const MODEL_FROM = 150_000
const INJECT_FROM = 160_000
const EVENTS = 290_000
const INJECT_EVERY = 1_500
const SLICE = 1_000
const PARTITIONS = 4
const DAY = 86_400_000

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1,2,3" },
    hours: { type: "string", default: "6" },
    budget: { type: "string" }
  }
})
const seeds = values.seeds.split(",").map(Number)
const hours = values.hours.split(",").map(Number)
const declared = {
  ...demoStream,
  alerts: { ...demoStream.alerts, ...(values.budget === undefined ? {} : { budget: values.budget }) }
} as typeof demoStream
const plan = planStream(Schema.decodeSync(StreamDefinition)(declared))

const simulationOf = (seed: number, hour: number) =>
  makeSimulation({
    seed,
    devices: DEVICES,
    startMillis: Date.UTC(2026, 0, 5, hour),
    warmupEvents: INJECT_FROM,
    injectEvery: INJECT_EVERY,
    lengths: { drift: [40, 60] }
  })

const byPartition = (events: ReadonlyArray<SimEvent>): ReadonlyArray<ReadonlyArray<SimEvent>> => {
  const parts = Array.from({ length: PARTITIONS }, (): Array<SimEvent> => [])
  for (const event of events) parts[partitionOf(event.key, PARTITIONS)].push(event)
  return parts
}

const train = async (folder: string, seed: number, hour: number): Promise<string> => {
  mkdirSync(folder, { recursive: true })
  const events = byPartition(simulationOf(seed, hour).next(WARM)).flat()
  writeFileSync(join(folder, "events.jsonl"), Buffer.concat(events.flatMap(({ value }) => [value, newline])))
  writeFileSync(join(folder, "demo.yaml"), JSON.stringify(demoStream))
  const model = join(folder, "model")
  await groundstate(
    ...["train", "--stream", join(folder, "demo.yaml"), "--features", "device", "--seed", String(seed)],
    ...["--input", join(folder, "events.jsonl"), "--output", model, "-o", "json"]
  )
  return model
}
const newline = Uint8Array.of(10)

const play = (folder: string, seed: number, hour: number) =>
  Effect.gen(function* () {
    const model = yield* openModel(folder)
    const cores = Array.from({ length: PARTITIONS }, (_, partition) =>
      makeCellCore(plan, defaultConfig.cell, partition)
    )
    const offsets = new Float64Array(PARTITIONS)
    const simulation = simulationOf(seed, hour)
    const tally = emptyTally()
    for (let sent = 0; sent < EVENTS; sent += SLICE) {
      if (sent === WARM) tally.since = simulation.now
      const parts = byPartition(simulation.next(SLICE))
      for (let p = 0; p < PARTITIONS; p++) {
        const core = cores[p]
        if (sent === MODEL_FROM) {
          core.modelDigest = model.digest
          core.useModel(model.manifest)
        }
        const first = offsets[p]
        offsets[p] += parts[p].length
        const records = parts[p].map(({ time, value }, at) => ({
          offset: first + at,
          timestamp: time,
          value
        }))
        const batch = batchOf(records, offsets[p], offsets[p])
        core.take(batch, 0, batch.count)
        const step = sent >= MODEL_FROM ? "fast" : "baseline"
        if (step === "fast") yield* Effect.mapError(scoreByStep(core, model, step), ({ error }) => error)
        core.decide(step)
        const context = { core, key: { stream: plan.stream, partition: p } }
        for (let i = 0; i < core.alertCount; i++) {
          tallyAlert(tally, alertOf(context, batch, step, i, undefined, undefined), 0, simulation)
        }
      }
    }
    return { ...tallySummary(tally, simulation), days: (simulation.now - tally.since) / DAY }
  }).pipe(Effect.scoped, Effect.provide(NodeContext.layer), Effect.runPromise)

const scratch = scratchFolder()
let [injected, caught, falseAlarms, days] = [0, 0, 0, 0]
for (const seed of seeds) {
  for (const hour of hours) {
    const found = await play(await train(join(scratch, `${seed}-${hour}`), seed, hour), seed, hour)
    injected += found.injected
    caught += found.caught
    falseAlarms += found.falseAlarms
    days += found.days
    const kinds = Object.entries(found.byKind).map(([kind, of]) => `${kind} ${of.caught}/${of.injected}`)
    say(
      `seed ${seed}, from ${hour} h: ${found.caught} of ${found.injected}, ${found.falseAlarms} false; ${kinds.join(", ")}`
    )
  }
}
process.stdout.write(
  `${caught} of ${injected} caught (${((100 * caught) / injected).toFixed(1)} %), ${falseAlarms} false incidents, ` +
    `${(falseAlarms / days).toFixed(1)} per 1,000 devices and day\n`
)
