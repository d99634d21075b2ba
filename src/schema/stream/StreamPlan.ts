// A stream as the data plane sees it: fields by position, every length in milliseconds.
import type { RuleDefinition, SourceFormat, Step, StreamDefinition } from "./StreamDefinition.ts"

/** One numeric column (a boolean is 0 or 1). `path` has one key per level of nesting. */
export interface NumberColumn {
  readonly name: string
  readonly path: ReadonlyArray<string>
  readonly log: boolean
  readonly boolean: boolean
  readonly required: boolean
}

/** One categorical column; ids 1…size are values in order of arrival, 0 is `other`, −1 is missing. */
export interface CategoryColumn {
  readonly name: string
  readonly path: ReadonlyArray<string>
  readonly size: number
  readonly required: boolean
}

/** A sliding window: `field` is the position of the summed numeric column, −1 for a count of events. */
export interface WindowColumn {
  readonly name: string
  readonly overMillis: number
  readonly field: number
}

/**
 * Signals are what a device's baseline follows, in this order: the numeric columns, then the windows, then the
 * courses (how far a number's last values lie from every course known, one for each number where `lags` > 0), then
 * the gap (log of 1 + seconds since the device's last event). A signal's position is its column in
 * `DeviceColumns.mean` and `.variance`.
 */
export interface StreamPlan {
  readonly stream: string
  readonly format: SourceFormat
  readonly device: ReadonlyArray<string>
  readonly time: ReadonlyArray<string> | undefined
  /** Milliseconds in one unit of a numeric event time. */
  readonly timeScale: number
  readonly id: ReadonlyArray<string> | undefined
  readonly latenessMillis: number
  readonly aheadMillis: number
  readonly numbers: ReadonlyArray<NumberColumn>
  readonly categories: ReadonlyArray<CategoryColumn>
  readonly windows: ReadonlyArray<WindowColumn>
  readonly signals: ReadonlyArray<string>
  readonly halfLifeMillis: number
  /** Events of a device that weigh half at least. */
  readonly halfLifeEvents: number
  /** A device's spread over 16 half-lives is kept, and is the least that a value is held against. */
  readonly lasting: boolean
  /** Values in a course; 0 for none. */
  readonly lags: number
  /** The gap is a signal that counts. */
  readonly gap: boolean
  /** Devices that fall silent are told. */
  readonly silence: boolean
  /** Floats in `DeviceColumns.memory` for one device: lasting spread by signal, longest pause, courses of each number. */
  readonly memoryWidth: number
  /** Share of events that may alert while all is normal. */
  readonly budget: number
  readonly quietMillis: number
  readonly ladder: ReadonlyArray<Step>
  /** Share of normal events that go on to the deep energy where there are two stages; undefined: one stage. */
  readonly suspicious?: number | undefined
  /** Event time over which drift is looked for; a day where nothing is declared. */
  readonly driftWindowMillis?: number | undefined
  readonly rules: ReadonlyArray<RuleDefinition>
}

/** Share of normal events that the second stage judges where none is declared. */
export const SUSPICIOUS_SHARE = 0.05

/** How far ahead of the log a clock is believed where nothing is declared. */
const AHEAD_MILLIS = 60_000

/** Sub-buckets of every window's ring. */
export const WINDOW_BUCKETS = 6

/** Courses remembered of one number of a device. */
export const COURSES = 24

/** Name of the signal of a number's courses. */
export const courseSignal = (number: string): string => `${number} course`

/** Floats kept for the courses of one number: its last values, the courses, their weights. */
export const courseFloats = (lags: number): number => (lags === 0 ? 0 : lags + COURSES * (lags + 1))

const timeScales = { ms: 1, s: 1_000, us: 1e-3, ns: 1e-6 } as const

/** Lays a checked definition out by position. Fields keep the order in which they are declared. */
export const planStream = (definition: StreamDefinition): StreamPlan => {
  const numbers: Array<NumberColumn> = []
  const categories: Array<CategoryColumn> = []
  for (const [name, field] of Object.entries(definition.fields)) {
    const path = (field.path ?? name).split(".")
    if (field.type === "category") categories.push({ name, path, size: field.size, required: field.required })
    else {
      numbers.push({
        name,
        path,
        log: field.type === "number" && field.scale === "log",
        boolean: field.type === "boolean",
        required: field.required
      })
    }
  }
  const windows = definition.windows.map((window) => ({
    name: window.name,
    overMillis: window.over,
    field: window.sum === undefined ? -1 : numbers.findIndex((column) => column.name === window.sum)
  }))
  const { halfLife, events, spread, lags = 0, gap = true } = definition.baseline
  const signals = [
    ...numbers.map((column) => column.name),
    ...windows.map((window) => window.name),
    ...(lags === 0 ? [] : numbers.map((column) => courseSignal(column.name))),
    "gap"
  ]
  return {
    stream: definition.stream,
    format: definition.source.format,
    device: definition.identity.device.split("."),
    time: definition.identity.time?.split("."),
    timeScale: timeScales[definition.identity.timeUnit],
    id: definition.identity.id?.split("."),
    latenessMillis: definition.lateness,
    aheadMillis: definition.ahead ?? Math.min(AHEAD_MILLIS, definition.lateness),
    numbers,
    categories,
    windows,
    signals,
    halfLifeMillis: halfLife,
    halfLifeEvents: events ?? 1,
    lasting: spread === "lasting",
    lags,
    gap,
    silence: definition.alerts.silence,
    memoryWidth:
      (spread === "lasting" ? signals.length : 0) +
      (definition.alerts.silence ? 1 : 0) +
      numbers.length * courseFloats(lags),
    budget: definition.alerts.budget,
    quietMillis: definition.alerts.quiet,
    ladder: definition.ladder,
    suspicious:
      definition.score.stages === "two" ? (definition.score.suspicious ?? SUSPICIOUS_SHARE) : undefined,
    driftWindowMillis: definition.drift.window,
    rules: definition.rules
  }
}
