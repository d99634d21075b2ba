// Devices that fall silent: at each event one other device is looked at, in turn, and told if the stream's time has
// gone on without it for far longer than it ever paused. Cost and outcome depend on the events alone.
import type { CellState, Folded } from "../../schema/event/CellState.ts"
import { type DeviceColumns, DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { logOnePlus } from "../runtime/logarithm.ts"

/** Events of a device before its silence tells anything: its rhythm stands by then. */
const SETTLED_EVENTS = 40
/** Silent is who pauses for this many times the longest pause that is remembered, as a logarithm, … */
const BEYOND_LONGEST = Math.log(4)
/** … which falls back towards what is usual within about so many events: an outage is not a rhythm for ever. */
const REMEMBERED_EVENTS = 1_024

/** The silence of a plan's devices; undefined where it isn't declared. */
export interface Silence {
  /** Place of a device's longest pause (log of 1 + seconds) in its memory. */
  readonly offset: number
  readonly memoryWidth: number
  readonly signalCount: number
  readonly latenessMillis: number
}

export const makeSilence = (plan: StreamPlan): Silence | undefined =>
  plan.silence
    ? {
        offset: plan.lasting ? plan.signals.length : 0,
        memoryWidth: plan.memoryWidth,
        signalCount: plan.signals.length,
        latenessMillis: plan.latenessMillis
      }
    : undefined

/** The device of an event has spoken after a pause (log of 1 + seconds; NaN for none): it is silent no more. */
export const noteSpeech = (silence: Silence, columns: DeviceColumns, device: number, pause: number): void => {
  columns.flags[device] &= ~DeviceFlag.silent
  if (Number.isNaN(pause)) return
  const { memory } = columns
  const at = device * silence.memoryWidth + silence.offset
  const longest = memory[at]
  memory[at] = pause > longest ? pause : longest + (pause - longest) / REMEMBERED_EVENTS
}

/**
 * Looks at the next device in turn, after event row `i`; one that has fallen silent is written to `folded`, once until
 * it speaks again. Devices that were quarantined are expected to be silent.
 */
export const watchSilence = (
  silence: Silence,
  columns: DeviceColumns,
  cell: CellState,
  i: number,
  folded: Folded
): void => {
  const { watch, watermark } = cell
  // Those that had spoken by this event, not those that have rows: a batch gives rows to devices of its later events.
  const device = watch[0] < watch[1] ? watch[0] : 0
  watch[0] = device + 1
  const flag = columns.flags[device]
  if (columns.events[device] < SETTLED_EVENTS) return
  if ((flag & (DeviceFlag.silent | DeviceFlag.quarantined)) !== 0) return
  const elapsed = watermark.newest - columns.lastTime[device]
  if (elapsed <= silence.latenessMillis) return
  const longest = columns.memory[device * silence.memoryWidth + silence.offset]
  if (logOnePlus(elapsed / 1_000) <= longest + BEYOND_LONGEST) return
  if ((flag & DeviceFlag.dirty) === 0) {
    if (columns.dirtyCount < columns.dirty.length) columns.dirty[columns.dirtyCount] = device
    columns.dirtyCount++
  }
  columns.flags[device] = flag | DeviceFlag.silent | DeviceFlag.dirty
  const usual = columns.mean[device * silence.signalCount + silence.signalCount - 1]
  folded.silent[i] = device
  folded.silentSince[i] = columns.lastTime[device]
  folded.silentUsual[i] = Math.expm1(Number.isNaN(usual) ? longest : usual)
}
