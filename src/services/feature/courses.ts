// The courses of a device's numbers: how far its last few values lie, taken together, from every course that the
// device is known to take. A jump, a flat line and a wrong rhythm differ in it, also where each value is usual.
import type { DeviceColumns } from "../../schema/event/DeviceColumns.ts"
import { COURSES, courseFloats, type StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { logOnePlus } from "../runtime/logarithm.ts"

/** Events of a device before its courses are looked at: its spread stands by then. */
const SETTLED_EVENTS = 32
/** A course nearer than this to a known one is taken into it, in deviations of the number. */
const SAME_COURSE = 0.5
/** A known course moves by at least this share towards one that is taken into it. */
const PACE_MIN = 0.02
/** Weights of courses fade by this at each event. */
const FADE = 1 - 1 / 4_096
/** Distances are told in this part of a deviation, and as logarithms: log(1 + distance / unit). */
const UNIT = 0.1

/** The courses of a plan: a number's place among them is its column. */
export interface Courses {
  readonly count: number
  readonly lags: number
  /** First signal that is a course. */
  readonly first: number
  /** Floats of one number, and where the first number's stand in a device's memory. */
  readonly floats: number
  readonly offset: number
  readonly memoryWidth: number
}

export const makeCourses = (plan: StreamPlan): Courses => {
  const count = plan.numbers.length
  const floats = courseFloats(plan.lags)
  return {
    count,
    lags: plan.lags,
    first: count + plan.windows.length,
    floats,
    offset: plan.memoryWidth - count * floats,
    memoryWidth: plan.memoryWidth
  }
}

/**
 * Writes the courses' signals into x, whose numbers must be there; then the device learns, if it may. Memory of one
 * number: the last L values, newest first; the weights of the known courses, 0 for none; the courses, L values each.
 */
export const readCourses = (
  state: Courses,
  columns: DeviceColumns,
  x: Float64Array,
  device: number,
  learns: boolean
): void => {
  const { count: N, lags: L, first, floats, offset, memoryWidth } = state
  const { memory, variance, events } = columns
  const before = events[device]
  for (let j = 0; j < N; j++) {
    x[first + j] = Number.NaN
    const value = x[j]
    if (Number.isNaN(value) || !learns) continue
    const values = device * memoryWidth + offset + j * floats
    memory.copyWithin(values + 1, values, values + L - 1)
    memory[values] = value
    if (before < SETTLED_EVENTS + L) continue
    const weights = values + L
    const known = weights + COURSES
    const unit = variance[device * columns.signalCount + j] + 1e-12 * value * value + 1e-30
    let nearest = -1
    let least = Number.POSITIVE_INFINITY
    let lightest = 0
    for (let c = 0; c < COURSES; c++) {
      const weight = memory[weights + c] * FADE
      memory[weights + c] = weight
      if (weight < memory[weights + lightest]) lightest = c
      if (weight === 0) continue
      let sum = 0
      const at = known + c * L
      for (let l = 0; l < L; l++) {
        const apart = memory[values + l] - memory[at + l]
        sum += apart * apart
      }
      if (sum < least) {
        least = sum
        nearest = c
      }
    }
    const distance = Math.sqrt(least / (L * unit))
    if (nearest >= 0) x[first + j] = logOnePlus(distance / UNIT)
    if (distance < SAME_COURSE) {
      const weight = memory[weights + nearest] + 1
      memory[weights + nearest] = weight
      const pace = Math.max(PACE_MIN, 1 / weight)
      const at = known + nearest * L
      for (let l = 0; l < L; l++) memory[at + l] += pace * (memory[values + l] - memory[at + l])
    } else {
      memory[weights + lightest] = 1
      memory.copyWithin(known + lightest * L, values, values + L)
    }
  }
}
