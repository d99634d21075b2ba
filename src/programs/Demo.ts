// `groundstate demo`: a whole runner on an empty folder, simulated devices, a model trained live, and the score kept.
import { spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { HttpServer } from "@effect/platform"
import { Clock, Effect, Layer, Ref, Schema, Stream } from "effect"
import { CommandFailed } from "../schema/error/CliError.ts"
import { CommandId } from "../schema/Ids.ts"
import { CellProtocol, type CellStatus } from "../schema/protocol/CellProtocol.ts"
import { ModelProtocol } from "../schema/protocol/ModelProtocol.ts"
import { StreamDefinition } from "../schema/stream/StreamDefinition.ts"
import type { Alert } from "../schema/verdict/Alert.ts"
import type { DashboardState } from "../services/cli/Dashboard.ts"
import type { DemoSummary } from "../services/cli/DemoSummary.ts"
import type { DemoOptions } from "../services/cli/Programs.ts"
import { demoStream } from "../services/ingest/demoStream.ts"
import { EventLog } from "../services/ingest/EventLog.ts"
import { Simulated } from "../services/ingest/Simulated.ts"
import { makeSimulation } from "../services/ingest/simulate.ts"
import { ModelStore } from "../services/model/ModelStore.ts"
import { AlertFeed } from "../services/observe/AlertFeed.ts"
import { Cells } from "../services/runtime/Cells.ts"
import { defaultConfig, type RunnerConfig } from "../services/runtime/Settings.ts"
import { Streams } from "../services/runtime/Streams.ts"
import { Projections } from "../services/state/Projections.ts"
import { emptyTally, type Tally, tallyAlert, tallySummary } from "./demoTally.ts"
import { entryPoint } from "./entryPoint.ts"
import { portProblem } from "./port.ts"
import { runnerLayer } from "./Runner.ts"

/** Clean reports per device that the model is trained on. */
const WARM_REPORTS = 100
/** Event time before now at which an endless demo's past begins; it runs faster than the clock. */
const PAST_MILLIS = 300 * 86_400_000
/** A demo with an end arrives today at the latest; this much is left for floods, which add events. */
const SLACK_MILLIS = 2 * 3_600_000
const DAY_MILLIS = 86_400_000
/** Hour of the day, UTC, at which the simulated past begins: devices follow the day, and a seed is to say all. */
const START_HOUR_MILLIS = 6 * 3_600_000
/** Seconds that training may take before anomalies begin all the same. */
const TRAINING_ALLOWANCE_SECONDS = 6
/** Mean count of events between two injections. */
const INJECT_EVERY = 1_500
const SHOW_EVERY = "250 millis"

const definition = Schema.decodeSync(StreamDefinition)(demoStream)

const settingsFor = (folder: string, port: number): RunnerConfig => ({
  ...defaultConfig,
  region: "demo",
  runner: "demo",
  dataDir: folder,
  log: { ...defaultConfig.log, durability: "normal" },
  http: { ...defaultConfig.http, port },
  telemetry: { ...defaultConfig.telemetry, logLevel: "error" }
})

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "groundstate-demo-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

/** The command line's own `train`, in a process of its own, so that scoring goes on meanwhile. */
const trainApart = (folder: string, events: string, seed: number) =>
  Effect.async<string, CommandFailed>((resume) => {
    const bundle = join(folder, "trained")
    const stream = join(folder, "demo.yaml")
    const child = spawn(
      process.execPath,
      [
        entryPoint,
        "train",
        "--stream",
        stream,
        "--features",
        "device",
        "--input",
        events,
        "--output",
        bundle,
        "--seed",
        String(seed)
      ],
      { stdio: ["ignore", "ignore", "pipe"] }
    )
    let said = ""
    child.stderr.on("data", (chunk) => {
      said = (said + String(chunk)).slice(-2_000)
    })
    child.on("error", (cause) =>
      resume(
        new CommandFailed({
          problem: `Training did not start: ${cause.message}.`,
          next: "Run the demo again."
        })
      )
    )
    child.on("exit", (code) =>
      resume(
        code === 0
          ? Effect.succeed(bundle)
          : new CommandFailed({
              problem: `Training failed (exit code ${code}): ${said.trim()}`,
              next: "Run the demo again with another --seed."
            })
      )
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Reads the topic from its start into a file that `train` takes, one event a line. */
const exportEvents = (folder: string, topic: string, count: number) =>
  Effect.gen(function* () {
    const log = yield* EventLog
    const partitions = yield* log.partitions(topic)
    const chunks: Array<Uint8Array> = []
    let kept = 0
    for (let partition = 0; partition < partitions; partition++) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const reader = yield* log.open({
            topic,
            partition,
            offset: "earliest",
            epoch: 0,
            stream: "demo-training",
            fetchBytesMax: 4 * 1024 * 1024
          })
          const { end } = yield* reader.bounds
          let next = 0
          while (next < end && kept < (count * (partition + 1)) / partitions) {
            const batch = yield* reader.fetch(100)
            if (batch === undefined) break
            for (let row = 0; row < batch.count; row++) {
              chunks.push(batch.bytes.slice(batch.starts[row], batch.ends[row]), newline)
              kept++
            }
            next = batch.nextOffset
          }
        })
      )
    }
    const file = join(folder, "events.jsonl")
    yield* Effect.promise(() => writeFile(file, Buffer.concat(chunks)))
    return file
  })
const newline = Uint8Array.of(10)

export const demo = (options: DemoOptions, show: (state: DashboardState) => Effect.Effect<void>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const warm = WARM_REPORTS * options.devices
      const begun = yield* Clock.currentTimeMillis
      const pace = makeSimulation({
        seed: options.seed,
        devices: options.devices,
        startMillis: 0
      }).millisPerEvent
      const past =
        options.durationMillis === undefined
          ? PAST_MILLIS
          : (warm + (options.eventsPerSecond * options.durationMillis) / 1_000) * pace + SLACK_MILLIS
      const simulated = Simulated.layer(definition.source.topic, {
        seed: options.seed,
        devices: options.devices,
        startMillis: begun - past - ((begun - past - START_HOUR_MILLIS) % DAY_MILLIS),
        warmupEvents: warm + Math.ceil(options.eventsPerSecond * TRAINING_ALLOWANCE_SECONDS),
        injectEvery: INJECT_EVERY,
        lengths: { drift: [40, 60] }
      })
      const taken = yield* portProblem(defaultConfig.http.host, options.port)
      const settings = settingsFor(folder, taken === undefined ? options.port : 0)
      return yield* play(options, folder, warm, show).pipe(
        Effect.provide(simulated.pipe(Layer.provideMerge(runnerLayer(settings, [definition]))))
      )
    })
  )

const play = (
  options: DemoOptions,
  folder: string,
  warm: number,
  show: (state: DashboardState) => Effect.Effect<void>
) =>
  Effect.gen(function* () {
    const { simulation, produce } = yield* Simulated
    const feed = yield* AlertFeed
    const cells = yield* Cells
    const cellOf = yield* CellProtocol.client
    const modelOf = yield* ModelProtocol.client
    const models = yield* ModelStore
    const streams = yield* Streams
    const projections = yield* Projections
    const { address } = yield* HttpServer.HttpServer
    const served = streams.all[0]
    const stream = served.plan.stream
    const begun = yield* Clock.currentTimeMillis
    const tally: Tally = emptyTally()
    const phase = yield* Ref.make("learning what is normal")
    const model = yield* Ref.make<string | null>(null)
    const rates: Array<number> = []

    const count = (alert: Alert) =>
      Effect.map(Clock.currentTimeMillis, (now) => tallyAlert(tally, alert, now, simulation))
    yield* Stream.runForEach(feed.subscribe, count).pipe(Effect.forkScoped)

    const statuses = Effect.forEach(
      Array.from({ length: served.partitions }, (_, partition) => partition),
      (partition) =>
        cellOf(cells.idOf(stream, partition))
          .Inspect()
          .pipe(
            Effect.timeout("2 seconds"),
            Effect.map((status): ReadonlyArray<CellStatus> => [status]),
            Effect.orElseSucceed((): ReadonlyArray<CellStatus> => [])
          )
    ).pipe(Effect.map((lists) => lists.flat()))

    const view = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const list = yield* statuses
      const rate = list.reduce((sum, status) => sum + status.eventsPerSecond, 0)
      rates.push(rate)
      if (rates.length > 240) rates.shift()
      const figures = tallySummary(tally, simulation)
      return yield* show({
        phase: yield* Ref.get(phase),
        elapsedMillis: now - begun,
        durationMillis: options.durationMillis,
        events: list.reduce((sum, status) => sum + status.counters.scored, 0),
        devices: list.reduce((sum, status) => sum + status.devices, 0),
        eventsPerSecond: rate,
        rates,
        injected: figures.injected,
        caught: figures.caught,
        falseAlarms: figures.falseAlarms,
        byKind: figures.byKind,
        latencyMillis: figures.latency,
        model: yield* Ref.get(model),
        residentBytes: process.memoryUsage.rss(),
        cells: list.map((status) => ({
          name: `${status.stream}/${status.partition}`,
          eventsPerSecond: status.eventsPerSecond,
          devices: status.devices,
          lag: status.lag,
          path: status.path,
          paused: status.paused
        })),
        incidents: figures.latest,
        server: address._tag === "TcpAddress" ? `http://127.0.0.1:${address.port}` : undefined
      })
    })
    yield* view.pipe(Effect.zipRight(Effect.sleep(SHOW_EVERY)), Effect.forever, Effect.forkScoped)

    // The past that the model learns from, as fast as the log takes it; then live, at the pace asked for.
    yield* produce({
      eventsMax: warm
    })
    tally.since = simulation.now
    tally.cases.length = 0
    tally.open.clear()
    tally.latencies.length = 0
    const learn = Effect.gen(function* () {
      yield* Ref.set(phase, "training a model on the first events")
      yield* Effect.promise(() => writeFile(join(folder, "demo.yaml"), JSON.stringify(demoStream)))
      const events = yield* exportEvents(folder, served.topic, warm)
      const bundle = yield* trainApart(folder, events, options.seed)
      const { digest } = yield* models.install(bundle)
      yield* modelOf(digest).Activate({
        command: CommandId.make(`demo-${digest.slice(7, 23)}`),
        stream,
        by: "demo"
      })
      yield* Ref.set(model, digest)
      yield* Ref.set(phase, "watching")
    })
    yield* learn.pipe(
      Effect.catchAll((error) =>
        Effect.zipRight(Ref.set(phase, "watching by baselines alone"), Effect.logError(error.message))
      ),
      Effect.forkScoped
    )
    const elapsed = (yield* Clock.currentTimeMillis) - begun
    yield* produce({
      eventsPerSecond: options.eventsPerSecond,
      ...(options.durationMillis === undefined
        ? {}
        : { durationMillis: Math.max(0, options.durationMillis - elapsed) })
    })
    // What is in the log is scored before the figures are taken.
    yield* statuses.pipe(
      Effect.flatMap((list) =>
        list.every((status) => status.lag === 0)
          ? Effect.succeed(true)
          : Effect.as(Effect.sleep("20 millis"), false)
      ),
      Effect.repeat({ until: (done) => done }),
      Effect.timeout("15 seconds"),
      Effect.ignore
    )
    yield* Effect.sleep("300 millis")
    const seconds = ((yield* Clock.currentTimeMillis) - begun) / 1_000
    const list = yield* statuses
    const counts = yield* projections.counts
    const figures = tallySummary(tally, simulation)
    const scored = list.reduce((sum, status) => sum + status.counters.scored, 0)
    const summary: DemoSummary = {
      seed: options.seed,
      seconds,
      events: scored,
      devices: list.reduce((sum, status) => sum + status.devices, 0),
      eventsPerSecond: scored / seconds,
      injected: figures.injected,
      caught: figures.caught,
      falseAlarms: figures.falseAlarms,
      alerts: counts.alerts,
      incidents: figures.incidents,
      deadLetters: list.reduce((sum, status) => sum + status.counters.deadLetters, 0),
      latencyMillis: figures.latency ?? { p50: 0, p95: 0, p99: 0, max: 0 },
      byKind: figures.byKind,
      latestIncidents: figures.latest.map((incident) => ({ ...incident, id: incident.id })),
      model: yield* Ref.get(model)
    }
    return summary
  }).pipe(
    Effect.mapError(
      (error) => new CommandFailed({ problem: `The demo stopped: ${error.message}`, next: "Run it again." })
    )
  )
