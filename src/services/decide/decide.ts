// Energies and rule hits become alerts: thresholds, overrides, quiet times. One pass in the order of events;
// what is decided depends on the state and the events before, never on how batches were cut.
import { type EventColumns, EventFlag } from "../../schema/event/Batch.ts"
import type { CellState, Folded } from "../../schema/event/CellState.ts"
import { type DeviceColumns, DeviceFlag, SEVERITY_SHIFT } from "../../schema/event/DeviceColumns.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { adaptThreshold, aimedShare } from "./adaptive.ts"
import { type Judge, severityOf } from "./budget.ts"
import { countEnergy } from "./conformal.ts"

/** Severities by number, as in `Decisions.severity`. */
export const SEVERITIES = ["low", "medium", "high", "critical"] as const

/** A silent device's alert: medium. */
export const SILENCE_SEVERITY = 1

/** What was decided about a batch; alerts in order of events, index-aligned. Overwritten by every `decide`. */
export interface Decisions {
  readonly capacity: number
  /** Alerts raised. */
  count: number
  /** Event row of each alert. */
  readonly row: Int32Array
  /** The rule that raised it, −1 if an energy did. */
  readonly rule: Int16Array
  readonly escalated: Uint8Array
  /** Index into `SEVERITIES`. */
  readonly severity: Uint8Array
  /** NaN where no energy was judged. */
  readonly energy: Float64Array
  readonly pvalue: Float64Array
  /** Nats from which this device's events alert: the stream's, its own and an override's together. */
  readonly threshold: Float64Array
  /** By event row: 1 where the energy reached the threshold as it then stood, alert or not; a repeat's is 0. */
  readonly excited: Uint8Array
  /** Events judged; anomalous ones kept quiet; ones muted by an override; ones that an `allow` rule let pass. */
  scored: number
  suppressed: number
  muted: number
  allowed: number
  /** Devices told to be silent, in order: the event at which each was found, see `Folded.silent`. */
  silences: number
  readonly silentAt: Int32Array
}

/** Room for the decisions about `capacity` events. */
export const makeDecisions = (capacity: number): Decisions => ({
  capacity,
  count: 0,
  row: new Int32Array(capacity),
  rule: new Int16Array(capacity),
  escalated: new Uint8Array(capacity),
  severity: new Uint8Array(capacity),
  energy: new Float64Array(capacity),
  pvalue: new Float64Array(capacity),
  threshold: new Float64Array(capacity),
  excited: new Uint8Array(capacity),
  scored: 0,
  suppressed: 0,
  muted: 0,
  allowed: 0,
  silences: 0,
  silentAt: new Int32Array(capacity)
})

const Verdict = { none: 0, allow: 1, alert: 2, escalate: 3 } as const

export interface Decide {
  /**
   * Decides events [from, to); arrays are indexed by event row. `energies`: those that `judge` judges (the fold's
   * own for a baseline; any array for rules). `hits`: the rule that decides an event, −1 for none.
   *
   * - An `allow` rule wins over the energy; an `alert` or `escalate` rule alerts whatever the energy.
   * - After an alert a device is quiet for the plan's time: further ones are counted as suppressed. An
   *   `escalate` rule breaks through, and so does a severity two steps above the last one raised.
   * - A mute holds back energies and `alert` rules, not `escalate` ones; both kinds of override end by event time.
   * - A device that the fold found silent alerts once, unless it is quiet or muted.
   * - An alert counts for the baseline's histogram and the device's threshold as `countEnergy` and
   *   `adaptThreshold` say; events that are late, quarantined or muted teach neither.
   */
  readonly decide: (
    judge: Judge,
    energies: Float32Array,
    columns: DeviceColumns,
    cell: CellState,
    events: EventColumns,
    folded: Folded,
    hits: Int16Array,
    from: number,
    to: number,
    decisions: Decisions
  ) => void
}

/** Compiles a plan's budget, quiet time and rules' verdicts. Holds no state. */
export const makeDecide = (plan: StreamPlan): Decide => {
  const { budget, halfLifeMillis, quietMillis, silence } = plan
  const share = aimedShare(budget)
  const verdicts = Uint8Array.from(plan.rules, (rule) => Verdict[rule.then])
  const severities = Uint8Array.from(plan.rules, (rule) => SEVERITIES.indexOf(rule.severity))

  /** Lists the device for the next checkpoint; the fold has done so already unless its event was late. */
  const touch = (columns: DeviceColumns, device: number): void => {
    if ((columns.flags[device] & DeviceFlag.dirty) !== 0) return
    columns.flags[device] |= DeviceFlag.dirty
    if (columns.dirtyCount < columns.dirty.length) columns.dirty[columns.dirtyCount] = device
    columns.dirtyCount++
  }

  /** Shift of an override that holds at `time`, NaN if the device is muted. One that an event has passed is dropped. */
  const overrideAt = (columns: DeviceColumns, cell: CellState, device: number, time: number): number => {
    const override = cell.overrides.get(device)
    if (override !== undefined && time <= override.untilMillis) {
      return override.mute ? Number.NaN : override.thresholdShift
    }
    if (override !== undefined) cell.overrides.delete(device)
    columns.flags[device] &= ~DeviceFlag.overridden
    touch(columns, device)
    return 0
  }

  /** A device found silent alerts as any other does, but for its mute and its quiet time; never by an energy. */
  const tellSilence = (
    columns: DeviceColumns,
    cell: CellState,
    device: number,
    event: number,
    time: number,
    decisions: Decisions
  ): void => {
    const flags = columns.flags[device]
    if ((flags & DeviceFlag.overridden) !== 0 && Number.isNaN(overrideAt(columns, cell, device, time))) {
      decisions.muted++
      return
    }
    if (time < columns.quietUntil[device] * 1_000) {
      decisions.suppressed++
      return
    }
    decisions.silentAt[decisions.silences++] = event
    columns.flags[device] =
      (columns.flags[device] & ~DeviceFlag.severity) | (SILENCE_SEVERITY << SEVERITY_SHIFT)
    touch(columns, device)
    const until = Math.ceil((time + quietMillis) / 1_000)
    if (until > columns.quietUntil[device]) columns.quietUntil[device] = Math.min(until, 0xffff_ffff)
  }

  const decide: Decide["decide"] = (
    judge,
    energies,
    columns,
    cell,
    events,
    folded,
    hits,
    from,
    to,
    decisions
  ) => {
    const histogram = cell.energies
    const byEnergy = judge.kind !== "rules"
    decisions.count = 0
    decisions.scored = 0
    decisions.suppressed = 0
    decisions.muted = 0
    decisions.allowed = 0
    decisions.silences = 0
    for (let i = from; i < to; i++) {
      const eventFlags = events.flags[i]
      decisions.excited[i] = 0
      if ((eventFlags & (EventFlag.duplicate | EventFlag.conflict)) !== 0) continue
      decisions.scored++
      const device = events.device[i]
      const time = events.time[i]
      const late = (eventFlags & EventFlag.late) !== 0
      const overridden = (columns.flags[device] & DeviceFlag.overridden) !== 0
      const shift = overridden ? overrideAt(columns, cell, device, time) : 0
      const muted = Number.isNaN(shift)
      const energy = energies[i]
      const stream = judge.threshold(histogram)
      const own = columns.threshold[device]
      const threshold = stream + own + (muted ? 0 : shift)
      const teaches = !late && !muted && (columns.flags[device] & DeviceFlag.quarantined) === 0
      const hit = hits[i]
      const verdict = hit < 0 ? Verdict.none : verdicts[hit]
      const excited = byEnergy && energy >= threshold
      if (excited) decisions.excited[i] = 1
      if (verdict !== Verdict.none || excited) {
        if (verdict === Verdict.allow) decisions.allowed++
        else if (muted && verdict !== Verdict.escalate) decisions.muted++
        else {
          const pvalue = byEnergy ? judge.pvalue(histogram, energy) : Number.NaN
          const byRule = verdict === Verdict.none ? -1 : severities[hit]
          const byValue = excited ? severityOf(pvalue, budget) : -1
          const severity = byRule > byValue ? byRule : byValue
          const flags = columns.flags[device]
          const quiet = time < columns.quietUntil[device] * 1_000
          const last = (flags & DeviceFlag.severity) >> SEVERITY_SHIFT
          if (quiet && verdict !== Verdict.escalate && severity < last + 2) decisions.suppressed++
          else {
            const at = decisions.count++
            decisions.row[at] = i
            decisions.rule[at] = verdict === Verdict.none ? -1 : hit
            decisions.escalated[at] = verdict === Verdict.escalate ? 1 : 0
            decisions.severity[at] = severity
            decisions.energy[at] = byEnergy ? energy : Number.NaN
            decisions.pvalue[at] = pvalue
            decisions.threshold[at] = byEnergy ? threshold : Number.NaN
            // Within a quiet time the highest severity raised counts, so that each step breaks through once.
            const highest = quiet && last > severity ? last : severity
            columns.flags[device] = (flags & ~DeviceFlag.severity) | (highest << SEVERITY_SHIFT)
            touch(columns, device)
            const until = Math.ceil((time + quietMillis) / 1_000)
            if (until > columns.quietUntil[device]) columns.quietUntil[device] = Math.min(until, 0xffff_ffff)
          }
        }
      }
      if (silence && folded.silent[i] >= 0) tellSilence(columns, cell, folded.silent[i], i, time, decisions)
      if (!teaches) continue
      countEnergy(histogram, folded.energy[i], budget)
      if (byEnergy && stream < Number.POSITIVE_INFINITY && (own > 0 || energy >= stream)) {
        adaptThreshold(columns, device, energy - stream, folded.elapsed[i], halfLifeMillis, share)
      }
    }
  }
  return { decide }
}
