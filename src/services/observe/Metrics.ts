// Every metric that a runner exports (those of its region: regionMetrics.ts): names, units, labels and buckets in one place, in the Prometheus format.
// Names are groundstate_<noun>_<unit>[_total]. Label values are bounded: streams and partitions are declared,
// reasons, paths and kinds are closed lists, routes are templates. Identifiers never become labels.
import { readdirSync } from "node:fs"
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks"
import { Context, Effect, Layer } from "effect"
import { Counter, Gauge, Histogram, Registry } from "prom-client"
import type { DeadLetterReason } from "../../schema/event/DeadLetter.ts"
import type { DriftReport, DriftState } from "../../schema/model/Drift.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import { makeRegionMetrics } from "./regionMetrics.ts"

/** What one cell did with one batch. Counts are events; lengths of time are seconds. */
export interface BatchReport {
  readonly stream: string
  readonly partition: number
  /** Rung of the ladder that scored the batch. */
  readonly path: Step
  readonly records: number
  readonly scored: number
  /** Of the scored, where two stages did: those that went on to the deep energy; the others stayed with the fast one. */
  readonly suspected?: number | undefined
  readonly alerts: number
  /** Anomalous, but within a quiet time, over budget or muted: counted and not raised. */
  readonly suppressed: number
  readonly duplicates: number
  readonly late: number
  readonly ahead: number
  /** From fetched to emitted. */
  readonly batchSeconds: number
  /** In the model or its stand-in alone. */
  readonly scoreSeconds: number
}

/** Where one cell stands. */
export interface CellPosition {
  readonly stream: string
  readonly partition: number
  readonly lag: number
  readonly oldestEventAgeSeconds: number
  readonly devices: number
  readonly stateBytes: number
}

export type BreakerState = "closed" | "half-open" | "open"
const breakerValues: Readonly<Record<BreakerState, number>> = { closed: 0, "half-open": 1, open: 2 }

const driftValues: Readonly<Record<DriftState, number>> = { unknown: 0, stable: 1, watch: 2, drifted: 3 }

/** Kinds of command that are counted. */
export type CommandKind =
  | "use-model"
  | "quarantine"
  | "release"
  | "override"
  | "clear-override"
  | "label"
  | "breaker"
  | "activate"
  | "retire"
  | "replay"
export type CommandOutcome = "applied" | "repeated" | "refused" | "failed"

const fast = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]
const slow = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const http = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const sizes = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536]

const openFiles = (): number => {
  try {
    return readdirSync("/proc/self/fd").length
  } catch {
    return Number.NaN
  }
}

const makeProcessMetrics = (registers: Array<Registry>, delay: IntervalHistogram) => {
  new Gauge({
    name: "groundstate_event_loop_delay_seconds",
    help: "99th percentile of the event loop's delay since the last scrape; above 0.05 leases and sessions are at risk",
    registers,
    collect() {
      // The histogram measures its own timer, which is due every 10 ms (its resolution).
      this.set(delay.count === 0 ? 0 : Math.max(0, delay.percentile(99) / 1e9 - 0.01))
      delay.reset()
    }
  })
  new Counter({
    name: "process_cpu_seconds_total",
    help: "user and system CPU time of the process",
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    }
  })
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "resident memory of the process",
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    }
  })
  new Gauge({
    name: "groundstate_memory_bytes",
    help: "memory of the process by what holds it",
    labelNames: ["kind"],
    registers,
    collect() {
      const memory = process.memoryUsage()
      this.set({ kind: "heap_used" }, memory.heapUsed)
      this.set({ kind: "heap_total" }, memory.heapTotal)
      this.set({ kind: "external" }, memory.external)
      this.set({ kind: "array_buffers" }, memory.arrayBuffers)
    }
  })
  new Gauge({
    name: "process_open_fds",
    help: "open file descriptors of the process",
    registers,
    collect() {
      this.set(openFiles())
    }
  })
}

const makeMetrics = (registry: Registry) => {
  const registers = [registry]
  const cell = ["stream", "partition"] as const
  const counter = <L extends string>(name: string, help: string, labelNames: ReadonlyArray<L>) =>
    new Counter({ name, help, labelNames: [...labelNames], registers })
  const gauge = <L extends string>(name: string, help: string, labelNames: ReadonlyArray<L>) =>
    new Gauge({ name, help, labelNames: [...labelNames], registers })
  const histogram = <L extends string>(
    name: string,
    help: string,
    labelNames: ReadonlyArray<L>,
    buckets: ReadonlyArray<number>
  ) => new Histogram({ name, help, labelNames: [...labelNames], buckets: [...buckets], registers })

  const scored = counter("groundstate_events_scored_total", "events scored, by rung of the ladder", [
    ...cell,
    "path"
  ])
  const alerts = counter("groundstate_alerts_total", "alerts raised", cell)
  const suppressed = counter(
    "groundstate_alerts_suppressed_total",
    "anomalous events counted but not raised",
    cell
  )
  const duplicates = counter("groundstate_events_duplicate_total", "events seen before, taken once", cell)
  const late = counter("groundstate_events_late_total", "events older than the watermark", cell)
  const ahead = counter("groundstate_events_ahead_total", "events whose time lay too far ahead", cell)
  const deadLetters = counter("groundstate_dead_letters_total", "events refused, by reason", [
    "stream",
    "reason"
  ])
  const lag = gauge("groundstate_lag_events", "events in the log that are not processed yet", cell)
  const age = gauge("groundstate_oldest_event_age_seconds", "age of the oldest event not processed yet", cell)
  const devices = gauge("groundstate_devices", "devices that a cell knows", cell)
  const stateBytes = gauge("groundstate_state_bytes", "memory of a cell's columns", cell)
  const batchSeconds = histogram("groundstate_batch_seconds", "from fetched to emitted", ["stream"], fast)
  const batchEvents = histogram("groundstate_batch_events", "records of one batch", ["stream"], sizes)
  const scoreSeconds = histogram(
    "groundstate_score_seconds",
    "scoring of one batch",
    ["stream", "path"],
    fast
  )
  const checkpointSeconds = histogram(
    "groundstate_checkpoint_seconds",
    "writing one checkpoint",
    ["stream"],
    slow
  )
  const checkpointBytes = histogram(
    "groundstate_checkpoint_bytes",
    "size of one checkpoint",
    ["stream"],
    [1_024, 16_384, 131_072, 1_048_576, 8_388_608, 67_108_864, 536_870_912]
  )
  const takeover = histogram(
    "groundstate_takeover_seconds",
    "from a cell's start to its first fetch",
    ["stream"],
    slow
  )
  const breaker = gauge(
    "groundstate_model_breaker_state",
    "breaker of a rung: 0 closed, 1 half open, 2 open",
    [...cell, "path"]
  )
  const commands = counter("groundstate_commands_total", "commands taken, by kind and outcome", [
    "kind",
    "outcome"
  ])
  const swept = counter("groundstate_rows_deleted_total", "rows past the time that they are kept, by kind", [
    "kind"
  ])
  const requests = histogram(
    "groundstate_http_request_seconds",
    "answering one request, by route template",
    ["route", "method", "status"],
    http
  )
  const liveFeeds = gauge("groundstate_live_feeds", "open server-sent event feeds", [])
  const liveFeedsCut = counter(
    "groundstate_live_feeds_cut_total",
    "server-sent event feeds ended because their listener was too slow",
    []
  )
  const connectionsCut = counter(
    "groundstate_http_connections_cut_total",
    "connections ended by the server: one too many (crowded, refused), or a client that did not read (stuck)",
    ["cause"]
  )
  const fenced = counter(
    "groundstate_fenced_total",
    "writes that were refused because a newer owner had the cell; a cell that is refused ends",
    ["stream"]
  )
  const dropped = counter(
    "groundstate_telemetry_dropped_total",
    "requests to the collector given up, with the spans or log lines that they carried",
    ["signal"]
  )

  const driftState = gauge(
    "groundstate_drift_state",
    "drift of a cell's model: 0 unknown, 1 stable, 2 watch, 3 drifted",
    cell
  )
  const driftPsi = gauge(
    "groundstate_drift_psi",
    "population stability index of the energy, and of the feature that moved most, against the training rows",
    [...cell, "of"]
  )
  const driftRows = gauge("groundstate_drift_rows", "rows that the last look at drift rests on", cell)

  /** By cell: a gauge costs microseconds to set, and a cell moves hundreds of times a second. */
  const positions = new Map<string, CellPosition>()

  return {
    ...makeRegionMetrics(registry),
    /** Once per batch of a cell. */
    batch: (report: BatchReport): void => {
      const labels = { stream: report.stream, partition: report.partition }
      const byPath = { stream: report.stream, path: report.path }
      if (report.suspected === undefined) {
        if (report.scored > 0) scored.inc({ ...labels, path: report.path }, report.scored)
      } else {
        if (report.suspected > 0) scored.inc({ ...labels, path: "deep" }, report.suspected)
        if (report.scored > report.suspected)
          scored.inc({ ...labels, path: "fast" }, report.scored - report.suspected)
      }
      if (report.alerts > 0) alerts.inc(labels, report.alerts)
      if (report.suppressed > 0) suppressed.inc(labels, report.suppressed)
      if (report.duplicates > 0) duplicates.inc(labels, report.duplicates)
      if (report.late > 0) late.inc(labels, report.late)
      if (report.ahead > 0) ahead.inc(labels, report.ahead)
      batchSeconds.observe({ stream: report.stream }, report.batchSeconds)
      batchEvents.observe({ stream: report.stream }, report.records)
      scoreSeconds.observe(byPath, report.scoreSeconds)
    },
    deadLetters: (stream: string, reason: DeadLetterReason, count: number): void => {
      deadLetters.inc({ stream, reason }, count)
    },
    /** Whenever it changed noticeably: once per batch, or per idle wait. Gauges are set when somebody looks. */
    position: (at: CellPosition): void => {
      positions.set(`${at.stream}/${at.partition}`, at)
    },
    checkpoint: (stream: string, seconds: number, bytes: number): void => {
      checkpointSeconds.observe({ stream }, seconds)
      checkpointBytes.observe({ stream }, bytes)
    },
    takeover: (stream: string, seconds: number): void => {
      takeover.observe({ stream }, seconds)
    },
    breaker: (stream: string, partition: number, path: Step, state: BreakerState): void => {
      breaker.set({ stream, partition, path }, breakerValues[state])
    },
    /** After a stretch of event time has ended: eight times a window. */
    drift: (stream: string, partition: number, report: DriftReport): void => {
      const labels = { stream, partition }
      driftState.set(labels, driftValues[report.state])
      driftPsi.set({ ...labels, of: "energy" }, report.energy.psi)
      driftPsi.set({ ...labels, of: "feature" }, report.features[0]?.psi ?? 0)
      driftRows.set(labels, report.rows)
    },
    command: (kind: CommandKind, outcome: CommandOutcome): void => {
      commands.inc({ kind, outcome })
    },
    swept: (kind: "alerts" | "incidents" | "devices", rows: number): void => {
      swept.inc({ kind }, rows)
    },
    fenced: (stream: string, writes = 1): void => {
      fenced.inc({ stream }, writes)
    },
    /** route: the template, such as `/v1/devices/:id`, or `none`. */
    httpRequest: (route: string, method: string, status: number, seconds: number): void => {
      requests.observe({ route, method, status }, seconds)
    },
    liveFeeds: (open: number): void => {
      liveFeeds.set(open)
    },
    connectionCut: (cause: "crowded" | "refused" | "stuck"): void => {
      connectionsCut.inc({ cause })
    },
    liveFeedCut: (): void => {
      liveFeedsCut.inc()
    },
    telemetryDropped: (signal: "traces" | "logs"): void => {
      dropped.inc({ signal })
    },
    /** The cell has gone to another runner: its gauges go too, so that no stale lag is reported. */
    forgetCell: (stream: string, partition: number): void => {
      positions.delete(`${stream}/${partition}`)
      for (const metric of [lag, age, devices, stateBytes, driftState, driftRows])
        metric.remove({ stream, partition })
      for (const of of ["energy", "feature"]) driftPsi.remove({ stream, partition, of })
      for (const path of ["deep", "fast", "baseline", "rules"] as const)
        breaker.remove({ stream, partition, path })
    },
    /** The whole registry in the Prometheus text format, and its content type. */
    exposition: Effect.promise(() => {
      for (const at of positions.values()) {
        const labels = { stream: at.stream, partition: at.partition }
        lag.set(labels, at.lag)
        age.set(labels, at.oldestEventAgeSeconds)
        devices.set(labels, at.devices)
        stateBytes.set(labels, at.stateBytes)
      }
      return registry.metrics()
    }),
    contentType: registry.contentType
  }
}

/** Counts for the whole process. Plain calls, cheap enough for once per batch; never once per event. */
export class Metrics extends Context.Tag("groundstate/services/observe/Metrics")<
  Metrics,
  ReturnType<typeof makeMetrics>
>() {
  /** One registry per layer: a process has one. */
  static readonly layer = Layer.scoped(
    Metrics,
    Effect.gen(function* () {
      const registry = new Registry()
      const delay = monitorEventLoopDelay({ resolution: 10 })
      delay.enable()
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          delay.disable()
          registry.clear()
        })
      )
      makeProcessMetrics([registry], delay)
      return makeMetrics(registry)
    })
  )
}
