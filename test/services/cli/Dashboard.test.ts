import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import {
  type DashboardState,
  makeDashboard,
  renderDashboard,
  renderDashboardLine,
  sparkline
} from "../../../src/services/cli/Dashboard.ts"
import { type DemoSummary, renderDemoSummary } from "../../../src/services/cli/DemoSummary.ts"
import { cellWidth, paintFor, unpainted } from "../../../src/services/cli/paint.ts"
import { Screen } from "../../../src/services/cli/Screen.ts"

const state: DashboardState = {
  phase: "watching",
  elapsedMillis: 75_000,
  durationMillis: 120_000,
  events: 148_230,
  devices: 500,
  eventsPerSecond: 2_012,
  rates: [1_800, 1_950, 2_010, 2_000, 400, 2_020, 2_012],
  injected: 9,
  caught: 8,
  falseAlarms: 1,
  byKind: {
    spike: { injected: 3, caught: 3 },
    drift: { injected: 2, caught: 1 },
    flood: { injected: 4, caught: 4 }
  },
  latencyMillis: { p50: 3.21, p99: 14.4 },
  model: `sha256:${"0123456789abcdef".repeat(4)}`,
  residentBytes: 210 * 1024 * 1024,
  cells: [0, 1, 2, 3].map((partition) => ({
    name: `demo/${partition}`,
    eventsPerSecond: 503,
    devices: 125,
    lag: partition,
    path: "fast",
    paused: partition === 3 ? "log-unavailable" : null
  })),
  incidents: [
    {
      device: "pump-0012",
      severity: "critical",
      alerts: 4,
      injected: "spike",
      summary: "vibration was 9.2, expected 3"
    },
    {
      device: "gate-0007",
      severity: "medium",
      alerts: 1,
      injected: null,
      summary: "mode: party, expected idle"
    }
  ],
  server: "http://127.0.0.1:8080"
}

describe("renderDashboard", () => {
  it("shows phase, rates, anomalies, cells and incidents", () => {
    expect(renderDashboard(state, 100, 30)).toMatchInlineSnapshot(`
      "groundstate demo · watching                                                                75s of 2m
      Events      148,230   2,012/s   ▇███▂██
      Devices     500 in 4 cells   210.0 MiB resident
      Latency     p50 3.2 ms   p99 14.4 ms
      Model       sha256:0123456789ab
      Anomalies   8 of 9 injected caught, 1 false alarm
                  spike 3/3   drift 1/2   flood 4/4
      Open        http://127.0.0.1:8080

      CELL     EVENTS/S   DEVICES   LAG   PATH   STATE
      demo/0        503       125     0   fast   reading
      demo/1        503       125     1   fast   reading
      demo/2        503       125     2   fast   reading
      demo/3        503       125     3   fast   log-unavailable

      INCIDENT    SEVERITY   ALERTS   INJECTED   WHY
      pump-0012   critical        4   spike      vibration was 9.2, expected 3
      gate-0007   medium          1   -          mode: party, expected idle"
    `)
  })

  it("fits any terminal, and is the same text with colours", () => {
    for (const [width, height] of [
      [100, 30],
      [80, 24],
      [60, 15],
      [40, 10],
      [20, 3]
    ]) {
      const lines = renderDashboard(state, width, height).split("\n")
      expect(lines.length).toBeLessThanOrEqual(height)
      expect(Math.max(...lines.map(cellWidth))).toBeLessThanOrEqual(width)
      const trimmed = (text: string) => text.split("\n").map((line) => line.trimEnd())
      expect(trimmed(unpainted(renderDashboard(state, width, height, true)))).toEqual(
        trimmed(lines.join("\n"))
      )
    }
  })

  it("leaves out cells before incidents where there is little room", () => {
    const view = renderDashboard(state, 100, 14)
    expect(view).not.toContain("demo/0")
    expect(view).toContain("pump-0012")
  })

  it("says in one line what a log should hold", () => {
    expect(renderDashboardLine(state)).toBe(
      "75s  watching  148,230 events 2,012/s  500 devices  caught 8 of 9  1 false alarm  p99 14.4 ms"
    )
  })

  it("draws the newest values of a trend, scaled to the highest", () => {
    expect(sparkline([9, 0, 4, 8], 3)).toBe("▁▅█")
    expect(sparkline([], 5)).toBe("")
    expect(sparkline([0, 0], 5)).toBe("▁▁")
  })
})

describe("makeDashboard", () => {
  const show = (isTerminal: boolean, states: ReadonlyArray<DashboardState>) => {
    let written = ""
    const surface = {
      write: (text: string) =>
        Effect.sync(() => {
          written += text
        }),
      isTerminal,
      colour: false
    }
    const screen = { out: surface, err: surface, size: Effect.succeed({ columns: 80, rows: 24 }) }
    return makeDashboard.pipe(
      Effect.flatMap((draw) => Effect.forEach(states, draw)),
      Effect.scoped,
      Effect.provideService(Screen, screen),
      Effect.map(() => written),
      Effect.runPromise
    )
  }

  it("tells a line at each phase and every five seconds where there is no terminal", async () => {
    const at = (elapsedMillis: number, phase: string) => ({ ...state, elapsedMillis, phase })
    const text = await show(false, [
      at(0, "learning"),
      at(1_000, "learning"),
      at(2_000, "training"),
      at(7_000, "training")
    ])
    expect(text.split("\n").map((line) => line.slice(0, 14))).toEqual([
      "The API answer",
      "0ms  learning ",
      "2s  training  ",
      "7s  training  ",
      ""
    ])
    expect(text).not.toContain("\u001b")
  })

  it("gives the terminal back as it was", async () => {
    const text = await show(true, [state])
    expect(text.startsWith("\u001b[?1049h\u001b[?25l")).toBe(true)
    expect(text.endsWith("\u001b[?25h\u001b[?1049l")).toBe(true)
  })
})

describe("renderDemoSummary", () => {
  const summary: DemoSummary = {
    seed: 1,
    seconds: 20.4,
    events: 40_120,
    devices: 500,
    eventsPerSecond: 1_966.7,
    injected: 12,
    caught: 11,
    falseAlarms: 1,
    alerts: 37,
    incidents: 13,
    deadLetters: 0,
    latencyMillis: { p50: 2.31, p95: 6.02, p99: 11.9, max: 30.1 },
    byKind: { spike: { injected: 6, caught: 6 }, drift: { injected: 6, caught: 5 } },
    latestIncidents: [
      {
        id: "inc-1",
        device: "pump-0012",
        severity: "high",
        alerts: 4,
        injected: "spike",
        summary: "vibration was 9.2, expected 3"
      },
      { id: "inc-2", device: "gate-0007", severity: "low", alerts: 1, injected: null, summary: "mode: party" }
    ],
    model: `sha256:${"0123456789abcdef".repeat(4)}`
  }

  it("tells the figures, each kind and the latest incidents", () => {
    expect(renderDemoSummary(summary, paintFor(false))).toMatchInlineSnapshot(`
      "Events:         40,120 in 20s, 1,967/s
      Devices:        500
      Anomalies:      12 injected, 11 caught (91.7 %)
      False alarms:   1
      Incidents:      13 from 37 alerts
      Dead letters:   0
      Latency:        p50 2.3 ms, p95 6.0 ms, p99 11.9 ms, max 30.1 ms
      Model:          sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
      Seed:           1

      KIND    INJECTED   CAUGHT     SHARE
      spike          6        6   100.0 %
      drift          6        5    83.3 %

      DEVICE      SEVERITY   ALERTS   INJECTED      WHY
      pump-0012   high            4   spike         vibration was 9.2, expected 3
      gate-0007   low             1   false alarm   mode: party"
    `)
  })
})
