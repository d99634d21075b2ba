// The fleet's own statistics: what a device without a past is held against where no model brings a population.
import type { FleetStatistics } from "../../schema/event/CellState.ts"

/** Values of a signal below which the fleet says nothing about it. */
export const FLEET_EVENTS_MIN = 32

/** Comparisons of a column below which nothing is said about runs of equal values. */
export const COMPARED_MIN = 256

/** Events are all counted up to here, then every `EVERY`th: the statistics are slow, the loop is not. */
const ALL_UNTIL = 4_096
const EVERY = 16

/** Events over which the fleet's statistics fade. */
const MEMORY = 20_000

/** Offers an event; true if its values count. Depends on the number of events alone. */
export const offerEvent = (fleet: FleetStatistics): boolean => {
  const offered = fleet.offered[0] + 1
  if (offered < ALL_UNTIL + EVERY) {
    fleet.offered[0] = offered
    return offered <= ALL_UNTIL
  }
  fleet.offered[0] = ALL_UNTIL
  return true
}

/** Counts a value of a signal; beyond the first few, deviations are clipped at four standard deviations. */
export const countValue = (fleet: FleetStatistics, signal: number, value: number): void => {
  const count = (fleet.count[signal] += 1)
  const rate = Math.max(1 / count, 1 / MEMORY)
  const mean = fleet.mean[signal]
  const variance = fleet.variance[signal]
  let step = value - mean
  if (count > FLEET_EVENTS_MIN) {
    const most = 4 * Math.sqrt(variance + 1e-12 * mean * mean + 1e-30)
    if (step > most) step = most
    else if (step < -most) step = -most
  }
  fleet.mean[signal] = mean + rate * step
  fleet.variance[signal] = (1 - rate) * (variance + rate * step * step)
}

/** Counts the squared distance of a settled device's value from the device's own mean, clipped like a value. */
export const countWithin = (fleet: FleetStatistics, signal: number, squared: number): void => {
  const settled = (fleet.settled[signal] += 1)
  const within = fleet.within[signal]
  const most = settled > FLEET_EVENTS_MIN ? 16 * within + 1e-30 : squared
  fleet.within[signal] =
    within + Math.max(1 / settled, 1 / MEMORY) * ((squared < most ? squared : most) - within)
}

/**
 * Variance of a device about its own mean, as is usual in the fleet: at most the fleet's own. The fleet's
 * while too little is known.
 */
export const withinVariance = (fleet: FleetStatistics, signal: number): number => {
  const total = fleetVariance(fleet, signal)
  return fleet.settled[signal] < FLEET_EVENTS_MIN || fleet.within[signal] > total
    ? total
    : fleet.within[signal]
}

/** Counts whether a value equalled the device's value before. */
export const countRepeat = (fleet: FleetStatistics, column: number, equal: boolean): void => {
  const compared = (fleet.compared[column] += 1)
  const share = fleet.repeat[column]
  fleet.repeat[column] = share + Math.max(1 / compared, 1 / MEMORY) * ((equal ? 1 : 0) - share)
}

/**
 * Variance that stands for the fleet's while it is young: few values tell little, so it is widened by
 * 64 / count. −1 below `FLEET_EVENTS_MIN` values.
 */
export const fleetVariance = (fleet: FleetStatistics, signal: number): number => {
  const count = fleet.count[signal]
  return count < FLEET_EVENTS_MIN ? -1 : fleet.variance[signal] * (1 + 64 / count)
}

/** Nats that one more equal value weighs, at most 2; 0 while the column is little known. */
export const repeatNats = (fleet: FleetStatistics, column: number): number =>
  fleet.compared[column] < COMPARED_MIN ? 0 : Math.min(2, -Math.log(Math.max(fleet.repeat[column], 1e-6)))
