// A device's own threshold: one whose normal energies lie above the stream's stops alarming after a while;
// one that is being led upwards slowly can't take its threshold along.
import type { DeviceColumns } from "../../schema/event/DeviceColumns.ts"

/** Most that one event raises a threshold, nats. */
export const STEP_MAX = 0.5
/** Most that a threshold rises in one half-life of event time, nats. */
export const RISE_PER_HALF_LIFE = 8
/** How far a threshold may lie above its anchor, nats. */
export const ABOVE_ANCHOR_MAX = 6
/** How far a threshold may lie above the stream's, nats. */
export const THRESHOLD_SHIFT_MAX = 12
/** The anchor follows the threshold with this many times the half-life. */
export const ANCHOR_SLOWNESS = 32

/** Share of a device's events that its threshold aims to leave above itself: the budget, from 1/16,384 to 1/64. */
export const aimedShare = (budget: number): number => Math.min(1 / 64, Math.max(1 / 16_384, budget))

/**
 * Moves the threshold of a device by one event (stochastic approximation of a quantile, Robbins and Monro 1951):
 * up a step if the energy lies above it, down by the aimed share of that step if not. A step is bounded by the
 * event time that passed, so that a flood can't raise anything, and the way up by an anchor that follows far
 * more slowly and by a cap. `above`: energy less the stream's threshold, nats; `elapsedMillis` since the
 * device's last event.
 */
export const adaptThreshold = (
  columns: DeviceColumns,
  device: number,
  above: number,
  elapsedMillis: number,
  halfLifeMillis: number,
  share: number
): void => {
  const threshold = columns.threshold[device]
  if (above <= threshold && threshold === 0) return
  const passed = elapsedMillis / halfLifeMillis
  const step = Math.min(STEP_MAX, RISE_PER_HALF_LIFE * passed)
  const anchor = columns.anchor[device]
  const top = Math.min(THRESHOLD_SHIFT_MAX, anchor + ABOVE_ANCHOR_MAX)
  const moved =
    above > threshold ? Math.min(threshold + step, Math.max(top, threshold)) : threshold - share * step
  const next = moved > 0 ? moved : 0
  columns.threshold[device] = next
  columns.anchor[device] = anchor + (1 - Math.exp((-Math.LN2 * passed) / ANCHOR_SLOWNESS)) * (next - anchor)
}
