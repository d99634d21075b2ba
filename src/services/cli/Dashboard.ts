// The demo's view in a terminal: a pure rendering of its state, drawn in place, or told in plain lines.
import { Effect } from "effect"
import type { Severity } from "../../schema/stream/StreamDefinition.ts"
import { formatBytes, formatCount, formatDigest, formatMillis, formatRate } from "./format.ts"
import { cellWidth, cutTo, type Paint, padTo, paintFor, printable } from "./paint.ts"
import { Screen } from "./Screen.ts"
import { renderTable } from "./table.ts"

export interface DashboardCell {
  /** `<stream>/<partition>`. */
  readonly name: string
  readonly eventsPerSecond: number
  readonly devices: number
  readonly lag: number
  readonly path: string
  /** Why it does not read; null while it reads. */
  readonly paused: string | null
}

export interface DashboardIncident {
  readonly device: string
  readonly severity: Severity
  readonly alerts: number
  /** Kind of the injected anomaly that it caught; null where none explains it. */
  readonly injected: string | null
  readonly summary: string
}

export interface DashboardState {
  /** What the demo is doing now: `learning what is normal`, `training`, `watching`. */
  readonly phase: string
  readonly elapsedMillis: number
  /** Undefined where the demo runs until it is stopped. */
  readonly durationMillis: number | undefined
  readonly events: number
  readonly devices: number
  readonly eventsPerSecond: number
  /** Events per second of the last seconds, oldest first. */
  readonly rates: ReadonlyArray<number>
  readonly injected: number
  readonly caught: number
  readonly falseAlarms: number
  readonly byKind: Readonly<Record<string, { readonly injected: number; readonly caught: number }>>
  readonly latencyMillis: { readonly p50: number; readonly p99: number } | undefined
  readonly model: string | null
  readonly residentBytes: number
  readonly cells: ReadonlyArray<DashboardCell>
  /** Newest first. */
  readonly incidents: ReadonlyArray<DashboardIncident>
  /** Where the API and the console answer; undefined before they do. */
  readonly server: string | undefined
}

/** Cells of the names that figures stand behind. */
const LABEL = 12

const falseAlarmText = (count: number): string =>
  `${formatCount(count)} false ${count === 1 ? "alarm" : "alarms"}`

const bars = "▁▂▃▄▅▆▇█"

/** One block character per value, the newest `width` of them, scaled to the highest. */
export const sparkline = (values: ReadonlyArray<number>, width: number): string => {
  const shown = values.slice(-width)
  const top = Math.max(1e-9, ...shown)
  return shown.map((value) => bars[Math.max(0, Math.min(7, Math.round((value / top) * 7)))]).join("")
}

const severityPaint = (paint: Paint, severity: Severity): ((text: string) => string) =>
  severity === "critical" || severity === "high"
    ? paint.red
    : severity === "medium"
      ? paint.yellow
      : paint.dim

/**
 * The whole view: at most `height` lines of at most `width` cells, joined by line breaks. What does not fit
 * is left out from the bottom of each table, the newest incidents last of all.
 */
export const renderDashboard = (
  state: DashboardState,
  width: number,
  height: number,
  colour = false
): string => {
  const paint = paintFor(colour)
  const lines: Array<string> = []
  const time =
    state.durationMillis === undefined
      ? formatMillis(state.elapsedMillis)
      : `${formatMillis(state.elapsedMillis)} of ${formatMillis(state.durationMillis)}`
  const title = cutTo(
    `groundstate demo · ${printable(state.phase)}`,
    Math.max(10, width - cellWidth(time) - 2)
  )
  lines.push(`${paint.bold(padTo(title, Math.max(0, width - cellWidth(time))))}${paint.dim(time)}`)

  const latency = state.latencyMillis
  const figures: ReadonlyArray<readonly [string, string]> = [
    ["Events", `${formatCount(state.events)}   ${formatRate(state.eventsPerSecond)}`],
    [
      "Devices",
      `${formatCount(state.devices)} in ${state.cells.length} cells   ${formatBytes(state.residentBytes)} resident`
    ],
    [
      "Latency",
      latency === undefined ? "-" : `p50 ${latency.p50.toFixed(1)} ms   p99 ${latency.p99.toFixed(1)} ms`
    ],
    [
      "Model",
      state.model === null ? "none yet: rules and per-device baselines score" : formatDigest(state.model)
    ]
  ]
  for (const [name, value] of figures) {
    const text = `${padTo(name, LABEL)}${value}`
    const room = width - cellWidth(text) - 3
    const trend =
      name === "Events" && room >= 8 ? `   ${paint.cyan(sparkline(state.rates, Math.min(40, room)))}` : ""
    lines.push(cutTo(text, width) + trend)
  }

  const kinds = Object.entries(state.byKind)
    .map(([kind, counts]) => `${kind} ${counts.caught}/${counts.injected}`)
    .join("   ")
  const score = `${padTo("Anomalies", LABEL)}${state.caught} of ${state.injected} injected caught, ${falseAlarmText(state.falseAlarms)}`
  const allCaught = state.injected > 0 && state.caught === state.injected
  lines.push((allCaught ? paint.green : (text: string) => text)(cutTo(score, width)))
  if (kinds !== "") lines.push(paint.dim(cutTo(`${" ".repeat(LABEL)}${kinds}`, width)))
  if (state.server !== undefined) lines.push(cutTo(`${padTo("Open", LABEL)}${state.server}`, width))

  // The incidents want their header, a blank line and five rows; the cells get what is left above that.
  const cellRows = Math.max(0, Math.min(state.cells.length, height - lines.length - 10))
  if (cellRows > 0) {
    const shown = state.cells.slice(0, cellRows)
    lines.push("")
    lines.push(
      ...renderTable<DashboardCell>(
        [
          { header: "CELL", cell: (cell) => cell.name },
          { header: "EVENTS/S", align: "right", cell: (cell) => formatCount(cell.eventsPerSecond) },
          { header: "DEVICES", align: "right", cell: (cell) => formatCount(cell.devices) },
          { header: "LAG", align: "right", cell: (cell) => formatCount(cell.lag) },
          { header: "PATH", cell: (cell) => cell.path },
          {
            header: "STATE",
            cell: (cell) => cell.paused ?? "reading",
            paint: (text, cell) => (cell.paused === null ? text : paint.yellow(text))
          }
        ],
        shown,
        width
      ).split("\n")
    )
    if (shown.length < state.cells.length)
      lines.push(paint.dim(`and ${state.cells.length - shown.length} more`))
  }

  const incidentRows = Math.max(0, height - lines.length - 2)
  if (incidentRows > 0) {
    lines.push("")
    if (state.incidents.length === 0) {
      lines.push(paint.dim(cutTo("No incidents yet.", width)))
    } else {
      lines.push(
        ...renderTable<DashboardIncident>(
          [
            { header: "INCIDENT", cell: (incident) => incident.device },
            {
              header: "SEVERITY",
              cell: (incident) => incident.severity,
              paint: (text, incident) => severityPaint(paint, incident.severity)(text)
            },
            { header: "ALERTS", align: "right", cell: (incident) => String(incident.alerts) },
            { header: "INJECTED", cell: (incident) => incident.injected ?? "-" },
            { header: "WHY", cell: (incident) => incident.summary }
          ],
          state.incidents.slice(0, Math.max(0, incidentRows - 1)),
          width
        ).split("\n")
      )
    }
  }
  return lines.slice(0, height).join("\n")
}

/** The same in one line, for logs and pipes. */
export const renderDashboardLine = (state: DashboardState): string =>
  [
    `${formatMillis(state.elapsedMillis)}  ${printable(state.phase)}`,
    `${formatCount(state.events)} events ${formatRate(state.eventsPerSecond)}`,
    `${formatCount(state.devices)} devices`,
    `caught ${state.caught} of ${state.injected}`,
    `${falseAlarmText(state.falseAlarms)}`,
    ...(state.latencyMillis === undefined ? [] : [`p99 ${state.latencyMillis.p99.toFixed(1)} ms`])
  ].join("  ")

const PLAIN_EVERY_MILLIS = 5_000

/** Clears nothing and scrolls nothing: goes home, draws each line over the old one, clears the rest below. */
const inPlace = (view: string): string =>
  `\u001b[H${view
    .split("\n")
    .map((line) => `${line}\u001b[K`)
    .join("\n")}\u001b[J`

/**
 * Shows states on stderr, so that stdout stays for the summary: in place in the alternate screen of a
 * terminal, as a line every five seconds and at each new phase elsewhere. The terminal is given back as it
 * was when the scope closes.
 */
export const makeDashboard = Effect.gen(function* () {
  const screen = yield* Screen
  const surface = screen.err
  let drawnAt = Number.NEGATIVE_INFINITY
  let phase = ""
  if (!surface.isTerminal) {
    return (state: DashboardState): Effect.Effect<void> => {
      if (state.phase === phase && state.elapsedMillis - drawnAt < PLAIN_EVERY_MILLIS) return Effect.void
      const first = state.phase !== phase && state.server !== undefined && phase === ""
      phase = state.phase
      drawnAt = state.elapsedMillis
      return surface.write(
        `${first ? `The API answers at ${state.server}.\n` : ""}${renderDashboardLine(state)}\n`
      )
    }
  }
  yield* Effect.acquireRelease(surface.write("\u001b[?1049h\u001b[?25l\u001b[2J"), () =>
    surface.write("\u001b[?25h\u001b[?1049l")
  )
  return (state: DashboardState): Effect.Effect<void> =>
    Effect.flatMap(screen.size, ({ columns, rows }) =>
      surface.write(inPlace(renderDashboard(state, columns, rows, surface.colour)))
    )
})
