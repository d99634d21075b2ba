// What one cell counts for the drift of its model: bins of energies and features by stretch of event time and by group
// of devices. Bounded, and a function of the events in their order: never of how batches were cut.
import { type EventColumns, EventFlag } from "../../schema/event/Batch.ts"
import { type DeviceColumns, DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import { DRIFT_BINS, type DriftReport } from "../../schema/model/Drift.ts"
import { BLOCKS_MIN, judgeDrift, unknownDrift } from "./drift.ts"
import { countValue, type DriftScale } from "./driftScale.ts"

/** Stretches of a window; a look is taken at the end of each from the fourth on. */
export const BLOCKS = 8
/** Devices are parted by their place: what leaves with any one part is no drift. */
export const GROUPS = 4
/** Looks at one window. */
const LOOKS = BLOCKS - BLOCKS_MIN + 1
/** Events of a window that are all counted; then every second, of twice as many every fourth, and so on. */
const ALL_UNTIL = 8_192
const DAY_MILLIS = 86_400_000
const DAYS = 14
/** A day: its number, weight counted, sum of energies. */
const DAY = 3

const PASSED = EventFlag.duplicate | EventFlag.conflict | EventFlag.late | EventFlag.young

/** A window of event time. `number`: how many such windows lie before it. */
export interface DriftWindow {
  number: number
  /** Rows counted in stretches that have ended. */
  rows: number
  readonly blocks: ReadonlyArray<Float32Array>
  readonly groups: ReadonlyArray<Float32Array>
}

/** What cells give away to be joined: the window under way, the one before, and the last days. */
export interface DriftCounts {
  readonly windowMillis: number
  readonly current: DriftWindow
  readonly last: DriftWindow | undefined
  /** DAYS × (number, weight, sum of energies). */
  readonly days: Float64Array
}

const makeWindow = (number: number, quantities: number): DriftWindow => {
  const parts = (count: number) =>
    Array.from({ length: count }, () => new Float32Array(quantities * DRIFT_BINS))
  return { number, rows: 0, blocks: parts(BLOCKS), groups: parts(GROUPS) }
}

export interface DriftCounter {
  readonly scale: DriftScale
  readonly counts: () => DriftCounts
  /** Stretches that have ended so far: the report changes with it alone. */
  readonly ended: () => number
  readonly report: () => DriftReport
  /** Counts events [0, count) of a slice that was decided; `excited` as in `Decisions`. */
  readonly count: (
    columns: DeviceColumns,
    events: EventColumns,
    energies: Float32Array,
    rows: Float32Array,
    excited: Uint8Array
  ) => void
  readonly encode: () => Uint8Array
  /** False where the bytes are another's: of other quantities, or another length of window. */
  readonly restore: (bytes: Uint8Array) => boolean
}

const weekOf = (days: Float64Array, from: number, to: number): number | null => {
  let weight = 0
  let sum = 0
  for (let at = 0; at < days.length; at += DAY) {
    if (days[at] < from || days[at] > to) continue
    weight += days[at + 1]
    sum += days[at + 2]
  }
  return weight > 0 ? sum / weight : null
}

const filled = (window: DriftWindow): number =>
  window.blocks.filter((block) => block.some((weight) => weight > 0)).length

/** Judges counts: the window under way where enough of it has ended, else the one before. */
export const reportOf = (counts: DriftCounts, scale: DriftScale): DriftReport => {
  const { current, last, days, windowMillis } = counts
  const enough = filled(current) >= BLOCKS_MIN || last === undefined
  const window = enough ? current : last
  if (!Number.isFinite(window.number)) return unknownDrift
  let today = Number.NEGATIVE_INFINITY
  for (let at = 0; at < days.length; at += DAY) if (days[at + 1] > 0) today = Math.max(today, days[at])
  const from = window.number * windowMillis
  return {
    ...judgeDrift(window, scale.shares, LOOKS),
    from,
    to: from + windowMillis,
    week: weekOf(days, today - 6, today),
    weekBefore: weekOf(days, today - 13, today - 7)
  }
}

/** Joins the counts of cells of one stream, at the newest window that any of them has ended; none without cells. */
export const joinCounts = (all: ReadonlyArray<DriftCounts>, quantities: number): DriftCounts | undefined => {
  if (all.length === 0) return undefined
  const windows = all.flatMap(({ current, last }) => (last === undefined ? [current] : [current, last]))
  const join = (number: number): DriftWindow => {
    const joined = makeWindow(number, quantities)
    for (const window of windows) {
      if (window.number !== number) continue
      joined.rows += window.rows
      for (const [into, from] of [
        [joined.blocks, window.blocks],
        [joined.groups, window.groups]
      ] as const) {
        into.forEach((part, at) => {
          for (let bin = 0; bin < part.length; bin++) part[bin] += from[at][bin]
        })
      }
    }
    return joined
  }
  const days = new Map<number, [weight: number, sum: number]>()
  for (const one of all) {
    for (let at = 0; at < one.days.length; at += DAY) {
      const [weight, sum] = days.get(one.days[at]) ?? [0, 0]
      days.set(one.days[at], [weight + one.days[at + 1], sum + one.days[at + 2]])
    }
  }
  const newest = Math.max(...all.map(({ current }) => current.number))
  const ended = Math.max(...all.map(({ last }) => last?.number ?? Number.NEGATIVE_INFINITY))
  return {
    windowMillis: all[0].windowMillis,
    current: join(newest),
    last: Number.isFinite(ended) ? join(ended) : undefined,
    days: Float64Array.from([...days].sort((a, b) => b[0] - a[0]).slice(0, DAYS), ([day]) => day).reduce(
      (into, day, at) => {
        const [weight, sum] = days.get(day) as [number, number]
        into.set([day, weight, sum], at * DAY)
        return into
      },
      new Float64Array(DAYS * DAY)
    )
  }
}

/** Bytes of counts: a line of JSON, then the parts of both windows. */
export const encodeCounts = (
  { windowMillis, current, last, days }: DriftCounts,
  more: unknown
): Uint8Array => {
  const windows = last === undefined ? [current] : [current, last]
  const parts = windows.flatMap(({ blocks, groups }) => [...blocks, ...groups])
  const head = new TextEncoder().encode(
    JSON.stringify({
      windowMillis,
      bins: parts[0].length,
      windows: windows.map(({ number, rows }) => [Number.isFinite(number) ? number : null, rows]),
      days: [...days],
      more
    })
  )
  const bytes = new Uint8Array(4 + head.length + parts.length * parts[0].length * 4)
  new DataView(bytes.buffer).setUint32(0, head.length, true)
  bytes.set(head, 4)
  parts.forEach((part, at) => {
    bytes.set(
      new Uint8Array(part.buffer, part.byteOffset, part.byteLength),
      4 + head.length + at * part.byteLength
    )
  })
  return bytes
}

/** Undefined where the bytes are of other quantities, or cut. */
export const decodeCounts = (
  bytes: Uint8Array,
  quantities: number
): { readonly counts: DriftCounts; readonly more: unknown } | undefined => {
  const size = bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
  if (size === 0 || bytes.length < 4 + size) return undefined
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)))
  const bins = quantities * DRIFT_BINS
  const perWindow = BLOCKS + GROUPS
  if (head.bins !== bins || bytes.length !== 4 + size + head.windows.length * perWindow * bins * 4)
    return undefined
  const numbers = new Float32Array(Uint8Array.from(bytes.subarray(4 + size)).buffer)
  const windows: ReadonlyArray<DriftWindow> = head.windows.map(
    ([number, rows]: readonly [number | null, number], index: number) => {
      const part = (at: number) =>
        numbers.slice((index * perWindow + at) * bins, (index * perWindow + at + 1) * bins)
      return {
        number: number ?? Number.NEGATIVE_INFINITY,
        rows,
        blocks: Array.from({ length: BLOCKS }, (_, at) => part(at)),
        groups: Array.from({ length: GROUPS }, (_, at) => part(BLOCKS + at))
      }
    }
  )
  const days = Float64Array.from(head.days as ReadonlyArray<number>)
  return {
    counts: { windowMillis: head.windowMillis, current: windows[0], last: windows[1], days },
    more: head.more
  }
}

/** Counts for one model in one cell, from nothing. */
export const makeDriftCounter = (scale: DriftScale, windowMillis: number): DriftCounter => {
  const { quantities, edges } = scale
  const bins = quantities * DRIFT_BINS
  const blockMillis = windowMillis / BLOCKS
  let current = makeWindow(Number.NEGATIVE_INFINITY, quantities)
  let last: DriftWindow | undefined
  let days = new Float64Array(DAYS * DAY)
  /** The stretch under way, by group of devices. */
  let open = new Float32Array(GROUPS * bins)
  /** [0] newest event time, [1] number of the stretch under way, [2] events offered, [3] one of how many counts, [4] rows of the stretch, [5] stretches ended. */
  const head = Float64Array.of(Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 1, 0, 0)

  const begin = (block: number): void => {
    const before = head[1]
    if (Number.isFinite(before)) {
      const into = current.blocks[((before % BLOCKS) + BLOCKS) % BLOCKS]
      for (let group = 0; group < GROUPS; group++) {
        const sum = current.groups[group]
        for (let bin = 0; bin < bins; bin++) {
          into[bin] += open[group * bins + bin]
          sum[bin] += open[group * bins + bin]
        }
      }
      current.rows += head[4]
      head[5]++
    }
    open.fill(0)
    head[4] = 0
    head[1] = block
    const window = Math.floor(block / BLOCKS)
    if (window === current.number) return
    if (Number.isFinite(current.number)) last = current
    current = makeWindow(window, quantities)
    head[2] = 0
    head[3] = 1
  }

  const counts = (): DriftCounts => ({ windowMillis, current, last, days })

  return {
    scale,
    counts,
    ended: () => head[5],
    report: () => reportOf(counts(), scale),
    count: (columns, events, energies, rows, excited) => {
      const width = quantities - 1
      for (let i = 0; i < events.count; i++) {
        if ((events.flags[i] & PASSED) !== 0) continue
        const time = events.time[i]
        if (time > head[0]) {
          head[0] = time
          const block = Math.floor(time / blockMillis)
          if (block !== head[1]) begin(block)
        }
        const offered = head[2]++
        const stride = head[3]
        if (offered + 1 === stride * ALL_UNTIL) head[3] = stride * 2
        if (offered % stride !== 0) continue
        const device = events.device[i]
        if (excited[i] === 1 || (columns.flags[device] & DeviceFlag.quarantined) !== 0) continue
        const at = (device % GROUPS) * bins
        countValue(edges, open, at, 0, energies[i], stride)
        for (let k = 0; k < width; k++) countValue(edges, open, at, k + 1, rows[i * width + k], stride)
        head[4]++
        const day = Math.floor(head[0] / DAY_MILLIS)
        const slot = (((day % DAYS) + DAYS) % DAYS) * DAY
        if (days[slot] !== day) {
          days[slot] = day
          days[slot + 1] = 0
          days[slot + 2] = 0
        }
        days[slot + 1] += stride
        days[slot + 2] += stride * energies[i]
      }
    },
    encode: () => {
      const texts = Array.from(head, (value) => (Number.isFinite(value) ? value : null))
      return encodeCounts(counts(), { head: texts, open: Buffer.from(open.buffer).toString("base64") })
    },
    restore: (bytes) => {
      const found = decodeCounts(bytes, quantities)
      if (found === undefined || found.counts.windowMillis !== windowMillis) return false
      const more = found.more as { readonly head: ReadonlyArray<number | null>; readonly open: string }
      const stretch = Uint8Array.from(Buffer.from(more.open, "base64"))
      if (stretch.length !== open.byteLength) return false
      current = found.counts.current
      last = found.counts.last
      days = Float64Array.from(found.counts.days)
      open = new Float32Array(stretch.buffer)
      head.set(more.head.map((value) => value ?? Number.NEGATIVE_INFINITY))
      return true
    }
  }
}
