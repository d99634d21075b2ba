// Every metric by its fixed form of name, its labels bounded, its gauges gone with their cell.
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { describe, expect } from "vitest"
import { type BatchReport, Metrics } from "../../../src/services/observe/Metrics.ts"

const report: BatchReport = {
  stream: "flows",
  partition: 3,
  path: "baseline",
  records: 12,
  scored: 10,
  alerts: 1,
  suppressed: 2,
  duplicates: 1,
  late: 3,
  ahead: 1,
  batchSeconds: 0.002,
  scoreSeconds: 0.001
}

const tellAll = (metrics: Metrics["Type"]) => {
  metrics.batch(report)
  metrics.deadLetters("flows", "bad-json", 4)
  metrics.position({
    stream: "flows",
    partition: 3,
    lag: 7,
    oldestEventAgeSeconds: 1.5,
    devices: 9,
    stateBytes: 900
  })
  metrics.checkpoint("flows", 0.02, 4_096)
  metrics.takeover("flows", 0.4)
  metrics.breaker("flows", 3, "deep", "open")
  metrics.command("quarantine", "applied")
  metrics.httpRequest("/v1/devices/:id", "GET", 200, 0.004)
  metrics.liveFeeds(2)
  metrics.telemetryDropped("traces")
}

describe("metrics", () => {
  it.scoped("say what was told", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      tellAll(metrics)
      const text = yield* metrics.exposition
      for (const line of [
        'groundstate_events_scored_total{stream="flows",partition="3",path="baseline"} 10',
        'groundstate_alerts_total{stream="flows",partition="3"} 1',
        'groundstate_alerts_suppressed_total{stream="flows",partition="3"} 2',
        'groundstate_events_duplicate_total{stream="flows",partition="3"} 1',
        'groundstate_events_late_total{stream="flows",partition="3"} 3',
        'groundstate_dead_letters_total{stream="flows",reason="bad-json"} 4',
        'groundstate_lag_events{stream="flows",partition="3"} 7',
        'groundstate_oldest_event_age_seconds{stream="flows",partition="3"} 1.5',
        'groundstate_devices{stream="flows",partition="3"} 9',
        'groundstate_state_bytes{stream="flows",partition="3"} 900',
        'groundstate_model_breaker_state{stream="flows",partition="3",path="deep"} 2',
        'groundstate_commands_total{kind="quarantine",outcome="applied"} 1',
        'groundstate_batch_events_sum{stream="flows"} 12',
        'groundstate_batch_seconds_count{stream="flows"} 1',
        'groundstate_score_seconds_count{stream="flows",path="baseline"} 1',
        'groundstate_checkpoint_bytes_sum{stream="flows"} 4096',
        'groundstate_takeover_seconds_sum{stream="flows"} 0.4',
        'groundstate_http_request_seconds_count{route="/v1/devices/:id",method="GET",status="200"} 1',
        "groundstate_live_feeds 2",
        'groundstate_telemetry_dropped_total{signal="traces"} 1'
      ]) {
        expect(text.split("\n")).toContain(line)
      }
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.scoped("have names of one form, with help, and counters that end in _total", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      tellAll(metrics)
      const text = yield* metrics.exposition
      const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)]
      expect(types.length).toBeGreaterThan(25)
      for (const [, name, type] of types) {
        expect(name).toMatch(/^(groundstate|process)_[a-z_]+$/)
        expect(name.endsWith("_total")).toBe(type === "counter")
        expect(text).toMatch(new RegExp(`^# HELP ${name} \\S`, "m"))
      }
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.scoped("tell CPU time and memory of the process, the same in each scrape", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      const value = (text: string, name: string) =>
        Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1])
      const first = yield* metrics.exposition
      const second = yield* metrics.exposition
      expect(value(first, "process_cpu_seconds_total")).toBeGreaterThan(0)
      expect(value(second, "process_cpu_seconds_total")).toBeLessThan(
        2 * value(first, "process_cpu_seconds_total") + 1
      )
      expect(value(second, "process_resident_memory_bytes")).toBeGreaterThan(1e6)
      expect(value(second, "groundstate_event_loop_delay_seconds")).toBeGreaterThanOrEqual(0)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.scoped("report no lag of a cell that has gone to another runner", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      tellAll(metrics)
      metrics.forgetCell("flows", 3)
      const text = yield* metrics.exposition
      expect(text).not.toContain("groundstate_lag_events{")
      expect(text).not.toContain("groundstate_model_breaker_state{")
      expect(text).toContain("groundstate_events_scored_total{")
    }).pipe(Effect.provide(Metrics.layer))
  )
})
