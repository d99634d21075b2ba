// An axis for energies: straight, or where a few rows lie far above the rest, straight in the middle and logarithmic outside.

export interface EnergyAxis {
  readonly low: number
  readonly high: number
  /** Straight within `spread` of `centre`; undefined where the axis is straight throughout. */
  readonly wide: { readonly centre: number; readonly spread: number } | undefined
}

/** Beyond this many times the bulk of normal rows a straight axis would squeeze them into a few pixels. */
const STRAIGHT_SPREADS_MAX = 30

/** Where an energy lies along the axis; any unit, rising. */
export const alongAxis = ({ wide }: EnergyAxis, energy: number): number =>
  wide === undefined ? energy : Math.asinh((energy - wide.centre) / wide.spread)

/** The energy at a place along the axis. */
export const energyAt = ({ wide }: EnergyAxis, place: number): number =>
  wide === undefined ? place : wide.centre + wide.spread * Math.sinh(place)

/** An axis that shows from `low` to `high`; the bulk of normal rows is told by its middle and its 99 % quantile. */
export const makeEnergyAxis = (low: number, high: number, middle: number, top: number): EnergyAxis => {
  const spread = Math.max(top - middle, 1e-6)
  const wide = high - middle > STRAIGHT_SPREADS_MAX * spread ? { centre: middle, spread } : undefined
  return low < high ? { low, high, wide } : { low: low - 0.5, high: low + 0.5, wide: undefined }
}
